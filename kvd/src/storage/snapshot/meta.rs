//! Beginning of a snapshot, as nodes know it. Clients know the same as a [`Head`], without the terms of consensus.

use crate::raft::{ClusterTime, LogBase, LogIndex, SnapshotPlace, Term};
use bytes::Bytes;
use kvclient::snapshot::{HEADER_BYTES, Head, NUMBER_MAX, SnapshotError};

/// Beginning of a snapshot: everything that consensus has to know of it, and the state machine's summary of its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// Cluster whose state the snapshot holds.
    pub cluster_id: u64,
    /// Place at which the snapshot ends.
    pub place: SnapshotPlace,
    /// Summary of the data: opaque here.
    pub summary: Bytes,
}

impl SnapshotMeta {
    /// Returns the head, the form in which a snapshot contains the same facts.
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

    /// Reads the head of an undamaged snapshot.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] if the configuration has a form that this version does not know.
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

/// Returns whether a snapshot can end with this entry.
pub(super) fn is_entry(entry: LogBase) -> bool {
    entry.index > LogIndex(0) && entry.index.0 < NUMBER_MAX && entry.term.0 < NUMBER_MAX
}
