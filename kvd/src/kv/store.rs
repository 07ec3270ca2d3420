//! The ordered map with its revisions, and the application of commands to it.
//!
//! Applying has three steps: the session tells whether the request is new; the outcome is decided from the current
//! state, and the changes are drafted (`draft.rs`, `deciding.rs`); and only when that outcome is remembered for a
//! repeat does anything change. So every request that is applied can be distinguished from its repeat.

mod deciding;
mod draft;
mod leases;
mod locks;
mod reading;
mod restoring;
mod taking;

pub use draft::folder_of;
pub use leases::LeaseRef;
pub use reading::Change;
pub use restoring::Restoring;
pub use taking::SnapshotRemains;

use super::command::{Command, Operation, RequestId};
use super::edits::{Decision, Edits, Step};
use super::fingerprint::Fingerprint;
use super::hash::{HashSum, Kind, StateHash};
use super::history::{History, HistoryLimits};
use super::item::Revision;
use super::key_range::Spans;
use super::leases::Leases;
use super::level::Level;
use super::limits::StoreLimits;
use super::outcome::Outcome;
use super::places::Places;
use super::readers::Readers;
use super::record::Record;
use super::sessions::{Admission, SessionLimits, Sessions};
use super::snapshot_walk::SnapshotWalk;
use super::write::Put;
use crate::mutants::{self, Mutant};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

/// Most changes of the history that are freed with a command, beside as many as the command makes.
const FREED_PER_COMMAND: usize = 64;

/// Most changes of the history that are freed with a command that makes many, so that it does not take twice as long.
/// The commands after it free the rest.
const FREED_AT_ONCE: usize = 2_048;

/// Memory of an item beside its bytes: its place in the tree and the block of the allocator. Bytes, measured by
/// `benches/store.rs`.
const ITEM_MEMORY: u64 = 80;

/// Memory of a lease beside its bytes: its places in the two tables. Bytes, an estimate.
const LEASE_MEMORY: u64 = 200;

/// The revision of a new cluster that is made from the state of another is a multiple of this.
const REFOUNDED_REVISIONS: Revision = 1 << 40;

/// The state machine: the same on every replica after applying the same commands.
pub struct Store {
    /// A set to the compiler, a map to us: a record is ordered by its key.
    records: BTreeSet<Record>,
    revision: Revision,
    level: Level,
    sessions: Sessions,
    leases: Leases,
    /// The queues of locks. They follow from the records.
    places: Places,
    items_hash: HashSum,
    /// Versions that changes have replaced or removed. Not part of the state: replicas may remember more or less.
    history: History,
    /// Readers that hold a revision.
    readers: Arc<Mutex<Readers>>,
    /// The snapshot in progress.
    snapshot: Option<SnapshotWalk>,
}

impl Default for Store {
    fn default() -> Self {
        let revision = 1;
        Self {
            records: BTreeSet::new(),
            revision,
            level: Level::FIRST,
            sessions: Sessions::default(),
            leases: Leases::default(),
            places: Places::default(),
            items_hash: HashSum::default(),
            history: History::new(HistoryLimits::default(), revision),
            readers: Arc::default(),
            snapshot: None,
        }
    }
}

impl fmt::Debug for Store {
    /// Writes a summary only: a store may hold gigabytes, and user data does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision)
            .field("level", &self.level)
            .field("keys", &self.len())
            .field("state_hash", &format_args!("{}", self.state_hash()))
            .finish()
    }
}

impl Store {
    /// Returns the revision: 1 when empty, one more for each applied request that changed something.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the level, which determines the available commands and the form of the hash and the snapshots.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns true if there are leases. Only leases end by themselves, so only they need cluster time to advance while
    /// nothing is written. A session, in contrast, is forgotten by the next command after its end.
    pub fn has_leases(&self) -> bool {
        self.leases.len() > 0
    }

    /// Memory of the state, in bytes: an estimate, from the bytes of its parts and their number.
    pub fn state_bytes(&self) -> u64 {
        let parts = [(self.items_hash, self.len(), ITEM_MEMORY), (self.leases.hash(), self.leases.len(), LEASE_MEMORY)];
        parts.into_iter().map(|(hash, count, memory)| hash.bytes() + count as u64 * memory).sum()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true if there is no key.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Cluster time of the newest command, in milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.sessions.now_ms()
    }

    /// Hash of the whole state: items, revision, sessions, the level from [`Level::RAISED`] on, and leases from
    /// [`Level::DATA_MODEL`] on. The call is cheap: the hash is kept up to date.
    pub fn state_hash(&self) -> StateHash {
        self.hash_with(self.items_hash, self.sessions.hash(), self.leases.hash())
    }

