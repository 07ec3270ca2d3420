//! Errors of snapshots, with the name of the file.

use super::super::error::StorageError;
pub use kvclient::snapshot::SnapshotError;

/// Converts a snapshot error into one about a file in the data directory.
pub(super) fn in_file(error: SnapshotError, file: &str) -> StorageError {
    match error {
        SnapshotError::NotASnapshot => StorageError::corrupt(file, 0, error.to_string()),
        SnapshotError::Damaged { offset, cause } => StorageError::corrupt(file, offset, cause),
        SnapshotError::UnknownVersion { found, supported } => {
            StorageError::UnknownVersion { file: file.to_owned(), found, supported }
        }
    }
}
