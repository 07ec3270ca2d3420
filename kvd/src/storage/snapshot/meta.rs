//! What a snapshot holds.

use crate::raft::{ClusterTime, Configuration, LogBase, LogIndex, Term};
use bytes::Bytes;
use kvclient::snapshot::{Head, NUMBER_MAX};

/// What a snapshot holds: all that consensus has to know of it (paper Figure 13), and what the state machine says of
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The cluster whose state it is.
    pub cluster_id: u64,
    /// The last entry that is part of it.
    pub last: LogBase,
    /// Cluster time of that entry, at least that of all before.
    pub time: ClusterTime,
    /// The configuration in force at that entry.
    pub configuration: Configuration,
    /// The entry that brought it.
    pub configuration_index: LogIndex,
    /// What the state machine says of the data: opaque here.
    pub summary: Bytes,
}

impl SnapshotMeta {
    /// The same as it stands in the snapshot.
    ///
    /// # Panics
    /// If no snapshot can end with that entry.
    pub(super) fn to_head(&self) -> Head {
        assert!(is_entry(self.last), "a snapshot that ends with entry {}", self.last);
        let configuration = postcard::to_stdvec(&self.configuration).expect("a configuration always has an encoding");
        Head {
            cluster_id: self.cluster_id,
            last_index: self.last.index.0,
            last_term: self.last.term.0,
            time_ms: self.time.0,
            configuration_index: self.configuration_index.0,
            configuration: configuration.into(),
            summary: self.summary.clone(),
        }
    }

    /// What an undamaged snapshot says of itself; `None` if its configuration is of no form that this version knows.
    pub(super) fn of(head: Head) -> Option<Self> {
        let Head { cluster_id, last_index, last_term, time_ms, configuration_index, configuration, summary } = head;
        let (configuration, unread) = postcard::take_from_bytes(&configuration).ok()?;
        unread.is_empty().then_some(Self {
            cluster_id,
            last: LogBase { index: LogIndex(last_index), term: Term(last_term) },
            time: ClusterTime(time_ms),
            configuration,
            configuration_index: LogIndex(configuration_index),
            summary,
        })
    }
}

/// Whether a snapshot can end with this entry.
pub(super) fn is_entry(entry: LogBase) -> bool {
    entry.index > LogIndex(0) && entry.index.0 < NUMBER_MAX && entry.term.0 < NUMBER_MAX
}
