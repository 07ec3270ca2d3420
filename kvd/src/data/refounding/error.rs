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
    #[error("{}. Nothing was changed: see that the disk is healthy, has space and may be written by this user, then try again", plainly(.0))]
    Unchanged(StorageError),
    /// All was written, and the directory failed while the one took the place of the other.
    #[error(
        "{}. The directory holds what it held before or the whole of the new cluster: see that the disk is healthy, then try \
         again, which completes the new cluster or begins anew",
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
        "it holds {0} already, and a backup is restored into an empty directory: name another one, or remove what is in there \
         if nobody needs it any more"
    )]
    NotEmpty(String),
    /// An interrupted replacement was found, and completed.
    #[error(
        "an earlier restore or recover of it was interrupted, and has been completed just now: it holds a whole new cluster. \
         Start kvd on it; or remove what is in there, and restore again"
    )]
    Completed,
    /// The backup cannot be read.
    #[error("it cannot be read: {0}. Nothing was restored")]
    Read(#[from] io::Error),
    /// The backup is damaged, or none.
    #[error(
        "it is damaged at byte {offset}, or no backup: {cause}. Nothing was restored: take another copy of it, or an older backup"
    )]
    Damaged {
        /// Where the damage begins.
        offset: u64,
        /// What does not check.
        cause: String,
    },
    /// It has a format that this version does not know.
    #[error(
        "it has format version {found}, and this kvd knows version {supported}. Nothing was restored: use the version of kvd that \
         it was taken from, or a newer one"
    )]
    UnknownVersion {
        /// Version found.
        found: u32,
        /// The version that this program reads.
        supported: u32,
    },
    /// It is undamaged, and its data is of a newer version of kvd, or not what it says.
    #[error(
        "it is undamaged and cannot be used: {0}. Nothing was restored: use the version of kvd that it was taken from, or a newer \
         one; or an older backup"
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
            SnapshotError::Damaged { offset, cause } => Self::Damaged { offset, cause },
            SnapshotError::UnknownVersion { found, supported } => Self::UnknownVersion { found, supported },
        }
    }
}

impl RestoreBackupError {
    /// Whether it is the backup that will not do, not the directory.
    pub fn is_of_backup(&self) -> bool {
        match self {
            Self::Read(_) | Self::Damaged { .. } | Self::UnknownVersion { .. } | Self::Restore(_) => true,
            Self::NotEmpty(_) | Self::Completed | Self::Storage(_) | Self::Refound(_) => false,
        }
    }
}

/// Why a directory cannot be made a cluster of one. It holds what it held before.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// It holds no node that was part of a cluster.
    #[error(
        "it holds no data of a node that was part of a cluster: there is nothing to recover. (A node with --storage memory has \
         its data only while it runs: save that with `kvctl snapshot save FILE --stale`, and `kvd restore FILE`)"
    )]
    Nothing,
    /// Something that the node once had is gone.
    #[error(
        "{0}. So this node has not all that it once had, and no cluster is made of it. Nothing was changed: put the file back as \
         it was last, or recover another node that is left, or restore a backup"
    )]
    Incomplete(String),
    /// It is of a newer version of kvd.
    #[error("{0}. Nothing was changed: use the version of kvd that it last ran with, or a newer one")]
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
                Self::OtherVersion(format!("{file} has format version {found}, and this kvd knows version {supported}"))
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
                Self::OtherVersion(format!("its snapshot is undamaged, and this kvd cannot use it ({cause})"))
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
