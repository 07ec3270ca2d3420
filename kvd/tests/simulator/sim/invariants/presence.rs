//! Presence: a leader that begins a change of the voters has recently heard, in its own term, from a majority of the
//! new voters; without one, a joint configuration can never be left. That majority could really take part a moment ago:
//! none of it was dead, paused or waiting for its disk. And a member that is replaced for its silence has been silent
//! for the longest election timeout.
//!
//! The leader's time counts only while it is awake: it may not have read messages that were sent while it was paused.
//! Whether other nodes could really take part is judged by the time of the world.

use super::super::events::{Life, Micros};
use super::super::node::Node;
use super::{Checked, ensure, is_quorum};
use kvd::raft::{
    Body, Configuration, Goal, Instant, LogWrite, Message, NodeId, Raft, Record, RoleName, Settings, Term,
};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "Presence";

/// A node that could take part this recently may be counted on: news of its failure may be in flight, and a leader's
/// patience is some hundreds of milliseconds. Microseconds.
const LATELY: Micros = 1_000_000;

/// Answers that each node received from other nodes.
#[derive(Debug)]
pub(crate) struct Presence {
    timeout_ms: u64,
    heartbeat_ms: u64,
    nodes: BTreeMap<NodeId, Awake>,
    /// Last activity of each node, by the time of the world.
    awake_at: BTreeMap<NodeId, Micros>,
    /// Delay that hardly any message exceeds. Microseconds.
    delay_max: Micros,
}

/// One incarnation of a node.
#[derive(Debug)]
struct Awake {
    life: Life,
    last: Instant,
    /// Time that it was awake. Milliseconds.
    awake_ms: u64,
    /// The term in which it leads or last led, and when it was first seen to lead.
    reign: (Term, u64),
    /// Time since which each member has been one.
    member_since: BTreeMap<NodeId, u64>,
    /// Time and term of each member's last answer.
    heard: BTreeMap<NodeId, (Term, u64)>,
    asked: Asked,
}

/// Kinds of change that a node may have been asked for since it was last checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    #[default]
    Nothing,
    /// A change that names the members to remove.
    Change,
    /// Such a change, or one that is forced whichever members are heard.
    Force,
}

impl Presence {
    pub(super) fn new(settings: &Settings, delay_max: Micros) -> Self {
        Self {
            awake_at: BTreeMap::new(),
            delay_max,
            timeout_ms: settings.election_timeout_max_ms,
            heartbeat_ms: settings.heartbeat_ms,
            nodes: BTreeMap::new(),
        }
    }

    /// Notes the time `time` of a node that is awake.
    pub(crate) fn awake(&mut self, id: NodeId, life: Life, time: Instant, now: Micros, raft: &Raft) {
        self.awake_at.insert(id, now);
        let begins = |awake_ms| Awake {
            life,
            last: time,
            awake_ms,
            reign: (Term(0), 0),
            member_since: BTreeMap::new(),
            heard: BTreeMap::new(),
            asked: Asked::Nothing,
        };
        let awake = self.nodes.entry(id).or_insert_with(|| begins(0));
        if awake.life != life {
            *awake = begins(awake.awake_ms);
        }
        awake.awake_ms += time.ms_since(awake.last).min(self.heartbeat_ms / 2);
        awake.last = time;
        if raft.role() == RoleName::Leader && awake.reign.0 != raft.term() {
            awake.reign = (raft.term(), awake.awake_ms);
        }
        let members = &raft.configuration().members;
        awake.member_since.retain(|id, _| members.contains_key(id));
        for id in members.keys() {
            awake.member_since.entry(*id).or_insert(awake.awake_ms);
        }
    }

    /// Notes a message that a node has processed.
    pub(crate) fn stepped(&mut self, id: NodeId, from: NodeId, message: &Message) {
        let is_answer = matches!(
            message.body,
            Body::AppendAccepted { .. } | Body::AppendRejected { .. } | Body::RequestVoteResponse { .. }
        );
        let is_vote = matches!(message.body, Body::RequestVoteResponse { .. });
        if let Some(awake) = self.nodes.get_mut(&id).filter(|_| is_answer) {
            if is_vote && awake.reign.0 == message.term {
                // It was no longer needed, and is ignored.
                return;
            }
            let heard = awake.heard.entry(from).or_insert((message.term, 0));
            // An answer of an earlier term is too late to count.
            if message.term >= heard.0 {
                *heard = (message.term, awake.awake_ms);
            }
        }
    }