    /// The same hash as [`Store::state_hash`], computed from all data: a check of the store against itself, which takes
    /// time in proportion to its size.
    pub fn recompute_state_hash(&self) -> StateHash {
        let mut items_hash = HashSum::default();
        for record in &self.records {
            items_hash.add(Kind::Item, record.canonical_bytes());
        }
        self.hash_with(items_hash, self.sessions.recompute_hash(), self.leases.recompute_hash())
    }

    fn hash_with(&self, items: HashSum, sessions: HashSum, leases: HashSum) -> StateHash {
        let mut counters = [0; 28];
        counters[..8].copy_from_slice(&self.revision.to_le_bytes());
        counters[8..16].copy_from_slice(&self.sessions.now_ms().to_le_bytes());
        counters[16..20].copy_from_slice(&self.level.0.to_le_bytes());
        counters[20..].copy_from_slice(&self.leases.chosen().to_le_bytes());
        // Older nodes of the same level compare their hashes with this one, and count only the features of that level.
        let counted = match self.level {
            Level::FIRST => &counters[..16],
            Level::RAISED => &counters[..20],
            _ => &counters[..],
        };
        let mut sum = HashSum::default();
        sum.add(Kind::Counters, counted);
        sum.merge(items);
        sum.merge(sessions);
        sum.merge(leases);
        sum.state_hash()
    }

    /// Returns true if the outcome of a request is remembered, or that of a newer one of the same client.
    pub fn has_seen(&self, request: &RequestId) -> bool {
        self.sessions.has_seen(request)
    }

    /// Returns true if a command is likely to make the state larger, as it is now: it writes a key that does not exist,
    /// or a longer value, or makes a lease.
    pub fn would_grow(&self, command: &Command) -> bool {
        let put_grows = |put: &Put| self.get_ref(&put.key).is_none_or(|item| put.value.len() > item.value.len());
        match &command.operation {
            Operation::Set { put, .. } => put_grows(put),
            Operation::Txn(txn) => txn.puts_any(&put_grows),
            Operation::GrantLease { lease, .. } => lease.is_none_or(|lease| self.leases.get(lease).is_none()),
            Operation::TakePlace { name, lease, .. } => lease.is_none_or(|lease| !self.has_place(name, lease)),
            _ => false,
        }
    }

    /// Applies one committed command at cluster time `time_ms` (milliseconds). Never fails: any objection to the
    /// command is part of its outcome.
    ///
    /// The effect of a command depends only on the commands before it, so all replicas that apply the same commands in
    /// the same order reach the same outcomes and state.
    ///
    /// A repeat gets the remembered outcome. For a failed condition the failure is remembered and the item is not: a
    /// repeat always fails and shows the current item, for which the condition may even hold.
    pub fn apply(&mut self, time_ms: u64, command: &Command) -> Outcome {
        let before = self.history.len();
        let outcome = self.apply_in_time(time_ms, command);
        let changes = self.history.len() - before;
        self.history.mark(self.sessions.now_ms(), self.revision);
        let due = 2 * changes + FREED_PER_COMMAND;
        // One large command after the other would make more than is freed. Then memory goes before time.
        let freed = if self.history.is_far_beyond_limit() { due } else { due.min(FREED_AT_ONCE) };
        self.free_history(freed);
        outcome
    }

    fn apply_in_time(&mut self, time_ms: u64, command: &Command) -> Outcome {
        self.sessions.advance(time_ms);
        if let Operation::EndLeases { ends } = &command.operation {
            self.end_leases(ends);
            return Outcome::LeasesEnded;
        }
        let is_applied_again =
            matches!(command.operation, Operation::Txn(_)) && mutants::is_on(Mutant::TxnAppliedAgain);
        let request = command.request.as_ref().filter(|_| !is_applied_again);
        let request = request.map(|request| (request, Fingerprint::of(&command.operation)));
        if let Some((request, fingerprint)) = request {
            match self.sessions.admit(request, fingerprint) {
                Admission::New => {}
                Admission::Repeat(Outcome::ConditionFailed { .. }) => {
                    let current = command.operation.key().and_then(|key| self.get(key));
                    return Outcome::ConditionFailed { current };
                }
                Admission::Repeat(outcome) => return outcome,
                Admission::Stale { newest } => return Outcome::StaleRequest { newest },
                Admission::Reused => return Outcome::SeqReused,
            }
        }
        let Decision { outcome, step } = self.decide(&command.operation);
        // A failed condition is remembered like a success. If it were evaluated again for the repeat, one copy of a
        // request could be reported as failed while the other takes effect.
        if let Some((request, fingerprint)) = request
            && self.sessions.remember(request, fingerprint, &outcome).is_err()
        {
            return Outcome::SessionsFull;
        }
        match step {
            Step::None => {}
            Step::Edits(edits) => self.make(edits),
            Step::Compact(revision) => self.history.compact(revision),
            Step::RaiseLevel(level) => {
                self.level = level;
                self.sessions.reach(level);
            }
        }
        outcome
    }

