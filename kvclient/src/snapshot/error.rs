//! Why bytes are no snapshot.

use thiserror::Error;

/// Why bytes are no snapshot, wherever they came from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// They are damaged, cut short, or were none to begin with.
    #[error("the snapshot is damaged at byte {offset}: {cause}")]
    Damaged {
        /// Where the damage begins.
        offset: u64,
        /// What does not check.
        cause: String,
    },
    /// They have a format that this version does not know.
    #[error(
        "the snapshot has format version {found}, and this program knows version {supported}: \
         use the version of kvd that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Version found.
        found: u32,
        /// The version that this program reads and writes.
        supported: u32,
    },
}
