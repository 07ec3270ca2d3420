//! What wakes the task that owns the replica, beside requests and messages.

use crate::peer::LinkEvent;
use crate::raft::{Entry, Fetch, NodeId, WriteId};
use crate::storage::StorageError;

/// Something this node did or found out by itself. Few at a time, so their queue needs no bound.
#[derive(Debug)]
pub(super) enum Event {
    /// A write to the log is durable.
    Written(WriteId),
    /// Entries have been read back.
    Fetched(Fetch, Vec<Entry>),
    /// The disk failed: the node must stop.
    DiskFailed(StorageError),
    /// The thread that writes the log ended by a panic: the node must stop.
    WriterPanicked,
    /// While forming a cluster: news of the node that is configured under this name.
    Founder(String, LinkEvent),
    /// News of a member.
    Member(NodeId, LinkEvent),
}
