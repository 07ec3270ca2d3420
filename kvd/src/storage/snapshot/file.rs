//! A snapshot on disk, for callers that do not read it.

use crate::raft::LogBase;

/// A durable snapshot: everything that it replaces may be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    last: LogBase,
    bytes: u64,
}

impl SnapshotFile {
    /// Describes a file that was found undamaged, and whose name is durable.
    pub(super) fn of_durable(last: LogBase, bytes: u64) -> Self {
        Self { last, bytes }
    }

    /// Returns the last entry in the snapshot, by which a reader finds the file.
    pub fn last(&self) -> LogBase {
        self.last
    }

    /// Returns the length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
