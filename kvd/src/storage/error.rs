//! Errors of stored data, worded so that an operator knows the meaning and the remedy.

use crate::raft::{LogIndex, NodeId};
use std::io;
use thiserror::Error;

/// An error of the storage layer. All but [`StorageError::Compacted`] are reasons to end the process.
#[derive(Debug, Error)]
pub enum StorageError {
    /// A call to the operating system failed. After a failed write or sync, nothing that was in flight can be trusted;
    /// data that was acknowledged before is safe.
    #[error(
        "cannot {action} {file}: {cause}. No acknowledged write is lost, but the node cannot continue: check that the \
         disk is healthy, has space and is writable for this user, then restart the node"
    )]
    Io {
        /// The attempted action, as a verb.
        action: &'static str,
        /// Name of the file within the data directory.
        file: String,
        /// The operating system's error.
        cause: io::Error,
    },
    /// Stored bytes are damaged in a way that no crash causes: acknowledged data may be lost.
    #[error(
        "{file} is damaged at byte {offset}: {cause}. Acknowledged writes may be missing from this node, so it refuses \
         to start. Restore the latest version of the file, never an old copy. If that is not possible, move the \
         directory away and start this node with the same flags: it rejoins as a new member under its name, and the \
         others send it all data, as long as they are a majority"
    )]
    Corrupt {
        /// Name of the file within the data directory.
        file: String,
        /// Offset in the file at which the damage begins.
        offset: u64,
        /// The failed check.
        cause: String,
    },
    /// The file has an unknown format version.
    #[error(
        "{file} has format version {found}, but this kvd reads version {supported}: use the kvd version that wrote it, \
         or a newer one"
    )]
    UnknownVersion {
        /// Name of the file within the data directory.
        file: String,
        /// Version found in the file.
        found: u32,
        /// Version that this program reads and writes.
        supported: u32,
    },
    /// The log was written by another node, or by another incarnation of this one.
    #[error(
        "{file} belongs to node {found}, but the identity in this data directory is {expected}: \
         files of two nodes are mixed. Move each back to its own directory"
    )]
    OtherNode {
        /// Name of the file within the data directory.
        file: String,
        /// Node that wrote the log.
        found: NodeId,
        /// Node that opens the log.
        expected: NodeId,
    },
    /// The file holds data of another cluster.
    #[error(
        "{file} belongs to cluster {found:016x}, but this node to cluster {expected:016x}: \
         files of two clusters are mixed. Move each back to its own directory"
    )]
    OtherCluster {
        /// Name of the file within the data directory.
        file: String,
        /// Cluster that the data belongs to.
        found: u64,
        /// Cluster that the node belongs to.
        expected: u64,
    },
    /// The data directory was made by a node with another name.
    #[error("the data directory belongs to node {found:?}, not to {expected:?}")]
    OtherName {
        /// Name found in the directory.
        found: String,
        /// Name of the node that opens it.
        expected: String,
    },
    /// This user may not write to the data directory.
    #[error("{0}; the directory must be writable for this user")]
    NotWritable(io::Error),
    /// Another daemon has locked the data directory.
    #[error("the data directory is in use by another kvd: stop that one, or choose another directory")]
    Locked,
    /// The requested entry is no longer in the log: a snapshot has replaced it.
    #[error("entry {index} is no longer in the log, which begins at {first}")]
    Compacted {
        /// Requested entry.
        index: LogIndex,
        /// First entry that is still in the log.
        first: LogIndex,
    },
    /// An earlier write failed, and the log has accepted nothing since.
    #[error("an earlier write to the log failed, so it accepts no more: restart the process")]
    Poisoned,
}

impl StorageError {
    /// Converts an error of the operating system into one that names the attempted action and the file.
    pub(super) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, file: file.to_owned(), cause }
    }

    /// Returns whether the disk is full. A log cannot go on without space; a snapshot can be skipped.
    pub fn is_for_want_of_space(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::StorageFull)
    }

    /// Returns whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Returns whether stored bytes cannot be recovered: they are damaged, or the disk fails to read them. Such an
    /// error says nothing about later writes, so it concerns the file and not the disk. A file that cannot even be
    /// opened is different: then the directory is damaged, or the process lacks a resource that it needs.
    pub fn is_of_lost_bytes(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::UnknownVersion { .. } | Self::Io { action: "read", .. })
    }

    /// Returns the error alone, without its consequence for a node that cannot go on.
    pub fn in_short(&self) -> String {
        match self {
            Self::Io { action, file, cause } => format!("cannot {action} {file}: {cause}"),
            Self::Corrupt { file, offset, cause } => format!("{file} is damaged at byte {offset}: {cause}"),
            other => other.to_string(),
        }
    }

    /// Returns the error for damage in `file` from `offset` on.
    pub(super) fn corrupt(file: &str, offset: u64, cause: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, cause: cause.into() }
    }
}
