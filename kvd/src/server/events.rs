//! Events that wake the task that runs a node, besides requests and messages: reports of the node's own parts, in
//! groups.
//!
//! A group holds one part's events, so a phase that does not use the part ignores the group with one match arm.

use super::leadership_transfer::Stopping;
use super::log_writer::LogEvent;
use super::reporter::{Failure, Reporter};
use super::snapshots::SnapshotEvent;
use super::state_exchange::StatesEvent;
use crate::bootstrap::JoinNews;
use crate::peer::LinkEvent;
use crate::raft::NodeId;
use tokio::sync::mpsc::UnboundedSender;

/// Something that this node did or found out by itself. Few events are queued at a time, so their queue needs no bound.
#[derive(Debug)]
pub(super) enum Event {
    /// A write to the log, or a read of it.
    Log(LogEvent),
    /// A snapshot that was taken, sent, received or found to be damaged.
    Snapshots(SnapshotEvent),
    /// News of the node that is configured under this name, while a cluster forms.
    Founder(String, LinkEvent),
    /// News of a member.
    Member(NodeId, LinkEvent),
    /// The outcome of a request to be added to a cluster.
    Join(JoinNews),
    /// States of this node or of another one, for comparison.
    States(StatesEvent),
    /// This node is about to stop.
    Stopping(Stopping),
}

/// Puts events into a node's inbox.
#[derive(Clone, Debug)]
pub(super) struct EventSender(UnboundedSender<Result<Event, Failure>>);

impl EventSender {
    /// Creates a sender that puts events into this queue.
    pub(super) fn new(queue: UnboundedSender<Result<Event, Failure>>) -> Self {
        Self(queue)
    }

    /// Returns a reporter for one part. `group` turns a report of the part into an event.
    pub(super) fn reporter<E: 'static>(&self, group: impl Fn(E) -> Event + Send + Sync + 'static) -> Reporter<E> {
        let queue = self.0.clone();
        Reporter::new(move |report: Result<E, Failure>| queue.send(report.map(&group)).is_ok())
    }
}
