//! Handing leadership over, as who asked for it sees it: what became of it.

use super::leadership::LeadershipProof;
use super::replica::Replica;
use crate::raft::{Instant, NodeId, RoleName, Term, TransferRefusal};
use thiserror::Error;

/// A hand-over that has begun. [`Replica::hand_over_ended`] says what became of it.
#[derive(Clone, Copy, Debug)]
pub struct HandOver {
    /// To whom.
    pub to: NodeId,
    /// The term of the leader that hands over.
    term: Term,
    deadline: Instant,
    /// To the leader itself there is nothing to hand over, if it still leads.
    proof: Option<LeadershipProof>,
}

/// Why leadership did not go where it was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandOverError {
    /// The target did not take over within an election timeout, and the leader goes on.
    #[error("the target did not take over in time")]
    GivenUp,
    /// Another node was elected.
    #[error("another node was elected")]
    OtherElected {
        /// The node that leads now.
        leader: NodeId,
    },
    /// The old leader leads no more, and in all the time that requests have none was heard of that does.
    #[error("no leader was heard of in time")]
    NoLeader,
}

impl<W, R> Replica<W, R> {
    /// Begins to hand leadership over; see [`crate::raft::Raft::transfer_leadership`].
    ///
    /// # Errors
    /// [`TransferRefusal`]; nothing has changed then.
    pub fn hand_over(&mut self, to: Option<NodeId>) -> Result<HandOver, TransferRefusal> {
        let to = self.raft_mut().transfer_leadership(to)?;
        let proof = (to == self.raft().id()).then(|| self.prove_leadership());
        Ok(HandOver { to, term: self.raft().term(), deadline: self.deadline(), proof })
    }

    /// What became of a hand-over; `None` while it is under way. To be asked after each of [`Replica::effects`].
    pub fn hand_over_ended(&self, hand_over: &HandOver) -> Option<Result<(), HandOverError>> {
        let HandOver { to, term, deadline, proof } = *hand_over;
        let raft = self.raft();
        let leads_still = raft.role() == RoleName::Leader && raft.term() == term;
        // One that leads in another term by now was elected since.
        let is_open = proof.is_some_and(|proof| self.is_proven(&proof).is_none());
        match raft.leader() {
            Some(leader) if leader == to && is_open => (self.now() >= deadline).then_some(Err(HandOverError::NoLeader)),
            Some(leader) if leader == to => Some(Ok(())),
            // Others may have asked for the same since.
            Some(_) if leads_still && raft.transfer_target() == Some(to) && self.now() < deadline => None,
            Some(_) if leads_still => Some(Err(HandOverError::GivenUp)),
            Some(leader) => Some(Err(HandOverError::OtherElected { leader })),
            None => (self.now() >= deadline).then_some(Err(HandOverError::NoLeader)),
        }
    }
}
