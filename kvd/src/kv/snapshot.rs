//! Snapshots: the whole state as bytes, written in pieces while the store continues to apply commands (thesis §5.1).
//!
//! A snapshot is a [`Summary`](kvclient::snapshot::Summary) and a sequence of entries: all items by key, then all
//! sessions by client, each in the canonical bytes that the state's hash covers. Together they determine the results of
//! all later commands, so replicas in the same state write the same bytes. [`super::pieces`] has the format of entries,
//! and cuts their sequence into pieces.
//!
//! The state is that of the moment at which the snapshot was begun. When a command changes an entry ahead of the
//! [walk](super::walk), the old entry is kept until the walk has passed it. So nothing waits for a snapshot, and its
//! memory is bounded by the changes ahead of it. `store/taking.rs` takes snapshots, `store/restoring.rs` builds stores
//! from them. Files, streams, checksums and the relation to the log are handled elsewhere.

use super::hash::StateHash;
use super::level::Level;
use kvclient::snapshot::SummaryError;
use thiserror::Error;

/// A snapshot is being written already; only one is written at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a snapshot is being written already")]
pub struct SnapshotBusy;

/// No snapshot is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no snapshot is being written")]
pub struct NoSnapshot;

/// Reason why no store can be built from a summary and pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A newer version of this program wrote it: update this node.
    #[error("snapshot of level {0}, which this version does not support")]
    UnknownLevel(Level),
    /// No version of this program writes such bytes.
    #[error("malformed snapshot: {field}")]
    Malformed {
        /// The field that could not be read, or that has an impossible value.
        field: &'static str,
    },
    /// An entry does not belong behind the one before it: a piece came twice or too early.
    #[error("the pieces of the snapshot do not follow one another: {entry} out of order")]
    OutOfOrder {
        /// Kind of the entry.
        entry: &'static str,
    },
    /// The counts differ from the summary: a piece is missing, or one is from elsewhere.
    #[error("the snapshot should have {expected} {what}, but {found} came")]
    Count {
        /// The kind of things counted.
        what: &'static str,
        /// Number in the summary.
        expected: u64,
        /// Number received.
        found: u64,
    },
    /// All entries are well-formed, but they are another state.
    #[error("the snapshot should have state hash {expected}, but what came has {found}")]
    StateHash {
        /// The hash in the summary.
        expected: StateHash,
        /// The hash of the received entries.
        found: StateHash,
    },
}

pub(super) fn malformed(field: &'static str) -> RestoreError {
    RestoreError::Malformed { field }
}

impl From<SummaryError> for RestoreError {
    fn from(error: SummaryError) -> Self {
        match error {
            SummaryError::UnknownLevel(level) => Self::UnknownLevel(Level(level)),
            SummaryError::Malformed { field } => malformed(field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvclient::snapshot::Summary;

    #[test]
    fn a_summary_is_known_up_to_the_newest_level_and_no_further() {
        assert_eq!(Summary::LEVEL_MAX, Level::NEWEST.0);
    }
}
