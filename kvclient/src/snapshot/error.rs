//! Why bytes are no snapshot.

use thiserror::Error;

/// Why bytes are no snapshot, wherever they came from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// They do not begin as a snapshot does.
    #[error("it is not a kvd snapshot")]
    NotASnapshot,
    /// They are damaged or cut short.
    #[error("the snapshot is damaged at byte {offset}: {cause}")]
    Damaged {
        /// Where the damage begins.
        offset: u64,
        /// What does not check.
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
