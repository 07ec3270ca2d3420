//! Work that a leader does for leases on its own: it ends those whose time is over, and gathers keepalives.
//!
//! **Ends.** A leader proposes to end a lease once its cluster time has passed the end. The proposal names the end that
//! the leader saw, and applying compares it, so a keepalive before it in the log wins. A leader that has not applied
//! its whole log yet, or that is about to be deposed, can therefore do no harm. One proposal is in the log at a time.
//!
//! **Keepalives.** A cluster may have tens of thousands of holders, each of which renews its lease every few seconds.
//! As entries of their own, their keepalives would be most of the log. So a leader gathers those that arrive between
//! two ticks of its clock, and one entry renews all of them.

use super::keepalives::KeepAlive;
use super::replica::Replica;
use crate::kv::{COMMAND_LEASES_MAX, Command, LeaseId, Level, Operation};
use crate::mutants::{self, Mutant};
use crate::raft::{Instant, RoleName};
use std::sync::PoisonError;

/// Most leases that one entry ends. More follow with the next: so many that tens of thousands which end together are over
/// within 100 ms, and so few that applying them holds up nothing else for long.
const ENDED_PER_ENTRY: usize = 4_000;

impl<W, R> Replica<W, R> {
    /// Takes a keepalive, to be logged with others by the next tick.
    pub(super) fn gather_keepalive(&mut self, leases: Vec<LeaseId>, deadline: Instant, handle: W) {
        let gathered = &mut self.lease_upkeep.gathered;
        let count = gathered.iter().map(|keepalive| keepalive.leases.len()).sum::<usize>();
        let is_full = count + leases.len() > COMMAND_LEASES_MAX;
        if is_full {
            self.log_keepalives();
        }
        self.lease_upkeep.gathered.push(KeepAlive { handle, deadline, leases });
    }

    /// Logs the keepalives that have been gathered.
    pub(super) fn log_keepalives(&mut self) {
        let keepalives = std::mem::take(&mut self.lease_upkeep.gathered);
        if keepalives.is_empty() {
            return;
        }
        let leases = keepalives.iter().flat_map(|keepalive| keepalive.leases.iter().copied()).collect();
        let command = Command { operation: Operation::KeepAlive { leases }, request: None };
        match self.propose_write(command.encode()) {
            Ok(place) => {
                let latest = keepalives.iter().map(|keepalive| keepalive.deadline).max();
                self.expires_by(latest.unwrap_or_else(|| self.now()));
                self.lease_upkeep.in_log.insert(place, keepalives);
            }
            Err(error) => {
                let ended = keepalives.into_iter().map(|keepalive| (keepalive.handle, Err(error.clone())));
                self.end_writes(ended);
            }
        }
    }

    /// Proposes to end leases whose time is over, if this node leads.
    pub(super) fn end_leases(&mut self) {
        if self.raft().role() != RoleName::Leader || self.level() < Level::DATA_MODEL {
            return;
        }
        let (applied, term) = (self.raft().log().applied_index(), self.raft().term());
        let is_in_log = self.lease_upkeep.ending.is_some_and(|(index, of)| of == term && index > applied);
        let Some(now) = self.cluster_time().filter(|_| !is_in_log) else { return };
        let ahead_ms = if mutants::is_on(Mutant::LeaseEndsEarly) { 1_000 } else { 0 };
        let behind_ms = if mutants::is_on(Mutant::LeaseEndsLate) { 200 } else { 0 };
        let over = self.store().read().unwrap_or_else(PoisonError::into_inner);
        let ends = over.leases_over((now.0 + ahead_ms).saturating_sub(behind_ms), ENDED_PER_ENTRY);
        drop(over);
        if ends.is_empty() {
            return;
        }
        let command = Command { operation: Operation::EndLeases { ends }, request: None };
        // While leadership is being transferred nothing is proposed: the next leader ends them.
        if let Ok(index) = self.raft_mut().propose(command.encode()) {
            self.lease_upkeep.ending = Some((index, term));
        }
    }
}