    /// Notes that a node may begin a change that it was asked for.
    pub(crate) fn asked(&mut self, id: NodeId, asked: Asked) {
        if let Some(awake) = self.nodes.get_mut(&id) {
            awake.asked = asked;
        }
    }

    /// Notes that every change that a node was asked for has either begun or been refused.
    pub(super) fn looked_at(&mut self, id: NodeId) {
        self.asked(id, Asked::Nothing);
    }

    /// Checks a leader that goes from one configuration to the next.
    pub(super) fn check_change(
        &self,
        raft: &Raft,
        before: &Configuration,
        next: &Configuration,
        nodes: &BTreeMap<NodeId, Node>,
    ) -> Checked {
        let Some(awake) = self.nodes.get(&raft.id()) else { return Ok(()) };
        if next.voters != before.voters && awake.asked != Asked::Force {
            let is_recent = |at: u64| awake.awake_ms - at <= self.timeout_ms;
            let is_heard = |id: NodeId| id == raft.id() || awake.heard_in(raft.term(), id).is_some_and(is_recent);
            let alone = Configuration { outgoing: BTreeSet::new(), ..next.clone() };
            ensure!(
                NAME,
                is_quorum(&alone, is_heard),
                "n{} makes voters of {:?} and has heard {:?} (it is {} ms)",
                raft.id().0,
                next.voters,
                awake.heard,
                awake.awake_ms
            );
            let now = self.awake_at[&raft.id()];
            let is_able = |id: NodeId| self.could_take_part(&nodes[&id], now);
            let unable: Vec<NodeId> = next.voters.iter().copied().filter(|id| !is_able(*id)).collect();
            ensure!(
                NAME,
                is_quorum(&alone, is_able),
                "n{} makes voters of {:?}, of which {unable:?} take part in nothing",
                raft.id().0,
                next.voters
            );
        }
        if awake.asked == Asked::Nothing {
            // A member that was removed before has no place to lose, and a leader elected since does not even know it.
            let loses_its_place = |old: &NodeId| before.members.contains_key(old);
            let takes = |(learner, goal): (&NodeId, &Goal)| match goal {
                Goal::Replace(old) if next.voters.contains(learner) && loses_its_place(old) => Some(*old),
                Goal::Replace(_) | Goal::Learner | Goal::Voter => None,
            };
            for old in before.learners.iter().filter_map(takes) {
                self.check_silent(raft, old)?;
            }
        }
        Ok(())
    }

    /// Returns whether a node could take part in a quorum recently.
    fn could_take_part(&self, node: &Node, now: Micros) -> bool {
        let is_lately = |at: Micros| now <= at + LATELY + self.delay_max;
        let hangs_since = node.process().and_then(|process| {
            let has_entries = |write: &LogWrite| write.records.iter().any(|record| matches!(record, Record::Entry(_)));
            process.writing.as_ref().filter(|write| has_entries(write)).map(|_| process.writing_since)
        });
        self.awake_at.get(&node.id).is_some_and(|at| is_lately(*at)) && hangs_since.is_none_or(is_lately)
    }

    /// Checks that a member replaced for its silence was silent for long enough.
    pub(crate) fn check_silent(&self, raft: &Raft, old: NodeId) -> Checked {
        let Some(awake) = self.nodes.get(&raft.id()) else { return Ok(()) };
        let answered = awake.heard_in(raft.term(), old).unwrap_or(0);
        let since = answered.max(awake.reign.1).max(awake.member_since.get(&old).copied().unwrap_or(0));
        // The start of a leadership is noticed with a short delay.
        let silent_ms = awake.awake_ms - since + self.heartbeat_ms;
        ensure!(
            NAME,
            silent_ms >= self.timeout_ms,
            "n{} takes n{} for silent, which it has heard, or could have, {} ms ago",
            raft.id().0,
            old.0,
            silent_ms
        );
        Ok(())
    }
}

impl Awake {
    /// Returns the time of a member's last answer, if it has answered in this term.
    fn heard_in(&self, term: Term, id: NodeId) -> Option<u64> {
        self.heard.get(&id).filter(|(heard_in, _)| *heard_in == term).map(|(_, at)| *at)
    }
}
