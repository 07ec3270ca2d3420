//! Why no cluster was founded on what there is, said so that an operator knows what the directory holds now and what to
//! do.
//!
//! What the storage layer says of its errors is meant for a node of a cluster that goes on: to be started again, or
//! replaced by the others. Here there is no such cluster, so the errors that give such advice are told anew.

use super::super::error::DataError;
use crate::kv::RestoreError;
use crate::node::UnreadableEntry;
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotError;
use std::io;
use thiserror::Error;

/// Why a directory does not hold a new cluster.
#[derive(Debug, Error)]
pub enum RefoundError {
    /// The new cluster could not be written beside what is there.
    #[error("{}. Nothing was changed: check that the disk is healthy, has space and is writable for this user, then \
         try again", plainly(.0))]
    Unchanged(StorageError),
    /// All was written, and the directory failed while the one took the place of the other.
    #[error(
        "{}. The directory holds either the old data or the complete new cluster: check that the disk is healthy, then \
         try again",
        plainly(.0)
    )]
    Undecided(StorageError),
}

/// Why a backup is not restored. But for [`RestoreBackupError::Completed`] and [`RefoundError::Undecided`], the
/// directory is as empty as it was.
#[derive(Debug, Error)]
pub enum RestoreBackupError {
    /// Something is there.
    #[error(
        "it already holds {0}, but a backup is restored into an empty directory: use another directory, or remove the \
         files if they are no longer needed"
    )]
    NotEmpty(String),
    /// An interrupted replacement was found, and completed.
    #[error(
        "an interrupted restore or recover of this directory has just been completed, so it holds a complete new \
         cluster. Start kvd on it; or remove the files and restore again"
    )]
    Completed,
    /// The backup cannot be read.
    #[error("it cannot be read: {0}. Nothing was restored")]
    Read(#[from] io::Error),
    /// It is another file.
    #[error("it is not a kvd snapshot. Nothing was restored")]
    NotASnapshot,
    /// The backup is damaged.
    #[error("it is damaged at byte {offset}: {cause}. Nothing was restored: use another copy, or an older backup")]
    Damaged {
        /// Where the damage begins.
        offset: u64,
        /// What does not check.
        cause: String,
    },
    /// It has a format that this version does not know.
    #[error(
        "it has format version {found}, but this kvd reads version {supported}. Nothing was restored: use the kvd \
         version that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Version found.
        found: u32,
        /// The version that this program reads.
        supported: u32,
    },
    /// It is undamaged, and its data is of a newer version of kvd, or not what it says.
    #[error(
        "it is undamaged, but this kvd cannot read it: {0}. Nothing was restored: use the kvd version that wrote it, a \
         newer one, or an older backup"
    )]
    Restore(#[from] RestoreError),
    /// The directory cannot be used.
    #[error("{}. Nothing was restored", plainly(.0))]
    Storage(#[from] StorageError),
    /// The directory cannot be written.
    #[error(transparent)]
    Refound(#[from] RefoundError),
}

impl From<SnapshotError> for RestoreBackupError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::NotASnapshot => Self::NotASnapshot,
            SnapshotError::Damaged { offset, cause } => Self::Damaged { offset, cause },
            SnapshotError::UnknownVersion { found, supported } => Self::UnknownVersion { found, supported },
        }
    }
}

impl RestoreBackupError {
    /// Whether it is the backup that will not do, not the directory.
    pub fn is_of_backup(&self) -> bool {
        match self {
            Self::Read(_)
            | Self::NotASnapshot
            | Self::Damaged { .. }
            | Self::UnknownVersion { .. }
            | Self::Restore(_) => true,
            Self::NotEmpty(_) | Self::Completed | Self::Storage(_) | Self::Refound(_) => false,
        }
    }
}

/// Why a directory cannot be made a cluster of one. It holds what it held before.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// It holds no node that was part of a cluster.
    #[error(
        "it holds no data of a cluster, so there is nothing to recover. (A node with --storage memory has its data \
         only while it runs: save it with `kvctl snapshot save FILE --stale`, then run `kvd restore FILE`)"
    )]
    Nothing,
    /// Something that the node once had is gone.
    #[error(
        "{0}. The data of this node is incomplete, so it is not recovered. Nothing was changed: restore the latest \
         version of the file, recover another remaining node, or restore a backup"
    )]
    Incomplete(String),
    /// It is of a newer version of kvd.
    #[error("{0}. Nothing was changed: use the kvd version that last ran on it, or a newer one")]
    OtherVersion(String),
    /// The directory cannot be used.
    #[error("{}", plainly(.0))]
    Storage(StorageError),
}

impl From<StorageError> for RecoverError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Corrupt { file, offset, cause } => {
                Self::Incomplete(format!("{file} is damaged at byte {offset}: {cause}"))
            }
            StorageError::UnknownVersion { file, found, supported } => {
                Self::OtherVersion(format!("{file} has format version {found}, but this kvd reads version {supported}"))
            }
            other => Self::Storage(other),
        }
    }
}

impl From<DataError> for RecoverError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Storage(cause) => cause.into(),
            DataError::LogMissing => Self::Incomplete("its log (the files wal-*.log) is missing or empty".to_owned()),
            DataError::UnreadableEntry(UnreadableEntry { index, cause }) => Self::OtherVersion(format!(
                "entry {index} of its log holds a command that this kvd cannot read ({cause})"
            )),
            DataError::Snapshot(cause) => {
                Self::OtherVersion(format!("its snapshot is undamaged, but this kvd cannot read it ({cause})"))
            }
            DataError::Level { .. } => Self::OtherVersion(format!("{error}")),
            DataError::Remains(_) | DataError::Diverged(_) | DataError::RestoreUnfinished => {
                Self::Incomplete(error.to_string())
            }
        }
    }
}

/// What failed, without the advice to start the node again: that would found a cluster without anything in it, or wait
/// for nodes that are gone.
fn plainly(error: &StorageError) -> String {
    match error {
        StorageError::Io { action, file, cause } => format!("cannot {action} {file}: {cause}"),
        other => other.to_string(),
    }
}
