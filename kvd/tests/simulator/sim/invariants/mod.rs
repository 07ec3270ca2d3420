//! Invariants that must hold after every event: each in a file of its own, under its name in the paper if it has one.
//!
//! Everything is judged from outside: by the public state of the nodes, the messages that they send, the writes that
//! they give to their disks, and their answers. Only committed entries are judged against a model of the store, which
//! shares no code with it ([`super::model`]).

mod answers;
mod bounds;
mod candidacy;
pub(crate) mod cluster_time;
mod committed_on_quorum;
mod configuration;
mod durable_promises;
mod election_safety;
mod founding;
mod leader_append_only;
mod leader_completeness;
pub(crate) mod leases;
mod levels;
pub(crate) mod locks;
mod log_matching;
mod match_index;
mod monotonic_state;
mod presence;
mod reads;
mod state_machine_safety;

pub(crate) use answers::Answers;
pub(crate) use bounds::Bounds;
pub(crate) use reads::Reads;

use super::coverage::{Coverage, Kind};
use super::events::Micros;
use super::image::{Digest, DiskImage, Found};
use super::model::Model;
use super::node::Node;
use candidacy::Candidacy;
use cluster_time::ClusterTimes;
use committed_on_quorum::CommittedOnQuorum;
use configuration::Configurations;
use election_safety::ElectionSafety;
use founding::Founding;
use kvd::kv::{Command, SessionLimits};
use kvd::raft::{
    Body, Configuration, LogBase, LogIndex, LogWrite, Message, NodeId, Payload, Raft, Record, RoleName, Settings, Term,
};
use leader_append_only::LeaderAppendOnly;
use leases::Leases;
use levels::Levels;
use locks::Locks;
use log_matching::LogMatching;
use monotonic_state::MonotonicState;
pub(crate) use presence::Asked as ChangeAsked;
use presence::Presence;
use state_machine_safety::StateMachineSafety;
use std::collections::{BTreeMap, BTreeSet};

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its name.
    pub(crate) invariant: &'static str,
    /// The violation, with the values.
    pub(crate) what: String,
}

pub(crate) type Checked = Result<(), Violation>;

/// Returns a violation unless the condition holds.
macro_rules! ensure {
    ($invariant:expr, $holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err($crate::sim::invariants::Violation { invariant: $invariant, what: format!($($what)+) });
        }
    };
}
pub(crate) use ensure;

/// All invariants, with their state.
#[derive(Debug)]
pub(crate) struct Invariants {
    election_safety: ElectionSafety,
    candidacy: Candidacy,
    leader_append_only: LeaderAppendOnly,
    log_matching: LogMatching,
    committed: CommittedOnQuorum,
    pub(crate) cluster_times: ClusterTimes,
    state_machine_safety: StateMachineSafety,
    monotonic_state: MonotonicState,
    pub(crate) founding: Founding,
    pub(crate) presence: Presence,
    pub(crate) levels: Levels,
    pub(crate) leases: Leases,
    pub(crate) locks: Locks,
    pub(crate) configurations: Configurations,
    pub(crate) answers: Answers,
    pub(crate) reads: Reads,
    pub(crate) bounds: Bounds,
    pub(crate) model: Model,
}

impl Invariants {
    pub(crate) fn new(
        settings: &Settings,
        delay_max_us: Micros,
        entry_bytes_max: usize,
        session_limits: SessionLimits,
    ) -> Self {
        Self {
            election_safety: ElectionSafety::default(),
            candidacy: Candidacy::default(),
            leader_append_only: LeaderAppendOnly::default(),
            log_matching: LogMatching::default(),
            committed: CommittedOnQuorum::of_founders(),
            cluster_times: ClusterTimes::new(settings),
            state_machine_safety: StateMachineSafety::default(),
            monotonic_state: MonotonicState::default(),
            configurations: Configurations::default(),
            founding: Founding::default(),
            presence: Presence::new(settings, delay_max_us),
            levels: Levels::default(),
            leases: Leases::default(),
            locks: Locks::default(),
            answers: Answers::default(),
            reads: Reads::default(),
            bounds: Bounds::new(settings, entry_bytes_max),
            model: Model::new(session_limits),
        }
    }

    /// Returns the last committed index.
    pub(crate) fn committed_index(&self) -> LogIndex {
        LogIndex(self.committed.entries().len() as u64)
    }

