//! Events of a watch.

use super::super::error::ErrorReply;
use super::super::hex_id::{hex_id, parse_hex_id};
use super::super::item::Item;
use super::super::optional::is_false;
use super::change::Change;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;

/// One Server-Sent Event of `/watch`. [`name`](Self::name) is its `event`, and its JSON is its `data`.
///
/// ```
/// use kvclient::api::WatchEvent;
///
/// let event = WatchEvent::Start { revision: 42, cluster: 0x51f0_c2d3_a4b5_e697 };
/// assert_eq!(event.name(), "start");
/// assert_eq!(serde_json::to_string(&event)?, r#"{"revision":42,"cluster":"51f0c2d3a4b5e697"}"#);
/// assert_eq!(WatchEvent::read("start", r#"{"revision":42,"cluster":"51f0c2d3a4b5e697"}"#)?, Some(event));
/// assert_eq!(WatchEvent::read("of_a_newer_daemon", "{}")?, None);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum WatchEvent {
    /// The watch has begun.
    Start {
        /// All changes up to this revision have been sent, or lie before the watch.
        revision: u64,
        /// Id of the cluster; sixteen hexadecimal digits in JSON.
        #[serde(serialize_with = "as_hex")]
        cluster: u64,
    },
    /// Some of the present items. Sent only with `initial=true`, before [`WatchEvent::Synced`].
    Initial {
        /// The items.
        items: Vec<Item>,
    },
    /// All present items have been sent.
    Synced {
        /// Revision at which the items were read.
        revision: u64,
    },
    /// Changes of one revision.
    Change {
        /// The revision.
        revision: u64,
        /// All of its changes that match the watch, or some of them if `more` is true.
        changes: Vec<Change>,
        /// True if the next event has more changes of this revision.
        #[serde(skip_serializing_if = "is_false")]
        more: bool,
    },
    /// There are no further changes up to this revision.
    Progress {
        /// All changes up to this revision have been sent.
        revision: u64,
    },
    /// The changes that come next are no longer kept. The stream ends.
    Compacted {
        /// The oldest revision that the node keeps.
        oldest_revision: u64,
    },
    /// The stream ends with an error.
    Error(ErrorReply),
}

impl WatchEvent {
    /// Returns the name of the event.
    ///
    /// ```
    /// use kvclient::api::WatchEvent;
    ///
    /// assert_eq!(WatchEvent::Compacted { oldest_revision: 7 }.name(), "compacted");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Initial { .. } => "initial",
            Self::Synced { .. } => "synced",
            Self::Change { .. } => "change",
            Self::Progress { .. } => "progress",
            Self::Compacted { .. } => "compacted",
            Self::Error(_) => "error",
        }
    }

    /// Reads the event `name` with this data. Returns `None` for an event of a newer daemon, which may be ignored.
    ///
    /// # Errors
    /// The data is not valid for this event.
    ///
    /// ```
    /// use kvclient::api::WatchEvent;
    ///
    /// let event = WatchEvent::read("progress", r#"{"revision":42}"#)?;
    /// assert_eq!(event, Some(WatchEvent::Progress { revision: 42 }));
    /// assert!(WatchEvent::read("progress", "{}").is_err());
    /// # anyhow::Ok(())
    /// ```
    pub fn read(name: &str, data: &str) -> Result<Option<Self>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Start {
            revision: u64,
            #[serde(deserialize_with = "from_hex")]
            cluster: u64,
        }
        #[derive(Deserialize)]
        struct Initial {
            items: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct At {
            revision: u64,
        }
        #[derive(Deserialize)]
        struct Changes {
            revision: u64,
            changes: Vec<Change>,
            #[serde(default)]
            more: bool,
        }
        #[derive(Deserialize)]
        struct Compacted {
            oldest_revision: u64,
        }
        Ok(Some(match name {
            "start" => {
                let Start { revision, cluster } = serde_json::from_str(data)?;
                Self::Start { revision, cluster }
            }
            "initial" => Self::Initial { items: serde_json::from_str::<Initial>(data)?.items },
            "synced" => Self::Synced { revision: serde_json::from_str::<At>(data)?.revision },
            "change" => {
                let Changes { revision, changes, more } = serde_json::from_str(data)?;
                Self::Change { revision, changes, more }
            }
            "progress" => Self::Progress { revision: serde_json::from_str::<At>(data)?.revision },
            "compacted" => {
                Self::Compacted { oldest_revision: serde_json::from_str::<Compacted>(data)?.oldest_revision }
            }
            "error" => Self::Error(serde_json::from_str(data)?),
            _ => return Ok(None),
        }))
    }

    /// Returns the revision of the event's `id`: once the event has arrived, everything up to that revision has been
    /// sent. `None` if the event itself does not tell. A `compacted` event has the `id` of the event before it.
    ///
    /// ```
    /// use kvclient::api::WatchEvent;
    ///
    /// let part = WatchEvent::Change { revision: 42, changes: vec![], more: true };
    /// let last = WatchEvent::Change { revision: 42, changes: vec![], more: false };
    /// assert_eq!((part.sent_up_to(), last.sent_up_to()), (None, Some(42)));
    /// ```
    pub fn sent_up_to(&self) -> Option<u64> {
        match self {
            Self::Start { revision, .. }
            | Self::Synced { revision }
            | Self::Change { revision, more: false, .. }
            | Self::Progress { revision } => Some(*revision),
            Self::Initial { .. } | Self::Change { more: true, .. } | Self::Compacted { .. } | Self::Error(_) => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn as_hex<S: Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex_id(*id))
}

fn from_hex<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    parse_hex_id(&text).ok_or_else(|| de::Error::custom("an id has 16 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::super::super::error::{Applied, ErrorBody, ErrorCode};
    use super::*;

    #[test]
    fn events_come_back_as_they_went() {
        let item =
            Item { key: "k".into(), value: vec![0xff], create_revision: 4, mod_revision: 7, version: 2, lease: None };
        let changes = vec![
            Change::Put { item: item.clone(), prev: None },
            Change::Put { item: item.clone(), prev: Some(item.clone()) },
            Change::Delete { key: [0xff].into(), prev: Some(item.clone()) },
            Change::Delete { key: "k".into(), prev: None },
        ];
        let error = ErrorBody::new(ErrorCode::NoLeader, "ask another node", Applied::No);
        for event in [
            WatchEvent::Start { revision: 7, cluster: 0xa4 },
            WatchEvent::Initial { items: vec![item] },
            WatchEvent::Synced { revision: 7 },
            WatchEvent::Change { revision: 7, changes: changes.clone(), more: false },
            WatchEvent::Change { revision: 7, changes, more: true },
            WatchEvent::Progress { revision: 7 },
            WatchEvent::Compacted { oldest_revision: 7 },
            WatchEvent::Error(ErrorReply { error }),
        ] {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(WatchEvent::read(event.name(), &json).unwrap().as_ref(), Some(&event), "{json}");
        }
    }

    #[test]
    fn the_documented_change_is_written_to_the_letter() {
        let item = r#"{"key":"K","value":"v","create_revision":4,"mod_revision":7,"version":2}"#;
        let json = format!(
            r#"{{"revision":7,"changes":[{{"type":"put","item":{item},"prev":{item}}},{{"type":"delete","key":"K","prev":{item}}}]}}"#
        );
        let event = WatchEvent::read("change", &json).unwrap().unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
    }
}
