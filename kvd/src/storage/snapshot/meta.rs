//! What a snapshot begins with, as nodes know it. Clients know the same as a [`Head`], without the words of consensus.

use crate::raft::{ClusterTime, LogBase, LogIndex, SnapshotPlace, Term};
use bytes::Bytes;
use kvclient::snapshot::{HEADER_BYTES, Head, NUMBER_MAX, SnapshotError};

/// What a snapshot begins with: all that consensus has to know of it, and what the state machine says of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The cluster whose state it is.
    pub cluster_id: u64,
    /// Where it ends.
    pub place: SnapshotPlace,
    /// What the data comes to: opaque here.
    pub summary: Bytes,
}

impl SnapshotMeta {
    /// The same as it stands in the snapshot.
    ///
    /// # Panics
    /// If no snapshot can end with that entry.
    pub fn to_head(&self) -> Head {
        let SnapshotPlace { last, time, configuration, configuration_index } = &self.place;
        assert!(is_entry(*last), "a snapshot that ends with entry {last}");
        let configuration = postcard::to_stdvec(configuration).expect("a configuration always has an encoding");
        Head {
            cluster_id: self.cluster_id,
            last_index: last.index.0,
            last_term: last.term.0,
            time_ms: time.0,
            configuration_index: configuration_index.0,
            configuration: configuration.into(),
            summary: self.summary.clone(),
        }
    }

    /// What the head of an undamaged snapshot says.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if its configuration is of no form that this version knows.
    pub fn of(head: Head) -> Result<Self, SnapshotError> {
        let Head { cluster_id, last_index, last_term, time_ms, configuration_index, configuration, summary } = head;
        let (configuration, unread) = postcard::take_from_bytes(&configuration).map_err(|_| unknown_form())?;
        if !unread.is_empty() {
            return Err(unknown_form());
        }
        let place = SnapshotPlace {
            last: LogBase { index: LogIndex(last_index), term: Term(last_term) },
            time: ClusterTime(time_ms),
            configuration,
            configuration_index: LogIndex(configuration_index),
        };
        Ok(Self { cluster_id, place, summary })
    }
}

fn unknown_form() -> SnapshotError {
    let cause = "what it says of the cluster is of no known form".to_owned();
    SnapshotError::Damaged { offset: HEADER_BYTES as u64, cause }
}

/// Whether a snapshot can end with this entry.
pub(super) fn is_entry(entry: LogBase) -> bool {
    entry.index > LogIndex(0) && entry.index.0 < NUMBER_MAX && entry.term.0 < NUMBER_MAX
}