    /// Checks a node that has changed.
    pub(crate) fn node_changed(
        &mut self,
        id: NodeId,
        nodes: &BTreeMap<NodeId, Node>,
        coverage: &mut Coverage,
    ) -> Checked {
        let node = &nodes[&id];
        let Some(process) = node.process() else { return Ok(()) };
        let raft = process.replica.raft();
        let (committed_before, role_before) = self.monotonic_state.check(node, process.life, raft)?;
        for index in (committed_before.0 + 1..=raft.log().commit_index().0).map(LogIndex) {
            self.entry_committed(index, raft, nodes, coverage)?;
        }
        self.state_machine_safety.check(id, &process.replica, &self.model)?;
        if self.configurations.check(raft, self.committed.entries(), &self.presence, nodes)? {
            coverage.count(Kind::JointConfiguration);
        }
        self.presence.looked_at(id);
        self.bounds.check(id, &process.replica)?;
        self.candidacy.check(raft)?;
        if self.levels.check(node, process.life, raft, nodes)? {
            coverage.count(Kind::LevelRaised);
        }
        if raft.role() == RoleName::Leader {
            self.election_safety.leads(id, raft.term())?;
            self.leader_append_only.check(id, process.life, raft)?;
            self.cluster_times.leads(node, process.life, raft)?;
            match_index::check(raft, nodes)?;
        }
        if role_before != raft.role() {
            if raft.role() == RoleName::Candidate {
                coverage.count(Kind::Candidacy);
            }
            if raft.role() == RoleName::Leader {
                coverage.count(Kind::Election);
                leader_completeness::check_elected(raft, self.committed.entries())?;
            } else if role_before == RoleName::Leader {
                coverage.count(Kind::LeaderDeposed);
            }
        }
        Ok(())
    }

    /// Handles a node's report that the entry at `index` is committed.
    fn entry_committed(
        &mut self,
        index: LogIndex,
        raft: &Raft,
        nodes: &BTreeMap<NodeId, Node>,
        coverage: &mut Coverage,
    ) -> Checked {
        let is_new = self.committed.check(index, raft, nodes, &self.configurations)?;
        if is_new {
            leader_completeness::check_committed(index, raft, nodes, &self.configurations)?;
            let place = (index, raft.log().term_at(index).unwrap_or_default());
            self.answers.entry_committed(place)?;
            let entry = self.log_matching.entry_at(place);
            let stamp = entry.map(|entry| self.cluster_times.committed(entry)).transpose()?.flatten();
            let command = match entry.map(|entry| &entry.payload) {
                Some(Payload::Command(bytes)) => Command::decode(bytes).ok(),
                Some(Payload::Noop | Payload::Configuration(_)) | None => None,
            };
            let time_ms = entry.map_or(0, |entry| entry.time.0);
            let revision = self.model.revision();
            if let Some(request) = self.model.apply(time_ms, command.as_ref()) {
                self.answers.committed(&request)?;
            }
            coverage.add(Kind::LeaseEnded, self.model.just_ended().len() as u64);
            if !self.model.just_ended().is_empty() && self.model.revision() > revision {
                coverage.count(Kind::LeaseEndedWithKeys);
            }
            self.leases.committed(stamp, &self.model)?;
        }
        Ok(())
    }

    /// Notes a node's answer that a write it took will never take effect.
    pub(crate) fn entry_refused(&mut self, place: Place) -> Checked {
        let committed = self.committed.entries().get(place.0.previous().0 as usize).map(|entry| entry.term);
        self.answers.entry_refused(place, committed)
    }

    /// Checks a write that a node gives to its disk.
    pub(crate) fn write_begins(&mut self, node: &Node, write: &LogWrite, coverage: &mut Coverage) -> Checked {
        let log = node.image.written();
        let mut after = log.last_index();
        let mut previous_term = log.term_at(after).unwrap_or_default();
        if let Some(restart) = write.restart {
            coverage.count(Kind::LogRestarted);
            (after, previous_term) = (restart.base.index, restart.base.term);
        }
        for record in &write.records {
            match record {
                Record::Truncate { from } => {
                    coverage.count(Kind::Truncation);
                    after = from.previous();
                    previous_term = log.term_at(after).unwrap_or_default();
                }
                Record::Entry(entry) => {
                    self.log_matching.check(node.id, entry, (after, previous_term))?;
                    (after, previous_term) = (entry.index, entry.term);
                }
                Record::HardState(_) | Record::Commit(_) => {}
            }
        }
        Ok(())
    }

