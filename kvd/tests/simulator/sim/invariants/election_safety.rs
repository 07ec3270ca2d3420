//! Election Safety: at most one leader can be elected in a given term (paper Figure 3). It rests on a second rule that
//! is checked here too: a node votes for at most one candidate in a term, over all its incarnations.

use super::{Checked, ensure};
use kvd::raft::{NodeId, Term};
use std::collections::BTreeMap;

const NAME: &str = "Election Safety";

/// Leaders and votes of each term.
#[derive(Debug, Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
}

impl ElectionSafety {
    pub(super) fn leads(&mut self, id: NodeId, term: Term) -> Checked {
        let leader = *self.leaders.entry(term).or_insert(id);
        ensure!(NAME, leader == id, "n{} and n{} both lead term {term}", leader.0, id.0);
        Ok(())
    }

    /// Checks a vote that leaves its voter, for itself or for another candidate.
    pub(super) fn votes(&mut self, voter: NodeId, term: Term, candidate: NodeId) -> Checked {
        let first = *self.votes.entry((voter, term)).or_insert(candidate);
        ensure!(
            NAME,
            first == candidate,
            "n{} votes for n{} in term {term}, and has voted for n{}",
            voter.0,
            candidate.0,
            first.0
        );
        Ok(())
    }
}
