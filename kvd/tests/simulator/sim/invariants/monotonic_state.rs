//! Term, vote, commit index and applied index never decrease during an incarnation, and stay in order: applied,
//! committed, last (paper Figure 2, "increases monotonically"). Term and vote do not go back over restarts either;
//! [`super::durable_promises`] checks that.

use super::super::node::Node;
use super::{Violation, ensure};
use kvd::raft::{HardState, LogIndex, NodeId, Raft, RoleName};
use std::collections::BTreeMap;

const NAME: &str = "Monotonic State";

/// Last state of each node.
#[derive(Debug, Default)]
pub(super) struct MonotonicState {
    last: BTreeMap<NodeId, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    life: u64,
    hard_state: HardState,
    role: RoleName,
    commit: LogIndex,
    applied: LogIndex,
}

impl MonotonicState {
    /// Returns the commit index and role at the last check.
    pub(super) fn check(&mut self, node: &Node, life: u64, raft: &Raft) -> Result<(LogIndex, RoleName), Violation> {
        let (id, log) = (node.id.0, raft.log());
        let (applied, commit, last) = (log.applied_index(), log.commit_index(), log.last_index());
        ensure!(NAME, applied <= commit && commit <= last, "n{id}: applied {applied}, commit {commit}, last {last}");
        ensure!(NAME, log.durable_index() <= last, "n{id}: durable {} of {last}", log.durable_index());
        let seen = Seen { life, hard_state: raft.hard_state(), role: raft.role(), commit, applied };
        let Some(before) = self.last.insert(node.id, seen).filter(|before| before.life == life) else {
            return Ok((LogIndex(0), RoleName::Follower));
        };
        let (old, new) = (before.hard_state, seen.hard_state);
        let keeps_vote = old.vote.is_none() || old.vote == new.vote;
        ensure!(NAME, new.term > old.term || new.term == old.term && keeps_vote, "n{id}: from {old:?} to {new:?}");
        ensure!(NAME, commit >= before.commit, "n{id}: commit index from {} to {commit}", before.commit);
        ensure!(NAME, applied >= before.applied, "n{id}: applied index from {} to {applied}", before.applied);
        Ok((before.commit, before.role))
    }

    pub(super) fn restarted(&mut self, id: NodeId) {
        self.last.remove(&id);
    }
}
