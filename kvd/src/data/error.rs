//! Why a node's data cannot be used.

use crate::kv::{Level, RestoreError};
use crate::node::UnreadableEntry;
use crate::raft::LogIndex;
use crate::storage::StorageError;
use thiserror::Error;

/// Why a node's data cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// What is stored cannot be read, or does not belong here.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log holds what this version cannot read.
    #[error(transparent)]
    UnreadableEntry(#[from] UnreadableEntry),
    /// The snapshot is undamaged, and this version cannot make a store of it.
    #[error(transparent)]
    Snapshot(#[from] RestoreError),
    /// What it holds, or may yet be told to be committed, is of a level that the node is not to know.
    #[error("its level is {needed}, but this kvd supports only up to {level_max}")]
    Level {
        /// The level of the data.
        needed: Level,
        /// The newest that the node knows, or is to know.
        level_max: Level,
    },
    /// The node is part of a cluster, but its log is gone.
    #[error("the log is missing or empty")]
    LogMissing,
    /// A file of a node that was here before, which is neither this one nor says which it was.
    #[error("{0} belongs to a node that was part of a cluster, but its identity.json is missing")]
    Remains(String),
    /// What it holds was found to be other than what the other nodes hold after this entry.
    #[error("its data differs from that of the other nodes, found at entry {0}")]
    Diverged(LogIndex),
    /// A backup was to be restored here, and that was interrupted.
    #[error("a restore into this directory did not finish: run `kvd restore` again")]
    RestoreUnfinished,
}
