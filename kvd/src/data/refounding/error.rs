//! Reasons why no cluster was founded on existing data, worded so that an operator knows the state of the directory and
//! what to do.
//!
//! The storage layer words its errors for a node of a running cluster, which can be started again or replaced with the
//! help of the other nodes. Here there is no such cluster, so errors with such advice are worded anew.

use super::super::error::DataError;
use crate::kv::RestoreError;
use crate::node::UnreadableEntry;
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotError;
use std::io;
use thiserror::Error;

/// Reason why a directory does not hold a new cluster.
#[derive(Debug, Error)]
pub enum RefoundError {
    /// The new cluster could not be written beside the existing files.
    #[error("{}. Nothing was changed: check that the disk is healthy, has space and is writable for this user, then \
         try again", plainly(.0))]
    Unchanged(StorageError),
    /// All new files were written, but the directory failed while they replaced the old ones.
    #[error(
        "{}. The directory holds either the old data or the complete new cluster: check that the disk is healthy, then \
         try again",
        plainly(.0)
    )]
    Undecided(StorageError),
}

/// Reason why a backup was not restored. Except for [`RestoreBackupError::Completed`] and [`RefoundError::Undecided`],
/// the directory is as empty as it was.
#[derive(Debug, Error)]
pub enum RestoreBackupError {
    /// The directory is not empty.
    #[error(
        "it already holds {0}, but a backup is restored into an empty directory: use another directory, or remove the \
         files if they are no longer needed"
    )]
    NotEmpty(String),
    /// An interrupted replacement was found and completed.
    #[error(
        "an interrupted restore or recover of this directory has just been completed, so it holds a complete new \
         cluster. Start kvd on it; or remove the files and restore again"
    )]
    Completed,
    /// The backup cannot be read.
    #[error("it cannot be read: {0}. Nothing was restored")]
    Read(#[from] io::Error),
    /// The file is not a snapshot.
    #[error("it is not a kvd snapshot. Nothing was restored")]
    NotASnapshot,
    /// The backup is damaged.
    #[error("it is damaged at byte {offset}: {cause}. Nothing was restored: use another copy, or an older backup")]
    Damaged {
        /// Offset at which the damage begins.
        offset: u64,
        /// The failed check.
        cause: String,
    },
    /// The backup has an unknown format version.
    #[error(
        "it has format version {found}, but this kvd reads version {supported}. Nothing was restored: use the kvd \
         version that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Version in the backup.
        found: u32,
        /// Version that this program reads.
        supported: u32,
    },
    /// The backup is undamaged, but its data is from a newer version of kvd, or does not match its summary.
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
    /// Returns whether the error is about the backup and not about the directory.
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

/// Reason why a directory cannot be turned into a cluster of one. Its content is unchanged.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The directory has no node that was part of a cluster.
    #[error(
        "it holds no data of a cluster, so there is nothing to recover. (A node with --storage memory has its data \
         only while it runs: save it with `kvctl snapshot save FILE --stale`, then run `kvd restore FILE`)"
    )]
    Nothing,
    /// Data that the node once had is missing.
    #[error(
        "{0}. The data of this node is incomplete, so it is not recovered. Nothing was changed: restore the latest \
         version of the file, recover another remaining node, or restore a backup"
    )]
    Incomplete(String),
    /// The data is from a newer version of kvd.
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

/// Returns the cause without the advice to start the node again. A start would found a cluster without any data, or
/// wait for nodes that are gone.
fn plainly(error: &StorageError) -> String {
    match error {
        StorageError::Io { action, file, cause } => format!("cannot {action} {file}: {cause}"),
        other => other.to_string(),
    }
}
