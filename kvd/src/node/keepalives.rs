//! Keepalives on their way to the log and through it.

use super::request::WriteError;
use crate::kv::{Command, LeaseId, Operation, Outcome};
use crate::mutants::{self, Mutant};
use crate::raft::{Instant, LogIndex, Term};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Keepalives on their way, and the proposal that ends leases.
#[derive(Debug)]
pub(super) struct LeaseUpkeep<W> {
    /// Keepalives that have arrived since the last entry.
    pub(super) gathered: Vec<KeepAlive<W>>,
    /// Those in the log, by their entry.
    pub(super) in_log: BTreeMap<(LogIndex, Term), Vec<KeepAlive<W>>>,
    /// The last entry that ends leases.
    pub(super) ending: Option<(LogIndex, Term)>,
}

#[derive(Debug)]
pub(super) struct KeepAlive<W> {
    pub(super) handle: W,
    pub(super) deadline: Instant,
    pub(super) leases: Vec<LeaseId>,
}

impl<W> Default for LeaseUpkeep<W> {
    fn default() -> Self {
        Self { gathered: Vec::new(), in_log: BTreeMap::new(), ending: None }
    }
}

impl<W> LeaseUpkeep<W> {
    /// Number of keepalives that wait.
    pub(super) fn waiting(&self) -> usize {
        self.gathered.len() + self.in_log.values().map(Vec::len).sum::<usize>()
    }

    /// Called when an entry was applied at `index`, of this term and with this outcome: returns the keepalives that
    /// have ended.
    pub(super) fn applied(
        &mut self,
        index: LogIndex,
        term: Term,
        outcome: Option<&Outcome>,
    ) -> Vec<(W, Result<Outcome, WriteError>)> {
        if self.in_log.is_empty() {
            return Vec::new();
        }
        let mut ended = Vec::new();
        for ((_, proposed_in), keepalives) in
            self.in_log.extract_if((index, Term(0))..(index.next(), Term(0)), |_, _| true)
        {
            let mut ttls_ms = match outcome {
                Some(Outcome::KeptAlive { ttls_ms }) if proposed_in == term => Some(ttls_ms.iter().copied()),
                // Another entry was committed in its place, as for any write.
                _ => None,
            };
            let all = ttls_ms.clone();
            for KeepAlive { handle, leases, .. } in keepalives {
                if mutants::is_on(Mutant::KeepalivesMixedUp) {
                    ttls_ms = all.clone();
                }
                let result = ttls_ms
                    .as_mut()
                    .ok_or(WriteError::Superseded)
                    .map(|ttls_ms| Outcome::KeptAlive { ttls_ms: ttls_ms.by_ref().take(leases.len()).collect() });
                ended.push((handle, result));
            }
        }
        ended
    }

    /// Called when a snapshot has replaced the entries up to `index`: returns the keepalives whose outcomes are
    /// unknown.
    pub(super) fn replaced(&mut self, index: LogIndex) -> Vec<W> {
        let ended = self.in_log.extract_if(..=(index, Term(u64::MAX)), |_, _| true);
        ended.flat_map(|(_, keepalives)| keepalives.into_iter().map(|keepalive| keepalive.handle)).collect()
    }

    /// Returns the keepalives in the log whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<W> {
        // The places of the others in the answer must stay, so an entry's keepalives are dropped together.
        let is_over = |keepalives: &Vec<KeepAlive<W>>| keepalives.iter().all(|keepalive| keepalive.deadline <= now);
        let ended = self.in_log.extract_if(.., |_, keepalives| is_over(keepalives));
        ended.flat_map(|(_, keepalives)| keepalives.into_iter().map(|keepalive| keepalive.handle)).collect()
    }

    /// Returns the earliest time at which something expires.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.in_log.values().filter_map(|keepalives| keepalives.iter().map(|keepalive| keepalive.deadline).max()).min()
    }
}

/// Returns the leases of a keepalive; `None` for any other command.
pub(super) fn leases_of(command: &Bytes) -> Option<Vec<LeaseId>> {
    if !Command::may_be_keepalive(command) {
        return None;
    }
    match Command::decode(command) {
        Ok(Command { operation: Operation::KeepAlive { leases }, request: None }) => Some(leases),
        _ => None,
    }
}
