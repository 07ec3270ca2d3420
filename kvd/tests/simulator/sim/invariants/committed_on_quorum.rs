//! A committed entry is on the disks of a majority of its configuration, even if all unsynced data were lost at this
//! moment. It never changes, on any node, at any time (paper §5.3, §5.4).

use super::super::node::Node;
use super::configuration::Configurations;
use super::{Violation, ensure, is_quorum};
use kvd::raft::{LogIndex, NodeId, Raft, Term};
use std::collections::BTreeMap;

const NAME: &str = "Committed on Quorum";
const IMMUTABLE: &str = "Committed is Immutable";

/// A committed entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed {
    pub(super) term: Term,
    /// Term of the first node that reported it committed.
    pub(super) in_term: Term,
}

/// Every entry that was ever committed.
#[derive(Debug)]
pub(super) struct CommittedOnQuorum {
    entries: Vec<Committed>,
}

impl CommittedOnQuorum {
    /// Returns the state at the start: the first entry is the same on all founders, each of which writes it itself, so
    /// it is committed from the start.
    pub(super) fn of_founders() -> Self {
        Self { entries: vec![Committed { term: Term(1), in_term: Term(1) }] }
    }

    pub(super) fn entries(&self) -> &[Committed] {
        &self.entries
    }

    /// Checks a node's report that `index` is committed. Returns whether the entry is newly committed.
    pub(super) fn check(
        &mut self,
        index: LogIndex,
        raft: &Raft,
        nodes: &BTreeMap<NodeId, Node>,
        configurations: &Configurations,
    ) -> Result<bool, Violation> {
        let id = raft.id().0;
        if index < raft.log().base().index && index.0 <= self.entries.len() as u64 {
            // The node has the entry in its snapshot.
            return Ok(false);
        }
        let Some(term) = raft.log().term_at(index) else {
            let what = format!("n{id} commits {index}, which it has not");
            return Err(Violation { invariant: NAME, what });
        };
        if let Some(known) = self.entries.get(index.previous().0 as usize) {
            let first = known.term;
            ensure!(IMMUTABLE, first == term, "n{id} commits {index} of term {term}, elsewhere it is of term {first}");
            return Ok(false);
        }
        let holds = |id: NodeId| nodes.get(&id).is_some_and(|node| node.image.log().term_at(index) == Some(term));
        // A leader that has just seen a joint configuration committed already uses the new one.
        let joint = configurations.before_last(raft).filter(|before| before.is_joint());
        if !is_quorum(raft.configuration(), holds) && !joint.is_some_and(|joint| is_quorum(joint, holds)) {
            let on: Vec<String> = nodes.keys().filter(|id| holds(**id)).map(|id| format!("n{}", id.0)).collect();
            let what = format!("n{id} commits {index} of term {term}, which is on the disks of {on:?} alone");
            return Err(Violation { invariant: NAME, what });
        }
        self.entries.push(Committed { term, in_term: raft.term() });
        Ok(true)
    }
}
