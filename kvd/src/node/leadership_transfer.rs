//! Leadership transfer from the requester's view: its result.

use super::leadership::LeadershipProof;
use super::replica::Replica;
use crate::raft::{Instant, NodeId, RoleName, Term, TransferRefusal};
use thiserror::Error;

/// A leadership transfer that has begun. [`Replica::leadership_transfer_ended`] returns its result.
#[derive(Clone, Copy, Debug)]
pub struct LeadershipTransfer {
    /// The target.
    pub to: NodeId,
    /// The term of the leader that transfers leadership.
    term: Term,
    deadline: Instant,
    /// Set if the leader itself is the target: nothing is to be done if it still leads.
    proof: Option<LeadershipProof>,
}

/// Reason why a leadership transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransferError {
    /// The target did not take over within an election timeout, and the old leader continues.
    #[error("the target did not take over in time")]
    GivenUp,
    /// Another node was elected.
    #[error("another node was elected")]
    OtherElected {
        /// The node that leads now.
        leader: NodeId,
    },
    /// The old leader no longer leads, and no other leader was heard of within the request timeout.
    #[error("no leader was heard of in time")]
    NoLeader,
}

impl<W, R> Replica<W, R> {
    /// Starts a leadership transfer; see [`crate::raft::Raft::transfer_leadership`].
    ///
    /// # Errors
    /// [`TransferRefusal`]; nothing has changed then.
    pub fn leadership_transfer(&mut self, to: Option<NodeId>) -> Result<LeadershipTransfer, TransferRefusal> {
        let to = self.raft_mut().transfer_leadership(to)?;
        let proof = (to == self.raft().id()).then(|| self.prove_leadership());
        Ok(LeadershipTransfer { to, term: self.raft().term(), deadline: self.deadline(), proof })
    }

    /// Returns the result of a leadership transfer; `None` while it is in progress. Call this after each call of
    /// [`Replica::effects`].
    pub fn leadership_transfer_ended(
        &self,
        leadership_transfer: &LeadershipTransfer,
    ) -> Option<Result<(), TransferError>> {
        let LeadershipTransfer { to, term, deadline, proof } = *leadership_transfer;
        let raft = self.raft();
        let leads_still = raft.role() == RoleName::Leader && raft.term() == term;
        // A node that leads in another term by now was elected since.
        let is_open = proof.is_some_and(|proof| self.is_proven(&proof).is_none());
        match raft.leader() {
            Some(leader) if leader == to && is_open => (self.now() >= deadline).then_some(Err(TransferError::NoLeader)),
            Some(leader) if leader == to => Some(Ok(())),
            // Other requests may have asked for the same transfer since.
            Some(_) if leads_still && raft.transfer_target() == Some(to) && self.now() < deadline => None,
            Some(_) if leads_still => Some(Err(TransferError::GivenUp)),
            Some(leader) => Some(Err(TransferError::OtherElected { leader })),
            None => (self.now() >= deadline).then_some(Err(TransferError::NoLeader)),
        }
    }
}
