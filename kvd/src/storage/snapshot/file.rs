//! A snapshot on disk, as those know it who do not read it.

use crate::raft::LogBase;

/// A snapshot that is durable: what it replaces may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    last: LogBase,
    bytes: u64,
}

impl SnapshotFile {
    /// Of a file that was found to be whole, and whose name is durable.
    pub(super) fn of_durable(last: LogBase, bytes: u64) -> Self {
        Self { last, bytes }
    }

    /// The last entry in it, by which its reader finds it.
    pub fn last(&self) -> LogBase {
        self.last
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
