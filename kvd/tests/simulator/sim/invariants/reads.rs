//! Quick checks of reads while the run goes on. A read shows what stood at the revision that it claims, and nothing of
//! another; a revision is called forgotten only by a node that no longer keeps it. A read sees everything that was
//! committed on any node before it reached its own node. Stale reads of one process never go back.
//!
//! A client may only rely on what it was told, but a ReadIndex promises more (thesis §6.4): a leader that had a quorum
//! for committing an entry took that quorum from every earlier leader, so no earlier leader is confirmed for a later
//! read.
//!
//! The linearizability of the whole history is checked at the end.

use super::super::model::Model;
use super::super::queries::{Answer, Answered};
use super::{Checked, ensure};
use kvd::kv::Revision;
use kvd::raft::{LogIndex, NodeId};
use std::collections::BTreeMap;

const NAME: &str = "Reads";

/// State that readers may rely on.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Revision of the last stale read at each node, by incarnation.
    stale: BTreeMap<(NodeId, u64), Revision>,
}

impl Reads {
    /// Checks the answer to a read that reached its node when everything up to `floor` was committed.
    pub(crate) fn linearizable(&self, at: NodeId, answered: &Answered, floor: LogIndex, model: &Model) -> Checked {
        let applied = answered.applied;
        ensure!(
            NAME,
            applied >= floor,
            "n{} answers a read at {applied}, and {floor} was committed before it arrived",
            at.0
        );
        check_answer(at, answered, model)
    }

    pub(crate) fn stale(&mut self, at: (NodeId, u64), answered: &Answered, model: &Model) -> Checked {
        let revision = answered.revision;
        let before = self.stale.insert(at, revision).unwrap_or(0);
        ensure!(NAME, revision >= before, "n{} answers a stale read at {revision} after one at {before}", at.0.0);
        check_answer(at.0, answered, model)
    }
}

fn check_answer(at: NodeId, answered: &Answered, model: &Model) -> Checked {
    let Answered { query, answer, revision, .. } = answered;
    if let Answer::Forgotten { oldest } = answer {
        let asked = query.at();
        let is_right = asked.is_some_and(|asked| asked < *oldest) && *oldest <= *revision;
        ensure!(NAME, is_right, "n{} has forgotten what {query:?} asks for, and knows {oldest}", at.0);
        return Ok(());
    }
    let expected = model.answer(answered);
    ensure!(
        NAME,
        *answer == expected,
        "n{} answers {query:?} at {revision} with {answer:?}, where {expected:?} stood",
        at.0
    );
    Ok(())
}
