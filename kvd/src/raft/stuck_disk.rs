//! Stuck disks: a node whose disk does not complete a write must not lead.
//!
//! A leader needs no disk of its own to commit, since its followers can be a quorum without it (thesis §10.2.1). So a
//! leader whose disk is stuck would continue, with one copy fewer of every entry, until its memory is full and it
//! refuses all writes. Instead, once a write has been in progress for several election timeouts, it transfers
//! leadership (see [`super::transfer`]) to a voter whose disk works. The acknowledgements show which disks work: a
//! voter that has acknowledged the last entry of the very write that is stuck, and owes no acknowledgement of entries
//! sent long ago, completes writes that this disk does not.
//!
//! It does so only if those voters are a quorum without this node. Its vote cannot become durable, so it could not help
//! to elect a leader; and a leader that serves reads is better than a term without one. For the same reason a node
//! whose disk is stuck neither campaigns nor accepts a transfer of leadership: it would only bring its new term, which
//! it cannot tell other nodes yet, into the cluster once the disk answers again.
//!
//! This does not affect safety: a transfer may begin at any time, and a node that does not campaign promises nothing.

use super::core::Raft;
use super::role::{Leader, Role};
use super::types::NodeId;
use crate::mutants::{self, Mutant};

/// Number of longest election timeouts after which a write in progress means a stuck disk. That is far longer than any
/// healthy disk takes, however busy, and soon enough for the memory of a leader.
const STUCK_ELECTION_TIMEOUTS: u64 = 4;

impl Raft {
    /// Returns how long a write has been in progress, in milliseconds, if that is so long that the disk counts as
    /// stuck.
    pub fn disk_stuck_ms(&self) -> Option<u64> {
        let (lasted_ms, _) = self.durability.write_under_way()?;
        let is_stuck = lasted_ms >= self.disk_patience_ms() && !mutants::is_on(Mutant::DiskNeverStuck);
        is_stuck.then_some(lasted_ms)
    }

    fn disk_patience_ms(&self) -> u64 {
        STUCK_ELECTION_TIMEOUTS * self.settings.election_timeout_max_ms
    }

    /// Starts a leadership transfer if the disk of this leader is stuck and there is a suitable target. If the transfer
    /// is given up, tries again after the time it takes for a disk to count as stuck.
    pub(super) fn leave_stuck_disk(&mut self) {
        if self.disk_stuck_ms().is_none() || mutants::is_on(Mutant::StuckDiskLeads) {
            return;
        }
        let Role::Leader(leader) = &self.role else { return };
        if leader.transfer.is_some() || self.now < leader.next_escape {
            return;
        }
        let Some(to) = self.best_without_disk(leader) else { return };
        let next_escape = self.now.plus_ms(self.disk_patience_ms());
        if self.transfer_leadership(Some(to)).is_ok()
            && let Role::Leader(leader) = &mut self.role
        {
            leader.next_escape = next_escape;
        }
    }

    /// Returns the best of the voters whose disks work, if they are a quorum.
    fn best_without_disk(&self, leader: &Leader) -> Option<NodeId> {
        let (_, last_index) = self.durability.write_under_way()?;
        let works = |id: NodeId| {
            let progress = leader.progress.get(&id)?;
            let is_late = self.lacks_for_long(leader, progress);
            let works = progress.match_index >= last_index && !is_late && self.hears(progress);
            works.then_some(progress.match_index)
        };
        let configuration = self.configuration();
        if !configuration.is_quorum(|id| works(id).is_some()) {
            return None;
        }
        // The lowest id among the voters with most of the log.
        let voters = configuration.voters.iter().rev().copied();
        voters.filter_map(|id| Some((works(id)?, id))).max_by_key(|(match_index, _)| *match_index).map(|(_, id)| id)
    }
}
