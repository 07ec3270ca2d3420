//! Reasons why a node's data cannot be used.

use crate::kv::{Level, RestoreError};
use crate::node::UnreadableEntry;
use crate::raft::LogIndex;
use crate::storage::StorageError;
use thiserror::Error;

/// Reason why a node's data cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// Stored data cannot be read, or does not belong to this node.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log has content that this version cannot read.
    #[error(transparent)]
    UnreadableEntry(#[from] UnreadableEntry),
    /// The snapshot is undamaged, but this version cannot restore a store from it.
    #[error(transparent)]
    Snapshot(#[from] RestoreError),
    /// The data, including entries that may still be committed, is of a level that the node must not use.
    #[error("its level is {needed}, but this kvd supports only up to {level_max}")]
    Level {
        /// The level of the data.
        needed: Level,
        /// The newest level that the node knows, or is set to know.
        level_max: Level,
    },
    /// The node is part of a cluster, but its log is gone.
    #[error("the log is missing or empty")]
    LogMissing,
    /// The file belongs to a node that was here before. It is not this node, and nothing says which node it was.
    #[error("{0} belongs to a node that was part of a cluster, but its identity.json is missing")]
    Remains(String),
    /// The node's data was found to differ from that of the other nodes after this entry.
    #[error("its data differs from that of the other nodes, found at entry {0}")]
    Diverged(LogIndex),
    /// A restore of a backup into this directory was interrupted.
    #[error("a restore into this directory did not finish: run `kvd restore` again")]
    RestoreUnfinished,
}
