//! Snapshots: the whole state as bytes, written in pieces while the store goes on applying commands (thesis §5.1).
//!
//! A snapshot is a [`Summary`](kvclient::snapshot::Summary) and a sequence of entries: all items by key, then all sessions by client, each in
//! the canonical bytes that the state's hash is taken over. Together they decide everything that later commands come to;
//! so replicas in the same state write the same bytes. [`super::pieces`] has the format of entries, and cuts their
//! sequence into pieces.
//!
//! The state is that of the moment at which the snapshot was begun. What a command changes ahead of the
//! [walk](super::walk) is kept as it was until the walk has passed it, so nothing waits for a snapshot, and what it
//! takes in memory is what changes ahead of it. `store/taking.rs` takes snapshots, `store/restoring.rs` makes stores of
//! them. Files and streams, their checksums and what the log has to do with all this are others' business.

use super::hash::StateHash;
use super::level::Level;
use kvclient::snapshot::SummaryError;
use thiserror::Error;

/// A snapshot is being written already; there is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a snapshot is being written already")]
pub struct SnapshotBusy;

/// No snapshot is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no snapshot is being written")]
pub struct NoSnapshot;

/// Why no store can be made of a summary and pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A newer version of this program wrote it: update this node.
    #[error("snapshot of level {0}, which this version does not support")]
    UnknownLevel(Level),
    /// No version of this program writes such bytes.
    #[error("malformed snapshot: {field}")]
    Malformed {
        /// The field that could not be read, or that says what cannot be.
        field: &'static str,
    },
    /// An entry does not belong behind the one before it: a piece came twice, or before its turn.
    #[error("the pieces of the snapshot do not follow one another: {entry} out of order")]
    OutOfOrder {
        /// What the entry is.
        entry: &'static str,
    },
    /// There is more or less of it than the summary says: a piece is missing, or one is from elsewhere.
    #[error("the snapshot should have {expected} {what}, but {found} came")]
    Count {
        /// What is counted.
        what: &'static str,
        /// As many as the summary says.
        expected: u64,
        /// As many as came.
        found: u64,
    },
    /// It all reads well, but is another state.
    #[error("the snapshot should have state hash {expected}, but what came has {found}")]
    StateHash {
        /// As the summary says.
        expected: StateHash,
        /// Of what came.
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
