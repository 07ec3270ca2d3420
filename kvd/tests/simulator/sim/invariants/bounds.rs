//! What must stay bounded: what a leader has on its way to each follower, the entries in memory, the terms that a node
//! gains while nobody hears it (PreVote, thesis §9.6); and what must be nothing once all is quiet.

use super::{Checked, ensure};
use kvd::node::Replica;
use kvd::raft::{NodeId, Settings, Term};
use std::collections::BTreeMap;

const NAME: &str = "Bounded";

/// Bytes of entries in memory beyond the cache: far more than the clients of a run can have under way.
const UNSETTLED_BYTES_MAX: usize = 64 << 20;

/// The limits of a run, and who is cut off from all others.
#[derive(Debug)]
pub(crate) struct Bounds {
    window_messages_max: usize,
    memory_bytes_max: usize,
    /// The term of each isolated node when it was cut off.
    isolated: BTreeMap<NodeId, Term>,
}

impl Bounds {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            window_messages_max: settings.window_messages_max,
            memory_bytes_max: settings.cache_bytes_max + UNSETTLED_BYTES_MAX,
            isolated: BTreeMap::new(),
        }
    }

    /// From now on `id` hears nobody and nobody hears it.
    pub(crate) fn isolated(&mut self, id: NodeId, term: Term) {
        self.isolated.insert(id, term);
    }

    /// A message has reached a node that was cut off.
    pub(crate) fn heard(&mut self, id: NodeId) {
        self.isolated.remove(&id);
    }

    /// A node has started in this term: the write that a crash interrupted may have held a later one than was known.
    pub(super) fn restarted(&mut self, id: NodeId, term: Term) {
        self.isolated.entry(id).and_modify(|before| *before = term);
    }

    pub(super) fn check<W, R>(&self, id: NodeId, replica: &Replica<W, R>) -> Checked {
        let raft = replica.raft();
        if let Some(before) = self.isolated.get(&id)
            && raft.configuration().voters.len() > 1
        {
            // It may have been told that it can win just before.
            let term = raft.term();
            ensure!(NAME, term.0 <= before.0 + 1, "n{} is cut off, and goes from term {before} to {term}", id.0);
        }
        let memory = raft.log().memory_bytes();
        ensure!(NAME, memory <= self.memory_bytes_max, "n{} holds {memory} bytes of entries", id.0);
        for progress in raft.followers() {
            let in_flight = progress.in_flight.unwrap_or(0);
            ensure!(
                NAME,
                in_flight <= self.window_messages_max,
                "n{} has {in_flight} messages on their way to n{}",
                id.0,
                progress.follower.0
            );
        }
        Ok(())
    }

    /// Nothing is asked and nothing is under way any more.
    pub(crate) fn check_idle<W, R>(
        &self,
        id: NodeId,
        replica: &Replica<W, R>,
        runs: impl Fn(NodeId) -> bool,
    ) -> Checked {
        let (writes, reads) = (replica.waiting_writes(), replica.waiting_reads());
        ensure!(NAME, writes == 0 && reads == 0, "n{} is idle, and {writes} writes and {reads} reads wait", id.0);
        for progress in replica.raft().followers().into_iter().filter(|progress| runs(progress.follower)) {
            let in_flight = progress.in_flight.unwrap_or(0);
            ensure!(NAME, in_flight == 0, "n{} is idle with {in_flight} messages to n{}", id.0, progress.follower.0);
        }
        Ok(())
    }
}
