//! What can go wrong with stored data, said so that an operator knows what it means and what to do.

use crate::raft::{LogIndex, NodeId};
use std::io;
use thiserror::Error;

/// An error of the storage layer. All but [`StorageError::Compacted`] are reasons to end the process.
#[derive(Debug, Error)]
pub enum StorageError {
    /// A call to the operating system failed. After a failed write or sync nothing that was in flight can
    /// be believed; what was acknowledged before is safe.
    #[error(
        "cannot {action} {file}: {cause}. No acknowledged write is lost, but the node cannot continue: check that the \
         disk is healthy, has space and is writable for this user, then restart the node"
    )]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// Name of the file within the data directory.
        file: String,
        /// What the operating system said.
        cause: io::Error,
    },
    /// Stored bytes are damaged, and not as a crash would leave them: something acknowledged may be gone.
    #[error(
        "{file} is damaged at byte {offset}: {cause}. Acknowledged writes may be missing from this node, so it refuses \
         to start. Restore the latest version of the file, never an old copy. If that is not possible, move the \
         directory away and start this node with the same flags: it rejoins as a new member under its name, and the \
         others send it all data, as long as they are a majority"
    )]
    Corrupt {
        /// Name of the file within the data directory.
        file: String,
        /// Where in the file the damage begins.
        offset: u64,
        /// What does not check.
        cause: String,
    },
    /// The file has a format that this version does not know.
    #[error(
        "{file} has format version {found}, but this kvd reads version {supported}: use the kvd version that wrote it, \
         or a newer one"
    )]
    UnknownVersion {
        /// Name of the file within the data directory.
        file: String,
        /// Version found in the file.
        found: u32,
        /// The version that this program reads and writes.
        supported: u32,
    },
    /// The log was written by another node (or by another life of this one).
    #[error(
        "{file} belongs to node {found}, but the identity in this data directory is {expected}: \
         files of two nodes are mixed. Move each back to its own directory"
    )]
    OtherNode {
        /// Name of the file within the data directory.
        file: String,
        /// The node that wrote it.
        found: NodeId,
        /// The node that opens it.
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
        /// The cluster whose data it holds.
        found: u64,
        /// The cluster that the node belongs to.
        expected: u64,
    },
    /// The data directory was made by a node of another name.
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
    /// Another daemon has the data directory.
    #[error("the data directory is in use by another kvd: stop that one, or choose another directory")]
    Locked,
    /// The entry asked for is no longer in the log: a snapshot has replaced it.
    #[error("entry {index} is no longer in the log, which begins at {first}")]
    Compacted {
        /// The entry asked for.
        index: LogIndex,
        /// The first entry that the log still has.
        first: LogIndex,
    },
    /// An earlier write failed, and since then the log takes no more.
    #[error("an earlier write to the log failed, so it accepts no more: restart the process")]
    Poisoned,
}

impl StorageError {
    /// Turns an error of the operating system into one that says what was attempted on which file.
    pub(super) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, file: file.to_owned(), cause }
    }

    /// Whether the disk has no space left: a log cannot do without, a snapshot can.
    pub fn is_for_want_of_space(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::StorageFull)
    }

    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Whether bytes that were stored once cannot be had back: they are damaged, or the disk fails to read them. That says
    /// nothing of what is written from now on, so it is the end of the file and not of the disk. A file that is not
    /// opened at all is another matter: then the directory is damaged, or the process lacks what it takes.
    pub fn is_of_lost_bytes(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::UnknownVersion { .. } | Self::Io { action: "read", .. })
    }

    /// Says what is wrong, without what it means for a node that cannot go on.
    pub fn in_short(&self) -> String {
        match self {
            Self::Io { action, file, cause } => format!("cannot {action} {file}: {cause}"),
            Self::Corrupt { file, offset, cause } => format!("{file} is damaged at byte {offset}: {cause}"),
            other => other.to_string(),
        }
    }

    /// Damage in `file` from `offset` on.
    pub(super) fn corrupt(file: &str, offset: u64, cause: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, cause: cause.into() }
    }
}
