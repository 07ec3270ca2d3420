//! Candidacy: when a node counts a vote, it still has the log with which it asked for that vote. A voter compares the
//! end of its log with the end that a RequestVote claims (paper §5.4.1). That only makes a winner have every committed
//! entry (§5.4.3) if the claim holds for as long as the votes count.

use super::super::node::Node;
use super::{Checked, ensure};
use kvd::raft::{Body, LogIndex, Message, NodeId, Raft, RoleName, Term};
use std::collections::BTreeMap;

const NAME: &str = "Candidacy";

/// The last claim of each node.
#[derive(Debug, Default)]
pub(super) struct Candidacy {
    claims: BTreeMap<NodeId, Claim>,
}

/// The end of its sender's log, as a RequestVote states it.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// Term of the election.
    term: Term,
    last_index: LogIndex,
    last_term: Term,
}

impl Candidacy {
    /// Notes a RequestVote that leaves a node. A message that has waited for the disk may ask for votes that are no
    /// longer counted.
    pub(super) fn message_leaves(&mut self, node: &Node, message: &Message) -> Checked {
        if let Body::RequestVote { last_log_index, last_log_term, .. } = message.body {
            let claim = Claim { term: message.term, last_index: last_log_index, last_term: last_log_term };
            self.claims.insert(node.id, claim);
        }
        node.raft().map_or(Ok(()), |raft| self.check(raft))
    }

    /// Checks that a node still has the log it claimed, while it counts votes and once they have made it leader.
    pub(super) fn check(&self, raft: &Raft) -> Checked {
        let counts = matches!(raft.role(), RoleName::Candidate | RoleName::Leader);
        let Some(claim) = self.claims.get(&raft.id()).filter(|claim| counts && claim.term == raft.term()) else {
            return Ok(());
        };
        let log = raft.log();
        // Entries before the base are committed, and in the snapshot.
        let has = claim.last_index < log.base().index || log.term_at(claim.last_index) == Some(claim.last_term);
        ensure!(
            NAME,
            has,
            "n{} is {:?} of term {} with a log from {} up to {}, and asked for votes with one up to entry {} of term {}",
            raft.id().0,
            raft.role(),
            claim.term,
            log.base(),
            log.last_index(),
            claim.last_index,
            claim.last_term
        );
        Ok(())
    }
}
