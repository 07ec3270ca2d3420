//! What wakes the task that owns the replica, beside requests and messages.

use super::joining::JoinNews;
use super::snapshots::{SendFailure, Taken, Unreadable};
use crate::data::Received;
use crate::node::AppliedState;
use crate::peer::LinkEvent;
use crate::raft::{Entry, Fetch, LogIndex, NodeId, Term, WriteId};
use crate::storage::StorageError;
use tokio::sync::oneshot;

/// Something this node did or found out by itself. Few at a time, so their queue needs no bound.
#[derive(Debug)]
pub(super) enum Event {
    /// A write to the log is durable.
    Written(WriteId),
    /// Entries have been read back.
    Fetched(Fetch, Vec<Entry>),
    /// Entries cannot be read back.
    LogUnreadable(Fetch, StorageError),
    /// The disk failed: the node must stop.
    DiskFailed(StorageError),
    /// The thread that writes the log ended by a panic: the node must stop.
    WriterPanicked,
    /// The snapshot that this node takes has come to an end.
    SnapshotTaken(Result<Taken, StorageError>),
    /// A snapshot of this node cannot be read any more.
    SnapshotUnreadable(Unreadable),
    /// What became of a snapshot that was to be sent to a node, in this term.
    SnapshotSent(NodeId, Term, Result<LogIndex, SendFailure>),
    /// A snapshot has arrived and is durable. Its sender is told once it is the state of this node.
    SnapshotReceived(Box<Received>, oneshot::Sender<LogIndex>),
    /// While forming a cluster: news of the node that is configured under this name.
    Founder(String, LinkEvent),
    /// News of a member.
    Member(NodeId, LinkEvent),
    /// What became of asking to be added to a cluster.
    Joining(JoinNews),
    /// Another node asks what the states of this one are.
    StatesAsked(oneshot::Sender<Vec<AppliedState>>),
    /// A member has said what its states are.
    StatesReported(NodeId, Vec<AppliedState>),
    /// This node is about to stop: if it leads, it hands over. Dropped when that has come to its end, or there was
    /// nothing to do.
    Stopping(oneshot::Sender<()>),
}
