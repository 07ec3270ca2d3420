//! Snapshots: what stands in for the beginning of the log (paper §7).
//!
//! Consensus knows of a snapshot where it ends and who was a member there. The state itself is the caller's: it writes
//! snapshots, sends the newest to followers that need entries which are gone, and hands over what arrives.
//!
//! A snapshot is safe to install whoever it came from, and whatever term it was sent in: it holds nothing but what is
//! committed, and that never changes. So there is no message for it among those of consensus.

use super::configuration::Configuration;
use super::core::Raft;
use super::log::Log;
use super::progress::Progress;
use super::role::Role;
use super::types::{ClusterTime, LogBase, LogIndex, NodeId, Term};
use crate::mutants::{self, Mutant};
use std::collections::BTreeMap;

/// Where a snapshot ends, and what is known of that place (paper Figure 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// The last entry that is part of it.
    pub last: LogBase,
    /// Cluster time of that entry.
    pub time: ClusterTime,
    /// The configuration in force there.
    pub configuration: Configuration,
    /// The entry that brought it.
    pub configuration_index: LogIndex,
}

impl Raft {
    /// Where a snapshot ends that is taken of the state as it is now, with all that was handed over for applying.
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

    /// Lets everything up to `index` go, which must be in a durable snapshot: from now on followers that need it get
    /// that instead. What has yet to be applied or written stays. Returns up to where the entries may be removed from
    /// the disk.
    pub fn compact(&mut self, index: LogIndex) -> LogIndex {
        let index = index.min(self.log.applied_index()).min(self.log.durable_index());
        self.log.compact(index);
        self.forget_configurations_before(index);
        self.log.base().index
    }

    /// Match index of every follower that this node, if it leads, feeds from its log, but for those that have fallen
    /// silent. Entries after the lowest one are still needed. Followers that are sent a snapshot need none of them yet.
    pub fn fed_from(&self) -> Vec<LogIndex> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let fed = leader.progress.values().filter(|progress| progress.is_fed() && !self.misses(progress));
        fed.map(|progress| progress.match_index).collect()
    }

    /// Whether this node leads and knows that this follower needs no snapshot, so that one which is being sent is of no
    /// use any more. A node that leads no more does not know.
    pub fn needs_no_snapshot(&self, follower: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        leader.progress.get(&follower).is_none_or(Progress::is_fed)
    }

    /// Of the configurations up to `index` the last is kept: it is the one in force there.
    fn forget_configurations_before(&mut self, index: LogIndex) {
        if let Some(in_force) = self.configurations.range(..=index).next_back().map(|(index, _)| *index) {
            self.configurations = self.configurations.split_off(&in_force);
        }
    }

    /// Whether a snapshot that ends there holds anything that is not committed here. A leader may have yet to find out
    /// how far its log is committed, but it has everything that is (Leader Completeness, paper §5.4.3).
    pub fn wants_snapshot(&self, last: LogBase) -> bool {
        let leads = matches!(self.role, Role::Leader(_)) && last.term <= self.term();
        !leads && last.index > self.log.commit_index()
    }

    /// A snapshot is durable on this node's disk and becomes its state (paper Figure 13, InstallSnapshot, steps 6 to
    /// 8). Returns whether it does: not if everything in it is committed here already.
    ///
    /// The log after it stays if it has the last entry of the snapshot, on disk; else all of it is void. None of what
    /// so goes was acknowledged: it is of another term than what is committed there, or it is not on disk up to there.
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
            let last_time = self.log.last_time().max(time);
            self.log = Log::after_snapshot(last, last_time);
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

    /// The log that this node asked for votes with is gone, so no vote for it may count any more: voters that have more
    /// than the snapshot were told of a log that had that too, and would elect one that lacks what they acknowledged.
    /// The node goes on as a follower of its term, in which it has voted for itself and helps nobody else.
    fn give_up_ballot(&mut self) {
        if matches!(self.role, Role::PreCandidate(_) | Role::Candidate(_))
            && !mutants::is_on(Mutant::CandidateKeepsBallot)
        {
            self.become_follower(None);
        }
    }

    /// What became of a snapshot that was to be sent: its last entry if it is durable on the follower's disk and has
    /// become its state, `None` if not. The follower is sent another as soon as it answers.
    pub fn snapshot_sent(&mut self, to: NodeId, term: Term, last: Option<LogIndex>) {
        if term == self.term()
            && let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&to)
        {
            progress.snapshot_sent(last);
        }
    }
}