    /// Forgets the changes that exceed the limits of the history, and frees at most `changes_max` changes. Returns true
    /// if there is more to free. Every command does this too; call it while there are no commands.
    pub fn free_history(&mut self, changes_max: usize) -> bool {
        let Self { history, readers, .. } = self;
        let mut readers = readers.lock().unwrap_or_else(PoisonError::into_inner);
        history.trim(self.sessions.now_ms(), changes_max, |changed, version| readers.keep(changed, version))
    }

    /// Makes the store that of a new cluster: its revision goes up to the next multiple of 2^40, the time of its leases
    /// begins anew, and it has no history. So a client with a revision of the old cluster never mistakes it for one of
    /// this cluster. `time_ms` is the time from which the new cluster counts.
    pub fn refound(&mut self, time_ms: u64) {
        if !mutants::is_on(Mutant::RefoundedInThePast) {
            self.revision = (self.revision / REFOUNDED_REVISIONS + 1) * REFOUNDED_REVISIONS;
        }
        // It may be later than the last command was.
        self.leases.renew_all(self.sessions.now_ms().max(time_ms));
        self.history = History::new(HistoryLimits::default(), self.revision);
    }

    /// Sets the limits of this node. Beyond the memory for readers, the reader at the oldest revision ends.
    pub fn set_limits(&mut self, limits: &StoreLimits) {
        self.history.set_limits(limits.history);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.set_bytes_max(limits.reader_bytes_max);
    }

    /// Memory of the history, in bytes.
    pub fn history_bytes(&self) -> u64 {
        self.history.bytes()
    }

    fn make(&mut self, edits: Edits) {
        let now_ms = self.sessions.now_ms();
        self.revision += u64::from(edits.change_keys());
        let Edits { grants, renewals, ends, records, deleted, deletes_any: _ } = edits;
        for grant in grants {
            self.leases.grant(grant.lease, grant.kind, grant.ttl_ms, grant.is_chosen, now_ms);
        }
        renewals.into_iter().for_each(|lease| self.leases.renew(lease, now_ms));
        if let Some(lease) = ends {
            self.leases.begin_end(lease);
        }
        for (key, record) in records {
            match record {
                Some(record) => self.put(&key, record),
                None => self.remove(&key),
            }
        }
        self.remove_ranges(&deleted);
        if let Some(lease) = ends {
            self.leases.end_if_empty(lease);
        }
    }

    fn put(&mut self, key: &[u8], record: Record) {
        let item = record.item();
        self.items_hash.add(Kind::Item, record.canonical_bytes());
        if let Some(lease) = item.lease {
            self.leases.attach(lease, key);
            self.places.add(key, lease, item.create_revision, Some(self.sessions.now_ms()));
        }
        let (lease, created) = (item.lease, item.create_revision);
        let replaced = self.records.replace(record);
        if let Some(replaced) = &replaced {
            self.items_hash.remove(Kind::Item, replaced.canonical_bytes());
            let old = replaced.item();
            if let Some(old_lease) = old.lease {
                if lease != old.lease {
                    self.leases.detach(old_lease, key);
                }
                if (lease, created) != (old.lease, old.create_revision) {
                    self.places.remove(key, old_lease, old.create_revision, self.sessions.now_ms());
                }
            }
        }
        self.history.push(self.revision, key.into(), replaced);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(removed) = self.records.take(key) {
            self.uncount(&removed);
            self.history.push(self.revision, key.into(), Some(removed));
        }
    }

    fn remove_ranges(&mut self, ranges: &Spans) {
        let mut removed = VecDeque::new();
        for (from, to) in ranges.bounds() {
            // The records leave the tree one after the other, without a search and without a comparison with the upper
            // end: each would wait for the memory of the record.
            let count = self.records.range::<[u8], _>((from, to)).count();
            let from = from.map(Record::of_key);
            removed.extend(self.records.extract_if((from, Bound::Unbounded), |_| true).take(count));
        }
        removed.iter().for_each(|record| self.uncount(record));
        self.history.push_removed(self.revision, removed);
    }

    /// Accounts for a record that has been removed.
    fn uncount(&mut self, removed: &Record) {
        self.items_hash.remove(Kind::Item, removed.canonical_bytes());
        let item = removed.item();
        if let Some(lease) = item.lease {
            self.leases.detach(lease, removed.key());
            self.places.remove(removed.key(), lease, item.create_revision, self.sessions.now_ms());
        }
    }

    /// Returns an empty store with lower session limits, so that tests can reach them.
    pub fn with_session_limits(limits: SessionLimits) -> Self {
        Self { sessions: Sessions::with_limits(limits), ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
