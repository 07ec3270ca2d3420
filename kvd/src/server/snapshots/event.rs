//! Reports of the parts that deal with snapshots.

use crate::data::Received;
use crate::http::{Backup, BackupError};
use crate::raft::{LogBase, LogIndex, NodeId, Term};
use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotFile;
use std::io;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Outcome of an operation on a snapshot.
#[derive(Debug)]
pub(in crate::server) enum SnapshotEvent {
    /// The snapshot that this node was taking has ended.
    Taken(Result<Taken, StorageError>),
    /// A snapshot of this node can no longer be read.
    Unreadable(Unreadable),
    /// A snapshot was sent to a node in this term. Holds its last index if the node has installed it.
    Sent(NodeId, Term, Result<LogIndex, SendFailure>),
    /// A snapshot has arrived and is durable. Its sender is told once it has become the state of this node.
    Received {
        /// Name of the sender.
        from: String,
        /// The snapshot.
        received: Box<Received>,
        /// Channel on which the sender waits.
        installed: oneshot::Sender<LogIndex>,
    },
}

/// Outcome of taking a snapshot.
#[derive(Debug)]
pub(in crate::server) enum Taken {
    /// It is durable.
    Whole {
        /// The file.
        file: SnapshotFile,
        /// Time that it took to write.
        took: Duration,
    },
    /// The node stops, or another node's snapshot has replaced the state from which this one was taken.
    GivenUp,
    /// No thread was available to write it, which says nothing about the disk.
    NotBegun(io::Error),
}

/// A snapshot of this node that can no longer be read, though it was complete once.
#[derive(Debug)]
pub(in crate::server) struct Unreadable {
    /// The last entry in it.
    pub(super) last: LogBase,
    pub(super) cause: StorageError,
    /// The client that was to be sent it.
    pub(super) waiting: Option<Waiting>,
}

/// A client that waits for a snapshot.
#[derive(Debug)]
pub(in crate::server) struct Waiting {
    /// The snapshot must reach at least to this entry.
    pub(super) index: LogIndex,
    pub(super) reply: BackupReply,
    pub(super) turn: OwnedSemaphorePermit,
}

/// Channel for the answer to a client that wants a backup.
pub(in crate::server) type BackupReply = oneshot::Sender<Result<Backup, BackupError>>;

/// Reason why a snapshot was not sent.
#[derive(Debug)]
pub(in crate::server) enum SendFailure {
    /// It cannot be read.
    Unreadable(StorageError),
    /// The follower cannot be reached, or does not take it.
    Peer(String),
}
