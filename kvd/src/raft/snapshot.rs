//! Snapshots, which replace the beginning of the log (paper §7).
//!
//! Consensus knows where a snapshot ends and who was a member there. The state itself belongs to the caller, which
//! writes snapshots, sends the newest one to followers that need compacted entries, and passes in snapshots that
//! arrive.
//!
//! A snapshot is safe to install from any sender and any term: it holds only committed entries, and these never change.
//! So consensus needs no message for it.

use super::configuration::Configuration;
use super::core::Raft;
use super::log::Log;
use super::progress::Progress;
use super::role::Role;
use super::types::{ClusterTime, LogBase, LogIndex, NodeId, Term};
use crate::mutants::{self, Mutant};
use std::collections::BTreeMap;

/// The place in the log where a snapshot ends (paper Figure 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// The last entry that the snapshot includes.
    pub last: LogBase,
    /// Cluster time of that entry.
    pub time: ClusterTime,
    /// The configuration in force there.
    pub configuration: Configuration,
    /// Index of the entry with that configuration.
    pub configuration_index: LogIndex,
}

impl Raft {
    /// Returns the place of a snapshot taken of the current state, which includes all entries passed on to be applied.
    pub fn snapshot_place(&self) -> SnapshotPlace {
        let mut index = self.log.applied_index();
        if mutants::is_on(Mutant::SnapshotIndexOffByOne) && index < self.log.last_index() {
            index = index.next();
        }
        let term = self.log.term_at(index).expect("what is applied is not before the base");
        let configuration = self.configurations.range(..=index).next_back();
        let (configuration_index, configuration) = configuration.expect("a log begins with a configuration");
        SnapshotPlace {
            last: LogBase { index, term },
            time: self.log.applied_time(),
            configuration: configuration.clone(),
            configuration_index: *configuration_index,
        }
    }

    /// Compacts the log up to `index`, which a durable snapshot must include: from now on followers that need those
    /// entries get the snapshot instead. Entries that have yet to be applied or written stay. Returns the index up to
    /// which entries may be removed from the disk.
    pub fn compact(&mut self, index: LogIndex) -> LogIndex {
        let index = index.min(self.log.applied_index()).min(self.log.durable_index());
        self.log.compact(index);
        self.forget_configurations_before(index);
        self.log.base().index
    }

    /// Match index of every live follower that this node, if it leads, feeds from its log. Entries after the lowest one
    /// are still needed. Followers that are sent a snapshot need none of them yet.
    pub fn fed_from(&self) -> Vec<LogIndex> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let fed = leader.progress.values().filter(|progress| progress.is_fed() && !self.misses(progress));
        fed.map(|progress| progress.match_index).collect()
    }

    /// Returns true if this node leads and knows that this follower needs no snapshot, so that one being sent is
    /// useless. A node that no longer leads does not know.
    pub fn needs_no_snapshot(&self, follower: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        leader.progress.get(&follower).is_none_or(Progress::is_fed)
    }

    /// Forgets the configurations up to `index`, except for the last one: it is in force there.
    fn forget_configurations_before(&mut self, index: LogIndex) {
        if let Some(in_force) = self.configurations.range(..=index).next_back().map(|(index, _)| *index) {
            self.configurations = self.configurations.split_off(&in_force);
        }
    }

    /// Returns true if a snapshot that ends there holds anything that is not committed here. A leader may not know its
    /// own commit index yet, but it has everything that is committed (Leader Completeness, paper §5.4.3).
    pub fn wants_snapshot(&self, last: LogBase) -> bool {
        let leads = matches!(self.role, Role::Leader(_)) && last.term <= self.term();
        !leads && last.index > self.log.commit_index()
    }

    /// Makes a snapshot that is durable on this node's disk its state (paper Figure 13, InstallSnapshot, steps 6 to 8).
    /// Returns false, and does nothing, if everything in the snapshot is committed here already.
    ///
    /// The log after the snapshot stays if this node has the last entry of the snapshot, on disk; otherwise the whole
    /// log is void. None of the voided entries was acknowledged: either the log has another term than the committed
    /// entry there, or it is not on disk up to there.
    pub fn install(&mut self, place: SnapshotPlace) -> bool {
        let SnapshotPlace { last, time, configuration, configuration_index } = place;
        if !self.wants_snapshot(last) {
            return false;
        }
        if last.term > self.term() {
            self.adopt_term(last.term);
        }
        let keeps_log = self.log.matches(last.index, last.term) && self.log.durable_index() >= last.index;
        if keeps_log {
            self.log.install(last.index, time);
        } else {
            self.log = Log::after_snapshot(last, time);
            self.configurations = BTreeMap::new();
            self.durability.restarted(last);
            self.give_up_ballot();
        }
        self.forget_configurations_before(last.index);
        self.configurations.retain(|index, _| *index > last.index);
        self.configurations.insert(configuration_index, configuration);
        if let Role::Follower(follower) = &mut self.role {
            follower.matched = if keeps_log { follower.matched.max(last.index) } else { last.index };
            self.acknowledge_progress();
        }
        true
    }

    /// Gives up an election because the log with which this node asked for votes is gone, so votes for it must no
    /// longer count. Voters that have more than the snapshot were told of a log that had more too, and would elect a
    /// node that lacks entries which they acknowledged. The node continues as a follower of its term, in which it has
    /// voted for itself and helps no other node.
    fn give_up_ballot(&mut self) {
        if matches!(self.role, Role::PreCandidate(_) | Role::Candidate(_))
            && !mutants::is_on(Mutant::CandidateKeepsBallot)
        {
            self.become_follower(None);
        }
    }

    /// Takes the result of sending a snapshot: its last entry if it is durable on the follower's disk and has become
    /// its state, `None` if not. In that case the follower is sent another one as soon as it answers.
    pub fn snapshot_sent(&mut self, to: NodeId, term: Term, last: Option<LogIndex>) {
        if term == self.term()
            && let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&to)
        {
            progress.snapshot_sent(last);
        }
    }
}
