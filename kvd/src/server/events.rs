//! What wakes the task that runs a node, beside requests and messages: reports of the node's own parts, in groups.
//!
//! A group is one part's events, so a phase that has nothing to do with the part ignores the group by one arm.

use super::hand_over::Stopping;
use super::log_writer::LogEvent;
use super::reporter::{Failure, Reporter};
use super::snapshots::SnapshotEvent;
use super::state_exchange::StatesEvent;
use crate::bootstrap::JoinNews;
use crate::peer::LinkEvent;
use crate::raft::NodeId;
use tokio::sync::mpsc::UnboundedSender;

/// Something this node did or found out by itself. Events are few at a time, so their queue needs no bound.
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
    /// What became of asking to be added to a cluster.
    Join(JoinNews),
    /// The states of this node or of another one, which are compared.
    States(StatesEvent),
    /// This node is about to stop.
    Stopping(Stopping),
}

/// Puts events into the inbox of a node.
#[derive(Clone, Debug)]
pub(super) struct EventSender(UnboundedSender<Result<Event, Failure>>);

impl EventSender {
    /// Puts events into this queue.
    pub(super) fn new(queue: UnboundedSender<Result<Event, Failure>>) -> Self {
        Self(queue)
    }

    /// A reporter for one part. `group` makes an event of what the part reports.
    pub(super) fn reporter<E: 'static>(&self, group: impl Fn(E) -> Event + Send + Sync + 'static) -> Reporter<E> {
        let queue = self.0.clone();
        Reporter::new(move |report: Result<E, Failure>| queue.send(report.map(&group)).is_ok())
    }
}
