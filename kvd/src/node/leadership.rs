//! Proof that a node that believes that it leads still does: only then are its answers about the present true.
//!
//! A deposed leader that has not learnt of it yet knows only a past state. Before it answers about the present state,
//! for instance that a change was made already, it must find out that no other leader was elected meanwhile: by a round
//! of heartbeats that begins after the request, as for a read (ReadIndex, thesis §6.4). Until then another leader may
//! have committed the contrary.

use crate::raft::{ReadToken, Term};

/// A round of heartbeats by which this leader finds out whether it still leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeadershipProof {
    /// The leader's term. A term has one leader, so a node that leads in it still has led all the time.
    term: Term,
    token: ReadToken,
}

/// The rounds of one node, which share the tokens of its reads.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// True if the next effects begin a round.
    is_wanted: bool,
    /// The last round requested. It stands for all earlier ones.
    last: ReadToken,
    /// The last round that a quorum has confirmed.
    confirmed: ReadToken,
}

impl Proofs {
    /// Returns true if the next effects must begin a round.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// Begins a round under this token, if one is wanted. Returns true if it replaces an unconfirmed one: a leader that
    /// cannot commit its no-op must not keep every round that was ever requested.
    pub(super) fn begun(&mut self, token: ReadToken) -> bool {
        let replaces = self.is_wanted && self.last > self.confirmed;
        if std::mem::take(&mut self.is_wanted) {
            self.last = token;
        }
        replaces
    }

    /// Returns true if a request may wait for this round.
    pub(super) fn is_waited_for(&self, token: ReadToken) -> bool {
        token == self.last && token > self.confirmed
    }

    /// Records that a quorum has answered the round of this token. So the quorum has heard of the leader after each
    /// earlier round was requested.
    pub(super) fn confirmed(&mut self, token: ReadToken) {
        self.confirmed = self.confirmed.max(token);
    }

    /// Requests a round, which begins under `token` with the next effects. This node believes that it leads in `term`.
    pub(super) fn ask(&mut self, term: Term, token: ReadToken) -> LeadershipProof {
        self.is_wanted = true;
        LeadershipProof { term, token }
    }

    /// Returns true once a quorum has answered, false if this node no longer leads in the proof's term, and `None`
    /// while neither is known. `leads_in` is the term in which this node leads now, if it does.
    pub(super) fn is_proven(&self, proof: &LeadershipProof, leads_in: Option<Term>) -> Option<bool> {
        if leads_in != Some(proof.term) {
            return Some(false);
        }
        (self.confirmed >= proof.token).then_some(true)
    }
}
