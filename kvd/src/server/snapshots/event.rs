//! What the parts that deal with snapshots report.

use crate::data::Received;
use crate::http::{Backup, BackupError};
use crate::raft::{LogBase, LogIndex, NodeId, Term};
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotFile;
use std::io;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What became of a snapshot.
#[derive(Debug)]
pub(in crate::server) enum SnapshotEvent {
    /// The snapshot that this node takes has come to an end.
    Taken(Result<Taken, StorageError>),
    /// A snapshot of this node cannot be read any more.
    Unreadable(Unreadable),
    /// A snapshot was sent to a node in this term; its last index, if the node has installed it.
    Sent(NodeId, Term, Result<LogIndex, SendFailure>),
    /// A snapshot has arrived and is durable. Its sender is told once it is the state of this node.
    Received {
        /// Name of the sender.
        from: String,
        /// The snapshot.
        received: Box<Received>,
        /// Where the sender waits.
        installed: oneshot::Sender<LogIndex>,
    },
}

/// The end of a snapshot that was begun.
#[derive(Debug)]
pub(in crate::server) enum Taken {
    /// It is durable.
    Whole {
        /// The file.
        file: SnapshotFile,
        /// Time that it took to write.
        took: Duration,
    },
    /// The node stops, or another node's snapshot has replaced the state that this one was taken of.
    GivenUp,
    /// There was no thread to be had for it, which says nothing of the disk.
    NotBegun(io::Error),
}

/// A snapshot of this node that cannot be read, though it was whole once.
#[derive(Debug)]
pub(in crate::server) struct Unreadable {
    /// The last entry in it.
    pub(super) last: LogBase,
    pub(super) cause: StorageError,
    /// A client that was to be given it.
    pub(super) waiting: Option<Waiting>,
}

/// A client that waits for a snapshot.
#[derive(Debug)]
pub(in crate::server) struct Waiting {
    /// The snapshot must reach up to this entry.
    pub(super) index: LogIndex,
    pub(super) reply: BackupReply,
    pub(super) turn: OwnedSemaphorePermit,
}

/// Where a client waits for what it is given.
pub(in crate::server) type BackupReply = oneshot::Sender<Result<Backup, BackupError>>;

/// Why a snapshot was not sent.
#[derive(Debug)]
pub(in crate::server) enum SendFailure {
    /// It cannot be read.
    Unreadable(StorageError),
    /// The follower cannot be reached, or does not take it.
    Peer(String),
}
