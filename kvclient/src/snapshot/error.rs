//! Errors of bytes that are not a valid snapshot.

use thiserror::Error;

/// Reason why bytes are not a snapshot, wherever they came from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// They do not begin like a snapshot.
    #[error("it is not a kvd snapshot")]
    NotASnapshot,
    /// They are damaged or cut short.
    #[error("the snapshot is damaged at byte {offset}: {cause}")]
    Damaged {
        /// Offset of the damage.
        offset: u64,
        /// The check that failed.
        cause: String,
    },
    /// They have a format that this version does not know.
    #[error(
        "the snapshot has format version {found}, but this program reads version {supported}: use the kvd version that \
         wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Version found.
        found: u32,
        /// The version that this program reads and writes.
        supported: u32,
    },
}
