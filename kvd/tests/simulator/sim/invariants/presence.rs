//! Presence: a leader that begins a change of the voters has heard a majority of those that are to come, lately and in its
//! term (a joint configuration without one can never be left again), and that majority could really take part a moment ago:
//! none of it was dead, stood still, or waited for its disk. And who loses its place for being silent has been silent for
//! the longest election timeout.
//!
//! Time is that in which the leader was awake: what was sent while it stood still may not have been read yet. What others
//! could really do is judged by the time of the world.

use super::super::events::{Life, Micros};
use super::super::node::Node;
use super::{Checked, ensure, is_quorum};
use kvd::raft::{
    Body, Configuration, Goal, Instant, LogWrite, Message, NodeId, Raft, Record, RoleName, Settings, Term,
};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "Presence";

/// Who could take part so long ago may be counted on: word of it may be on its way, and a leader's patience is some
/// hundreds of milliseconds. Microseconds.
const LATELY: Micros = 1_000_000;

/// The answers that each node had from the others.
#[derive(Debug)]
pub(crate) struct Presence {
    timeout_ms: u64,
    heartbeat_ms: u64,
    nodes: BTreeMap<NodeId, Awake>,
    /// When each node last did something, by the time of the world.
    awake_at: BTreeMap<NodeId, Micros>,
    /// Hardly any message takes longer. Microseconds.
    delay_max: Micros,
}

/// One life of a node.
#[derive(Debug)]
struct Awake {
    life: Life,
    last: Instant,
    /// For how long it was awake. Milliseconds.
    awake_ms: u64,
    /// The term in which it leads, or led last, and when it was first seen to.
    reign: (Term, u64),
    /// Since when each is a member.
    member_since: BTreeMap<NodeId, u64>,
    /// When each answered last, and in which term.
    heard: BTreeMap<NodeId, (Term, u64)>,
    asked: Asked,
}

/// The kinds of change that a node may have been asked for since it was looked at last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    #[default]
    Nothing,
    /// Something that names who is to go.
    Change,
    /// That, or something that is to be done whoever is heard.
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

    /// It is now `time` at a node that is awake.
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

    /// A message was taken in.
    pub(crate) fn stepped(&mut self, id: NodeId, from: NodeId, message: &Message) {
        let is_answer = matches!(
            message.body,
            Body::AppendAccepted { .. } | Body::AppendRejected { .. } | Body::RequestVoteResponse { .. }
        );
        let is_vote = matches!(message.body, Body::RequestVoteResponse { .. });
        if let Some(awake) = self.nodes.get_mut(&id).filter(|_| is_answer) {
            if is_vote && awake.reign.0 == message.term {
                // It was not needed any more, and is not looked at.
                return;
            }
            let heard = awake.heard.entry(from).or_insert((message.term, 0));
            // One of an earlier term comes too late to say anything.
            if message.term >= heard.0 {
                *heard = (message.term, awake.awake_ms);
            }
        }
    }

    /// A node may begin a change that it is asked for.
    pub(crate) fn asked(&mut self, id: NodeId, asked: Asked) {
        if let Some(awake) = self.nodes.get_mut(&id) {
            awake.asked = asked;
        }
    }

    /// All that a node was asked for is begun by now, or is not.
    pub(super) fn looked_at(&mut self, id: NodeId) {
        self.asked(id, Asked::Nothing);
    }

    /// A leader goes from one configuration to the next.
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
            // One that was removed before has no place to lose, and a leader elected since does not even know it.
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

    /// Whether a node could take part in a quorum lately.
    fn could_take_part(&self, node: &Node, now: Micros) -> bool {
        let is_lately = |at: Micros| now <= at + LATELY + self.delay_max;
        let hangs_since = node.process().and_then(|process| {
            let has_entries = |write: &LogWrite| write.records.iter().any(|record| matches!(record, Record::Entry(_)));
            process.writing.as_ref().filter(|write| has_entries(write)).map(|_| process.writing_since)
        });
        self.awake_at.get(&node.id).is_some_and(|at| is_lately(*at)) && hangs_since.is_none_or(is_lately)
    }

    /// One loses its place since the leader takes it for silent.
    pub(crate) fn check_silent(&self, raft: &Raft, old: NodeId) -> Checked {
        let Some(awake) = self.nodes.get(&raft.id()) else { return Ok(()) };
        let answered = awake.heard_in(raft.term(), old).unwrap_or(0);
        let since = answered.max(awake.reign.1).max(awake.member_since.get(&old).copied().unwrap_or(0));
        // A reign is seen a moment after it has begun.
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
    /// When that one answered last, if it has in this term.
    fn heard_in(&self, term: Term, id: NodeId) -> Option<u64> {
        self.heard.get(&id).filter(|(heard_in, _)| *heard_in == term).map(|(_, at)| *at)
    }
}
