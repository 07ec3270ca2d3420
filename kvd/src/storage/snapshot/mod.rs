//! Snapshots: all that the log said up to some entry, in one file, so that the log can let it go.
//!
//! Storage knows of a snapshot what consensus needs; the state machine's part is opaque to it: a short summary, and the
//! state in parts. The same bytes are a file, a stream to another node and a backup that a client keeps, so they are
//! defined where clients have them as well: in [`kvclient::snapshot`].
//!
//! # Words
//! | word | what it is |
//! |---|---|
//! | [`SnapshotPlace`](crate::raft::SnapshotPlace) | where a snapshot ends: last entry, cluster time, configuration. All that consensus knows of it |
//! | [`Summary`](kvclient::snapshot::Summary) | what its data comes to: revision, keys, hash. All that the state machine says of it, and clients read it too |
//! | [`SnapshotMeta`] | what a snapshot begins with: its cluster, its place, its summary |
//! | [`Head`](kvclient::snapshot::Head) | the same in bytes, as clients read it: neither place nor summary means anything to them |
//! | [`SnapshotFile`] | proof that a snapshot is durable, and where it ends |
//!
//! # Files
//! `snapshot-<index>-<term>.snap` is named for the last entry in it. It comes to be under a temporary name, is synced,
//! and gets its own name in one durable step. So a file of that name was whole once, and what does not check in it was
//! damaged by the disk. What a snapshot replaces, older ones and the beginning of the log, may go only after that step:
//! [`remove_older`] asks for the proof.
//!
//! - `meta`: what a snapshot begins with
//! - `names`: which files there are; `file`: one that is durable
//! - `writer`, `reader`: files
//! - `recovery`: what a node starts from, and what it does about damage

mod error;
mod file;
mod meta;
mod names;
mod reader;
mod recovery;
#[cfg(test)]
mod tests;
mod writer;

pub use error::SnapshotError;
pub use file::SnapshotFile;
pub use kvclient::snapshot::{Decoder, Encoder, PART_BYTES_MAX, PART_HEADER_BYTES, Part, Totals};
pub use meta::SnapshotMeta;
pub(super) use names::is_snapshot;
pub use names::remove_older;
pub use reader::{SnapshotBytes, SnapshotReader};
pub use recovery::{DamagedSnapshot, FoundSnapshot, RecoveredSnapshot, recover};
pub use writer::SnapshotWriter;
