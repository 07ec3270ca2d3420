//! `/history` and `/compact`: the changes of the recent past.

use super::item::Item;
use super::key::{Key, check_key};
use super::object::read_from_object;
use super::query::{Query, QueryText};
use super::read_options::ReadOptions;
use serde::{Deserialize, Serialize};

/// Query of `GET /history`.
///
/// ```
/// use kvclient::api::{HistoryQuery, Query};
///
/// let query = HistoryQuery::new("color");
/// assert_eq!(query.to_query(), "key=color");
/// assert_eq!(HistoryQuery::take(&mut Query::parse("key=color")?)?, query);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The key.
    pub key: Key,
    /// State of the store that the read may see.
    pub read: ReadOptions,
}

impl HistoryQuery {
    /// Creates a linearizable read.
    ///
    /// ```
    /// assert_eq!(kvclient::api::HistoryQuery::new([0xff]).to_query(), "key_base64=_w");
    /// ```
    pub fn new(key: impl Into<Key>) -> Self {
        Self { key: key.into(), read: ReadOptions::default() }
    }

    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{HistoryQuery, Query};
    ///
    /// assert!(HistoryQuery::take(&mut Query::parse("")?).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let key = query.take_key()?.ok_or("the key is missing: GET /history?key=K")?;
        check_key(&key)?;
        Ok(Self { key, read: ReadOptions::take(query)? })
    }

    /// Returns the query.
    ///
    /// ```
    /// assert_eq!(kvclient::api::HistoryQuery::new("a b").to_query(), "key=a+b");
    /// ```
    pub fn to_query(&self) -> String {
        let mut query = QueryText::default();
        query.add_bytes(super::byte_field::KEY, &self.key);
        self.read.add_to(&mut query);
        query.finish()
    }
}

/// Reply of `GET /history`: the changes of one key that the node keeps.
///
/// ```
/// use kvclient::api::{HistoryChange, HistoryReply};
///
/// let json = r#"{"changes":[{"type":"delete","revision":9},{"type":"put","item":{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}}],"oldest_revision":3}"#;
/// let history: HistoryReply = serde_json::from_str(json)?;
/// assert_eq!(history.changes[0], HistoryChange::Delete { revision: 9 });
/// assert_eq!(serde_json::to_string(&history)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// The changes, newest first.
    pub changes: Vec<HistoryChange>,
    /// The oldest revision that the node keeps. Earlier changes of the key are missing.
    pub oldest_revision: u64,
}

/// One change of a key's history.
///
/// ```
/// use kvclient::api::HistoryChange;
///
/// let change: HistoryChange = serde_json::from_str(r#"{"type":"delete","revision":9}"#)?;
/// assert_eq!(change.revision(), 9);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HistoryChange {
    /// The key was written.
    Put {
        /// The item after the write.
        item: Item,
    },
    /// The key was deleted, by itself or with its lease.
    Delete {
        /// Revision of the change.
        revision: u64,
    },
}

impl HistoryChange {
    /// Returns the revision of the change.
    ///
    /// ```
    /// assert_eq!(kvclient::api::HistoryChange::Delete { revision: 9 }.revision(), 9);
    /// ```
    pub fn revision(&self) -> u64 {
        match self {
            Self::Put { item } => item.mod_revision,
            Self::Delete { revision } => *revision,
        }
    }
}

/// Body of `POST /compact`: makes all nodes forget the history before a revision.
///
/// ```
/// use kvclient::api::CompactRequest;
///
/// assert_eq!(serde_json::to_string(&CompactRequest { revision: 100 })?, r#"{"revision":100}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CompactRequest {
    /// The oldest revision that stays readable.
    pub revision: u64,
}

read_from_object!(CompactRequest, "an object with `revision`", { revision: u64 });

/// Reply of `POST /compact`.
///
/// ```
/// use kvclient::api::CompactReply;
///
/// assert_eq!(serde_json::from_str::<CompactReply>(r#"{"revision":120}"#)?, CompactReply { revision: 120 });
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactReply {
    /// Revision of the store, which compaction leaves as it is.
    pub revision: u64,
}
