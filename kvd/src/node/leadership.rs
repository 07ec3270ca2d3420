//! Proof that a node that believes to lead still does: what it says of the present is true only then.
//!
//! A leader that was deposed and has not heard of it yet knows what was so. To say what is so, be it that a change was
//! made already, it must find out first that no other was elected meanwhile: by a round of heartbeats that begins after
//! it was asked, as for a read (ReadIndex, thesis §6.4). Until then another leader may have committed the contrary.

use crate::raft::{ReadToken, Term};

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

    /// Asks for a round, which begins under `token` with the next effects. This node believes to lead in `term`.
    pub(super) fn ask(&mut self, term: Term, token: ReadToken) -> LeadershipProof {
        self.is_wanted = true;
        LeadershipProof { term, token }
    }

    /// Returns true once a quorum has answered, false if this node, which leads in the term `leads_in` by now if it does,
    /// has ceased to lead in the proof's term; `None` while neither is known.
    pub(super) fn is_proven(&self, proof: &LeadershipProof, leads_in: Option<Term>) -> Option<bool> {
        if leads_in != Some(proof.term) {
            return Some(false);
        }
        (self.confirmed >= proof.token).then_some(true)
    }
}
