//! Messages that no working member would send to this node, as far as its own state can tell.
//!
//! Consensus asserts the promises of its algorithm: one leader per term, and committed entries that stay. If a node
//! breaks such a promise by itself, the assertion on that node catches it. But messages come from sockets, and a forged
//! or misdirected one must not end the process. So the receiver of a message checks it here before passing it to
//! [`Raft::step`], which trusts its messages.

use super::core::Raft;
use super::message::{Body, Message};
use super::role::Role;
use super::types::NodeId;
use thiserror::Error;

/// Most terms that a node can have missed: at ten elections a second, thirteen years of them. A term beyond that was
/// made up, and adopting it would use up the available terms.
const TERMS_MISSED_MAX: u64 = 1 << 32;

/// Reason why a message should not be stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Refusal {
    /// An answer or a request that only a member may send.
    #[error("the sender is not a member of this cluster")]
    NotMember,
    /// A term higher than this node could have missed.
    #[error("its term is implausibly high")]
    TermLeap,
    /// The sender claims to lead a term that has another leader.
    #[error("the sender claims to lead a term that has another leader")]
    SecondLeader,
    /// The message contradicts committed entries.
    #[error("it contradicts committed entries")]
    AgainstCommitted,
}

impl Raft {
    /// Returns the reason why this message should not be stepped; `None` if it may be.
    ///
    /// A leader or candidate may be unknown to this node: it may have become a member by an entry that has not arrived
    /// here yet (paper §6). All other messages from nodes that are not members, as far as this node knows, are refused;
    /// a member that is merely unknown repeats them.
    pub fn refusal(&self, from: NodeId, message: &Message) -> Option<Refusal> {
        let Message { term, body } = message;
        if term.0 > self.term().0.saturating_add(TERMS_MISSED_MAX) {
            return Some(Refusal::TermLeap);
        }
        match body {
            Body::PreVote { .. } | Body::RequestVote { .. } => None,
            // Answered with the current term, and otherwise ignored.
            Body::AppendEntries { .. } | Body::TimeoutNow if *term < self.term() => None,
            Body::TimeoutNow if *term == self.term() && self.has_other_leader(from) => Some(Refusal::SecondLeader),
            Body::AppendEntries { prev_log_index, prev_log_term, entries, .. } => {
                let positions = entries.iter().map(|entry| (entry.index, entry.term));
                let mut committed = std::iter::once((*prev_log_index, *prev_log_term))
                    .chain(positions)
                    .skip_while(|(index, _)| *index < self.log.base().index)
                    .take_while(|(index, _)| *index <= self.log.commit_index());
                if *term == self.term() && self.has_other_leader(from) {
                    Some(Refusal::SecondLeader)
                } else if committed.any(|(index, entry_term)| !self.log.matches(index, entry_term)) {
                    Some(Refusal::AgainstCommitted)
                } else {
                    None
                }
            }
            Body::PreVoteResponse { .. }
            | Body::RequestVoteResponse { .. }
            | Body::AppendAccepted { .. }
            | Body::AppendRejected { .. }
            | Body::ReadIndex { .. }
            | Body::ReadIndexResponse { .. }
            | Body::TimeoutNow => {
                let is_fed = matches!(&self.role, Role::Leader(leader) if leader.progress.contains_key(&from));
                // A leader that has completed its own removal continues until another has taken over (paper §6).
                let leads = *term == self.term() && self.leader() == Some(from);
                let is_member = self.configuration().members.contains_key(&from);
                (!is_member && !is_fed && !leads).then_some(Refusal::NotMember)
            }
        }
    }

    /// Returns true if this term is known to have a leader other than `from`.
    fn has_other_leader(&self, from: NodeId) -> bool {
        match &self.role {
            Role::Leader(_) => true,
            Role::Follower(follower) => follower.leader.is_some_and(|leader| leader != from),
            Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{
        ClusterTime, Configuration, Entry, HardState, Instant, Log, LogIndex, MemberInfo, Payload, ReadId, Restored,
        Settings, Term,
    };
    use std::collections::BTreeMap;

    const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
    const STRANGER: NodeId = NodeId(9);

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index: LogIndex(index), term: Term(term), time: ClusterTime(0), payload: Payload::Noop }
    }