    /// Checks a message that leaves a node.
    pub(crate) fn message_leaves(&mut self, node: &Node, to: NodeId, message: &Message) -> Checked {
        Founding::message_leaves(node, message)?;
        durable_promises::check(node, to, message)?;
        self.candidacy.message_leaves(node, message)?;
        let vote = match message.body {
            Body::RequestVote { .. } => Some(node.id),
            Body::RequestVoteResponse { granted: true } => Some(to),
            _ => None,
        };
        if let Some(candidate) = vote {
            self.election_safety.votes(node.id, message.term, candidate)?;
        }
        if let Body::AppendEntries { prev_log_index, prev_log_term, entries, .. } = &message.body {
            let mut before = (*prev_log_index, *prev_log_term);
            for entry in entries {
                self.log_matching.check(node.id, entry, before)?;
                before = (entry.index, entry.term);
            }
        }
        Ok(())
    }

    /// Notes that this node is made to hold a wrong state, which it must find; `None`: no node is any more.
    pub(crate) fn strays(&mut self, id: Option<NodeId>) {
        self.state_machine_safety.strays(id);
    }

    /// Checks what a starting node has found on its disk.
    ///
    /// Returns the image of its disk, and whether it contains the write that a crash interrupted.
    pub(crate) fn restarted(&mut self, node: &Node, found: &Found) -> Result<(DiskImage, bool), Violation> {
        self.holds_what_is_committed(found.snapshot)?;
        let committed = self.committed_entries();
        let (image, is_kept) = durable_promises::check_restart(node, found, &committed)?;
        self.log_matching.check_image(node.id, image.log())?;
        self.monotonic_state.restarted(node.id);
        self.state_machine_safety.restarted(node.id);
        self.bounds.restarted(node.id, found.hard_state.term);
        Ok((image, is_kept))
    }

    /// Checks that a snapshot that ends with `last` contains only committed entries.
    pub(crate) fn holds_what_is_committed(&self, last: LogBase) -> Checked {
        let committed = self.committed.entries();
        let term = last.index.0.checked_sub(1).map_or(Some(Term(0)), |place| Some(committed.get(place as usize)?.term));
        ensure!("Snapshots", term == Some(last.term), "a snapshot ends with entry {last}, where {term:?} is committed");
        Ok(())
    }

    /// Returns the last committed configuration, and all later ones that may yet be committed.
    pub(crate) fn possible_configurations(&self) -> Vec<&Configuration> {
        self.configurations.possible(self.committed.entries())
    }

    /// Returns true if these nodes are a quorum of a configuration that one of them may come to use: the last in its
    /// log, the one before in case the last is cut off, or any that may be committed.
    pub(crate) fn may_decide(&self, raft: &Raft, some: &BTreeSet<NodeId>) -> bool {
        let used = [Some(raft.configuration()), self.configurations.before_last(raft)];
        let mut all = used.into_iter().flatten().chain(self.possible_configurations());
        all.any(|configuration| is_quorum(configuration, |id| some.contains(&id)))
    }

    /// Returns all committed entries.
    pub(crate) fn committed_entries(&self) -> Vec<(Term, Digest)> {
        let digest = |(index, entry): (LogIndex, &committed_on_quorum::Committed)| {
            Some((entry.term, self.log_matching.digest_at((index, entry.term))?))
        };
        (1..).map(LogIndex).zip(self.committed.entries()).map_while(digest).collect()
    }
}

/// Returns whether more than half of the voters agree, and more than half of the outgoing voters too while there are
/// any. Counts in the most naive way, since the other code that counts votes is the code under test.
pub(crate) fn is_quorum(configuration: &Configuration, agrees: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: &BTreeSet<NodeId>| {
        let agreeing = voters.iter().filter(|id| agrees(**id)).count();
        2 * agreeing > voters.len()
    };
    majority(&configuration.voters) && (configuration.outgoing.is_empty() || majority(&configuration.outgoing))
}

/// An entry by its place and content.
type Place = (LogIndex, Term);

/// Known properties of an entry: its digest, and the term of the entry before it.
type Known = (Digest, Term);
