//! Bounds: the messages that a leader has in flight to each follower, the entries in memory, and the terms that an
//! isolated minority gains (PreVote, thesis §9.6). And quantities that must be zero once all is quiet.

use super::{Checked, ensure};
use kvd::node::Replica;
use kvd::raft::{Entry, InFlight, NodeId, Settings, Term};
use std::collections::BTreeSet;

const NAME: &str = "Bounded";

/// The limits of a run, and the nodes that are cut off.
#[derive(Debug)]
pub(crate) struct Bounds {
    window_messages_max: usize,
    window_bytes_max: usize,
    message_bytes_max: usize,
    cache_bytes_max: usize,
    cut_off: Option<CutOff>,
}

/// Nodes that hear only each other, and are too few to elect a leader.
#[derive(Debug)]
struct CutOff {
    members: BTreeSet<NodeId>,
    /// The latest term of any of them when they were cut off.
    term: Term,
}

impl Bounds {
    pub(super) fn new(settings: &Settings, entry_bytes_max: usize) -> Self {
        Self {
            window_messages_max: settings.window_messages_max,
            window_bytes_max: settings.window_bytes_max,
            message_bytes_max: settings.message_bytes_max.max(entry_bytes_max),
            cache_bytes_max: settings.cache_bytes_max,
            cut_off: None,
        }
    }

    /// Notes that these few nodes, with `term` as their latest term, hear only each other from now on.
    pub(crate) fn cut_off(&mut self, members: BTreeSet<NodeId>, term: Term) {
        self.cut_off = Some(CutOff { members, term });
    }

    /// Notes that a message has reached a node.
    pub(crate) fn heard(&mut self, to: NodeId, from: NodeId) {
        self.cut_off.take_if(|cut_off| cut_off.members.contains(&to) && !cut_off.members.contains(&from));
    }

    /// Notes that a node has started in this term: the write that a crash interrupted may have held a later term than
    /// was known.
    pub(super) fn restarted(&mut self, id: NodeId, term: Term) {
        if let Some(cut_off) = self.cut_off.as_mut().filter(|cut_off| cut_off.members.contains(&id)) {
            cut_off.term = cut_off.term.max(term);
        }
    }

    pub(super) fn check<W, R>(&self, id: NodeId, replica: &Replica<W, R>) -> Checked {
        let raft = replica.raft();
        if let Some(CutOff { members, term: before }) = &self.cut_off
            && members.contains(&id)
        {
            // One of them may have been told that it can win just before it was cut off.
            let term = raft.term();
            ensure!(NAME, term.0 <= before.0 + 1, "n{} is cut off, and goes from term {before} to {term}", id.0);
        }
        for progress in raft.followers() {
            let InFlight { messages, bytes } = progress.in_flight.unwrap_or_default();
            let to = progress.follower.0;
            ensure!(
                NAME,
                messages <= self.window_messages_max,
                "n{} has {messages} messages on their way to n{to}",
                id.0
            );
            // The last message may exceed the window.
            let bytes_max = self.window_bytes_max + self.message_bytes_max;
            ensure!(NAME, bytes < bytes_max, "n{} has {bytes} bytes on their way to n{to}", id.0);
        }
        Ok(())
    }

    /// Checks that a replica has forgotten all that it may forget, once it has returned its effects.
    pub(crate) fn check_memory<W, R>(&self, id: NodeId, replica: &Replica<W, R>) -> Checked {
        // Each read that consensus keeps has a caller that waits for it. A member may have one question waiting, and
        // one being confirmed, perhaps for reads that have expired since.
        let (kept, waiting) = (replica.raft().waiting_reads(), replica.waiting_reads());
        let configuration = replica.raft().configuration();
        let asking = configuration.members.len() + configuration.removed.len();
        // One more proves that the leader still leads.
        ensure!(NAME, kept <= waiting + 2 * asking + 1, "n{} keeps {kept} reads, and {waiting} wait", id.0);
        let log = replica.raft().log();
        let bytes = log.memory_bytes();
        if bytes > self.cache_bytes_max {
            let settled = log.applied_index().min(log.durable_index());
            let unsettled = log.entries_from(settled.next(), usize::MAX).unwrap_or_default();
            let unsettled_bytes: usize = unsettled.iter().map(Entry::size_bytes).sum();
            ensure!(
                NAME,
                bytes <= unsettled_bytes,
                "n{} holds {bytes} bytes of entries, and {unsettled_bytes} have yet to be applied or written",
                id.0
            );
        }
        Ok(())
    }

    /// Checks a cluster in which no request is pending and nothing is in flight.
    pub(crate) fn check_idle<W, R>(
        &self,
        id: NodeId,
        replica: &Replica<W, R>,
        runs: impl Fn(NodeId) -> bool,
    ) -> Checked {
        let (writes, reads) = (replica.waiting_writes(), replica.waiting_reads());
        ensure!(NAME, writes == 0 && reads == 0, "n{} is idle, and {writes} writes and {reads} reads wait", id.0);
        for progress in replica.raft().followers().into_iter().filter(|progress| runs(progress.follower)) {
            let in_flight = progress.in_flight.unwrap_or_default();
            let is_idle = in_flight == InFlight::default();
            ensure!(NAME, is_idle, "n{} is idle with {in_flight:?} to n{}", id.0, progress.follower.0);
        }
        Ok(())
    }
}