    /// Node 1 of three in term 5, with entries 1 and 2 of terms 1 and 3, the first of them committed.
    fn node() -> Raft {
        let info = |id: NodeId| MemberInfo {
            name: format!("n{}", id.0),
            client_url: "http://a".into(),
            peer_url: "http://a".into(),
        };
        let configuration = Configuration::of_voters(MEMBERS.map(|id| (id, info(id))));
        let mut log = Log::default();
        let first = Entry { payload: Payload::Configuration(configuration.clone()), ..entry(1, 1) };
        [first, entry(2, 3)].into_iter().for_each(|entry| log.append(entry));
        log.set_durable(LogIndex(2));
        log.commit(LogIndex(1));
        let configurations = BTreeMap::from([(LogIndex(1), configuration)]);
        let hard_state = HardState { term: Term(5), vote: None };
        Raft::new(MEMBERS[0], Settings::default(), 7, Restored { hard_state, log, configurations }, Instant(0))
    }

    fn append(term: u64, prev: (u64, u64), entries: Vec<Entry>) -> Message {
        let (prev_log_index, prev_log_term) = (LogIndex(prev.0), Term(prev.1));
        let body = Body::AppendEntries {
            prev_log_index,
            prev_log_term,
            entries,
            leader_commit: LogIndex(1),
            round: 0,
            time: None,
        };
        Message { term: Term(term), body }
    }

    #[test]
    fn what_a_leader_sends_is_taken_though_it_may_be_unknown_here() {
        let mut node = node();
        for message in [
            append(5, (2, 3), vec![entry(3, 5)]),
            append(5, (1, 1), vec![entry(2, 4)]),
            append(9, (0, 0), vec![entry(1, 1), entry(2, 3)]),
            append(4, (1, 4), vec![]),
        ] {
            for from in [MEMBERS[1], STRANGER] {
                assert_eq!(node.refusal(from, &message), None, "{message:?}");
            }
        }
        node.step(MEMBERS[1], append(5, (2, 3), vec![]));
        assert_eq!(node.refusal(MEMBERS[1], &append(5, (2, 3), vec![])), None, "the leader again");
        assert_eq!(node.refusal(MEMBERS[2], &append(6, (2, 3), vec![])), None, "the leader of the next term");
    }

    #[test]
    fn what_consensus_would_assert_against_is_refused() {
        let mut node = node();
        for message in [append(5, (1, 2), vec![]), append(5, (0, 0), vec![entry(1, 5)])] {
            assert_eq!(node.refusal(MEMBERS[1], &message), Some(Refusal::AgainstCommitted), "{message:?}");
        }
        node.step(MEMBERS[1], append(5, (2, 3), vec![]));
        assert_eq!(node.refusal(MEMBERS[2], &append(5, (2, 3), vec![])), Some(Refusal::SecondLeader));
        let leap = append(5 + TERMS_MISSED_MAX + 1, (2, 3), vec![]);
        assert_eq!(node.refusal(MEMBERS[1], &leap), Some(Refusal::TermLeap));
    }

    #[test]
    fn a_leader_that_leaves_is_heard_until_another_takes_over() {
        let mut node = node();
        let mut without = Configuration::of_voters(MEMBERS.map(|id| (id, node.configuration().members[&id].clone())));
        without.members.remove(&MEMBERS[1]);
        without.voters.remove(&MEMBERS[1]);
        let entry = Entry { payload: Payload::Configuration(without), ..entry(3, 5) };
        node.step(MEMBERS[1], append(5, (2, 3), vec![entry]));
        for body in [Body::TimeoutNow, Body::ReadIndexResponse { read: ReadId(1), read_index: LogIndex(1), time: None }]
        {
            let message = Message { term: Term(5), body };
            assert_eq!(node.refusal(MEMBERS[1], &message), None, "{message:?}");
            assert!(node.refusal(STRANGER, &message).is_some(), "{message:?}");
        }
    }

    #[test]
    fn a_stranger_neither_answers_nor_asks() {
        let node = node();
        for body in [
            Body::RequestVoteResponse { granted: true },
            Body::AppendAccepted { match_index: LogIndex(2), round: 0 },
            Body::ReadIndex { read: ReadId(1) },
        ] {
            let message = Message { term: Term(6), body };
            assert_eq!(node.refusal(STRANGER, &message), Some(Refusal::NotMember), "{message:?}");
            assert_eq!(node.refusal(MEMBERS[1], &message), None, "{message:?}");
        }
    }
}
