//! Leader Append-Only: a leader never overwrites or deletes entries in its log; it only appends (paper Figure 3).

use super::{Checked, Place, ensure};
use kvd::raft::{NodeId, Raft, Term};
use std::collections::BTreeMap;

const NAME: &str = "Leader Append-Only";

/// The end of each leader's log when last seen, with its incarnation and term.
#[derive(Debug, Default)]
pub(super) struct LeaderAppendOnly {
    ends: BTreeMap<NodeId, (u64, Term, Place)>,
}

impl LeaderAppendOnly {
    pub(super) fn check(&mut self, id: NodeId, life: u64, raft: &Raft) -> Checked {
        let end = (raft.log().last_index(), raft.log().last_term());
        if let Some((life_before, term, (index, entry_term))) = self.ends.insert(id, (life, raft.term(), end))
            && (life_before, term) == (life, raft.term())
        {
            ensure!(
                NAME,
                raft.log().term_at(index) == Some(entry_term),
                "n{} leads term {term} and had entry {index} of term {entry_term}, which is gone",
                id.0
            );
        }
        Ok(())
    }
}
