//! Changes that a watch reports.

use super::super::byte_field::{KEY, as_key};
use super::super::item::Item;
use super::super::key::Key;
use serde::{Deserialize, Serialize};

/// Kind of a change: `only=put` or `only=delete` in a watch.
///
/// ```
/// assert_eq!(serde_json::to_string(&kvclient::api::ChangeKind::Put)?, r#""put""#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A key was written.
    Put,
    /// A key was deleted, by itself or with its lease.
    Delete,
}

impl ChangeKind {
    /// Returns the word for the kind, as in JSON and in queries.
    ///
    /// ```
    /// assert_eq!(kvclient::api::ChangeKind::Delete.name(), "delete");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// One change of a [`WatchEvent::Change`](super::WatchEvent::Change), made at the revision of that event.
///
/// ```
/// use kvclient::api::Change;
///
/// let json = r#"{"type":"delete","key":"color","prev":{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}}"#;
/// let change: Change = serde_json::from_str(json)?;
/// assert!(matches!(&change, Change::Delete { key, prev: Some(_) } if key == "color"));
/// assert_eq!(serde_json::to_string(&change)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", try_from = "Wire")]
pub enum Change {
    /// The key was written.
    Put {
        /// The item after the write.
        item: Item,
        /// The item before it, if the watch asked for it and there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        prev: Option<Item>,
    },
    /// The key was deleted, by itself or with its lease.
    Delete {
        /// The key.
        #[serde(flatten, serialize_with = "as_key")]
        key: Key,
        /// The item before the change, if the watch asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        prev: Option<Item>,
    },
}

impl Change {
    /// Returns the key that changed.
    ///
    /// ```
    /// use kvclient::api::Change;
    ///
    /// assert!(Change::Delete { key: "color".into(), prev: None }.key() == "color");
    /// ```
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { item, .. } => &item.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// Returns the kind of the change.
    ///
    /// ```
    /// use kvclient::api::{Change, ChangeKind};
    ///
    /// assert_eq!(Change::Delete { key: "color".into(), prev: None }.kind(), ChangeKind::Delete);
    /// ```
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Put { .. } => ChangeKind::Put,
            Self::Delete { .. } => ChangeKind::Delete,
        }
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "type")]
    kind: ChangeKind,
    #[serde(default)]
    item: Option<Item>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    key_base64: Option<String>,
    #[serde(default)]
    prev: Option<Item>,
}

impl TryFrom<Wire> for Change {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let Wire { kind, item, key, key_base64, prev } = wire;
        match kind {
            ChangeKind::Put => Ok(Self::Put { item: item.ok_or("missing field `item`")?, prev }),
            ChangeKind::Delete => Ok(Self::Delete { key: KEY.require(KEY.decode(key, key_base64)?)?.into(), prev }),
        }
    }
}
