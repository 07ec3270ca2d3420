//! Proof that a node that believes to lead still does: what it says of the present is true only then.
//!
//! A leader that was deposed and has not heard of it yet knows what was so. To say what is so, be it that a change was
//! made already, it must find out first that no other was elected meanwhile: by a round of heartbeats that begins after
//! it was asked, as for a read (ReadIndex, thesis §6.4). Until then another leader may have committed the contrary.

use super::replica::Replica;
use crate::raft::{ReadToken, RoleName, Term};

/// A round of heartbeats that this leader has begun to find out whether it still leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadershipProof {
    /// The leader's term. A term has one leader, so that one that leads in it still has led all the time.
    term: Term,
    token: ReadToken,
}

/// The rounds of one node, which share the tokens of its reads.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// True if a round is to begin with the next effects.
    is_wanted: bool,
    /// The last that was asked for. It stands for all before it: they were asked for earlier.
    last: ReadToken,
    /// The last round that a quorum has answered.
    confirmed: ReadToken,
}

impl Proofs {
    /// Returns true if a round is to begin with the next effects.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// One begins under this token, if one is wanted. Returns whether it takes the place of one that is not confirmed: a
    /// leader that cannot commit its no-op must not keep every one that was ever asked for.
    pub(super) fn begun(&mut self, token: ReadToken) -> bool {
        let replaces = self.is_wanted && self.last > self.confirmed;
        if std::mem::take(&mut self.is_wanted) {
            self.last = token;
        }
        replaces
    }

    /// Returns true if somebody may wait for this round.
    pub(super) fn is_waited_for(&self, token: ReadToken) -> bool {
        token == self.last && token > self.confirmed
    }

    /// A quorum has answered the round of this token, and so has heard of the leader after each earlier one was asked for.
    pub(super) fn confirmed(&mut self, token: ReadToken) {
        self.confirmed = self.confirmed.max(token);
    }
}

impl<W, R> Replica<W, R> {
    /// Begins to find out whether this node, which believes to lead, still does.
    pub fn prove_leadership(&mut self) -> LeadershipProof {
        self.proofs.is_wanted = true;
        LeadershipProof { term: self.raft().term(), token: self.next_token() }
    }

    /// Returns true once this node is known to have led at a moment since the proof was asked for. What it knows to be
    /// committed is then all that was by that moment. `None` while that is not known; false once it does not lead in that
    /// term any more.
    pub fn is_proven(&self, proof: &LeadershipProof) -> Option<bool> {
        if self.raft().role() != RoleName::Leader || self.raft().term() != proof.term {
            return Some(false);
        }
        (self.proofs.confirmed >= proof.token).then_some(true)
    }
}
