//! A leader's knowledge of which nodes are running.
//!
//! There are two questions, and neither is the opposite of the other, since a leader knows nothing yet of a node that
//! has just joined, or of any node after an election:
//!
//! - Is a node *silent*? The leader has sent to it for the longest election timeout without an answer. A leader to
//!   which a quorum is silent steps down, and a silent member may be replaced.
//! - Does a node *follow*? It answers, and the entries it is sent become durable there. Changes of the voters depend on
//!   this: once begun, they need followers that make entries durable.
//!
//! Silence is measured in the time for which this node was running ([`Raft::set_time`]): its own absence is not that of
//! its peers. Presence is not: a node that answered before this one stood still may be gone by now, and so may one
//! whose answer was only read afterwards. It has to answer a round that was begun since.

use super::core::Raft;
use super::entry::Entry;
use super::progress::{Flow, Progress};
use super::role::{Leader, Role};
use super::types::NodeId;
use crate::mutants::{self, Mutant};

impl Raft {
    /// Returns true if this node leads and node `id` follows it: node `id` has answered within the longest election
    /// timeout, to a message sent after any time for which this leader stood still, and the entries it is sent become
    /// durable there in about that time. False does not mean that node `id` is gone: see [`Raft::is_silent`].
    pub fn follows(&self, id: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if id == self.id {
            let lasts_ms = self.durability.write_under_way().map_or(0, |(lasts_ms, _)| lasts_ms);
            return lasts_ms < self.settings.election_timeout_max_ms || mutants::is_on(Mutant::FollowsWithoutDisk);
        }
        leader.progress.get(&id).is_some_and(|progress| self.is_followed_by(leader, progress))
    }

    fn is_followed_by(&self, leader: &Leader, progress: &Progress) -> bool {
        let is_from_before = progress.acked_round < leader.awake_round && !mutants::is_on(Mutant::PresenceOverAbsence);
        self.hears(progress) && !is_from_before && self.is_acknowledged_by(leader, progress)
    }

    /// Returns true if a follower acknowledges entries: it lacks none for long, or its match index advances. The leader
    /// does not know for how long it stood still in between, so entries sent before that count as sent long ago.
    fn is_acknowledged_by(&self, leader: &Leader, progress: &Progress) -> bool {
        if mutants::is_on(Mutant::FollowsWithoutDisk) {
            return true;
        }
        let timeout_ms = self.settings.election_timeout_max_ms;
        let gets_on = progress.advanced.is_some_and(|at| self.now.ms_since(at) < timeout_ms);
        let is_from_before = progress.match_index < leader.awake_index && !mutants::is_on(Mutant::PresenceOverAbsence);
        let lacks_none_for_long = !is_from_before && !self.lacks_for_long(leader, progress);
        !progress.is_bulk_stalled && (gets_on || lacks_none_for_long)
    }

    /// Returns true if a follower lacks an entry that was appended the longest election timeout ago, or earlier. An
    /// entry that it lacks is in memory with its time, or is older than every entry in memory. Cluster time may have
    /// gone on between the last entry of an earlier leader and this leader's election, which makes that entry old.
    pub(super) fn lacks_for_long(&self, leader: &Leader, progress: &Progress) -> bool {
        let Some(lacks) = self.log.entries_from(progress.match_index.next(), 0) else { return true };
        let age_ms = |entry: &Entry| leader.time.0.saturating_sub(entry.time.0);
        lacks.first().is_some_and(|first| age_ms(first) >= self.settings.election_timeout_max_ms)
    }

    /// Returns true if this node leads and node `id` has not answered for the longest election timeout, though this
    /// leader was sending to it for that long. A leader that has just been elected has heard only its voters. It does
    /// not know of the other nodes whether they run or are gone, and decisions that depend on either have to wait.
    pub fn is_silent(&self, id: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        id != self.id && leader.progress.get(&id).is_none_or(|progress| self.misses(progress))
    }

    /// Returns true if a follower has answered within the longest election timeout, and is not known to be gone since.
    pub(super) fn hears(&self, progress: &Progress) -> bool {
        let heard = match progress.heard {
            None if mutants::is_on(Mutant::SilenceIsPresence) => Some(progress.since),
            heard => heard,
        };
        let is_recent = |heard| self.now.ms_since(heard) < self.settings.election_timeout_max_ms;
        heard.is_some_and(is_recent) && !progress.is_gone
    }

    /// Returns true if the leader has sent to a follower for the longest election timeout without an answer.
    pub(super) fn misses(&self, progress: &Progress) -> bool {
        let answered = progress.heard.map_or(progress.since, |heard| heard.max(progress.since));
        self.now.ms_since(answered) >= self.settings.election_timeout_max_ms
    }

    /// Returns true if a learner could take part in a quorum at once: everything that it lacks is in flight, or in the
    /// leader's memory, which is bounded.
    pub(super) fn has_caught_up(&self, leader: &Leader, id: NodeId) -> bool {
        leader.progress.get(&id).is_some_and(|progress| {
            let is_fed = matches!(progress.flow, Flow::Replicate { .. });
            is_fed && self.is_followed_by(leader, progress) && self.log.is_in_memory(progress.match_index.next())
        })
    }

    /// Records that this node stood still for `absent_ms`, during which its followers may have gone: a leader relies
    /// only on those that have answered since.
    pub(super) fn was_absent(&mut self, absent_ms: u64) {
        if absent_ms < self.settings.heartbeat_ms {
            return;
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.round += 1;
            leader.awake_round = leader.reads.round;
            leader.awake_index = self.log.last_index();
            leader.progress.values_mut().for_each(|progress| progress.advanced = None);
        }
    }
}
