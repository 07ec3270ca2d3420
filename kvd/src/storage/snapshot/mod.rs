//! Snapshots: the state up to some entry of the log in one file, so that the log up to that entry can be removed.
//!
//! Storage knows only the parts of a snapshot that consensus needs. The state machine's part is opaque to it: a short
//! summary, and the state in parts. The same bytes are a file, a stream to another node and a backup that a client
//! keeps, so they are defined in a place that clients share: [`kvclient::snapshot`].
//!
//! # Words
//! | word | meaning |
//! |---|---|
//! | [`SnapshotPlace`](crate::raft::SnapshotPlace) | end of a snapshot: last entry, cluster time, configuration. Everything that consensus knows of it |
//! | [`Summary`](kvclient::snapshot::Summary) | summary of its data by the state machine: revision, keys, hash. Clients read it too |
//! | [`SnapshotMeta`] | beginning of a snapshot: its cluster, its place, its summary |
//! | [`Head`](kvclient::snapshot::Head) | the same in bytes, as clients read it: place and summary are opaque to them |
//! | [`SnapshotFile`] | proof that a snapshot is durable, with its last entry |
//!
//! # Files
//! `snapshot-<index>-<term>.snap` is named for the last entry in it. It is written under a temporary name, synced, and
//! gets its own name in one durable step. So a file with that name was whole once, and any part of it that does not
//! check was damaged by the disk. Files that a snapshot replaces, older snapshots and the beginning of the log, may be
//! removed only after that step: [`remove_older`] requires the proof.
//!
//! - `meta`: the beginning of a snapshot
//! - `names`: names of the files; `file`: a durable one
//! - `writer`, `reader`: files
//! - `recovery`: the snapshot that a node starts from, and the treatment of damaged ones

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
pub use reader::{Piece, SnapshotBytes, SnapshotReader};
pub use recovery::{DamagedSnapshot, FoundSnapshot, RecoveredSnapshot, recover};
pub use writer::SnapshotWriter;
