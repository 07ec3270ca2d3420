//! The ordered map with its revisions, and the application of commands to it.
//!
//! Applying has three steps: the session says whether the request is new; the outcome is decided from the
//! items as they are; and only when that outcome is remembered for a repeat does anything change. So no
//! request is applied that could not be told from its repeat.

mod restoring;
mod taking;

pub use restoring::Restoring;
pub use taking::SnapshotRemains;

use super::command::{Command, Condition, Item, Operation, Outcome, Revision};
use super::fingerprint::Fingerprint;
use super::hash::{HashSum, Kind, StateHash};
use super::record::{ItemRef, Record};
use super::sessions::{Admission, SessionLimits, Sessions};
use super::walk::Walk;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

/// The state machine: what every replica has after applying the same commands.
pub struct Store {
    /// A set to the compiler, a map to us: a record is ordered by its key.
    records: BTreeSet<Record>,
    revision: Revision,
    sessions: Sessions,
    items_hash: HashSum,
    /// That of the snapshot under way.
    walk: Option<Walk<Record>>,
}

/// An outcome, with the change to make for it to come true.
struct Decision {
    outcome: Outcome,
    change: Option<Change>,
}

enum Change {
    Put(Record),
    Remove,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            records: BTreeSet::new(),
            revision: 1,
            sessions: Sessions::default(),
            items_hash: HashSum::default(),
            walk: None,
        }
    }
}

impl fmt::Debug for Store {
    /// A summary: a store may hold gigabytes, and what users keep in it belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("revision", &self.revision)
            .field("keys", &self.len())
            .field("state_hash", &format_args!("{}", self.state_hash()))
            .finish()
    }
}

impl Store {
    /// A copy of the item under `key`.
    pub fn get(&self, key: &[u8]) -> Option<Item> {
        self.get_ref(key).map(ItemRef::to_item)
    }

    /// The item under `key`, lent instead of copied.
    pub fn get_ref(&self, key: &[u8]) -> Option<ItemRef<'_>> {
        self.records.get(key).map(Record::item)
    }

    /// The keys from `from` on and their items, ordered bytewise by key.
    pub fn range_from(&self, from: Bound<&[u8]>) -> impl DoubleEndedIterator<Item = (&[u8], ItemRef<'_>)> {
        let range = self.records.range::<[u8], _>((from, Bound::Unbounded));
        range.map(|record| (record.key(), record.item()))
    }

    /// The revision: 1 when empty, one more for each applied request that changed something.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hash of the whole state: items, revision, sessions. Costs nothing: it is kept up to date.
    pub fn state_hash(&self) -> StateHash {
        self.hash_with(self.items_hash, self.sessions.hash())
    }

    /// The same hash as [`Store::state_hash`], computed from all that is there: a check of the store
    /// against itself, which takes time in proportion to its size.
    pub fn recompute_state_hash(&self) -> StateHash {
        let mut items_hash = HashSum::default();
        for record in &self.records {
            items_hash.add(Kind::Item, record.canonical_bytes());
        }
        self.hash_with(items_hash, self.sessions.recompute_hash())
    }

    fn hash_with(&self, items: HashSum, sessions: HashSum) -> StateHash {
        let mut counters = [0; 16];
        counters[..8].copy_from_slice(&self.revision.to_le_bytes());
        counters[8..].copy_from_slice(&self.sessions.now_ms().to_le_bytes());
        let mut sum = HashSum::default();
        sum.add(Kind::Counters, &counters);
        sum.merge(items);
        sum.merge(sessions);
        sum.state_hash()
    }

    /// Applies one committed command at cluster time `time_ms` (milliseconds). Never fails: what goes
    /// against the command is part of its outcome.
    ///
    /// What follows from a command depends on the commands before it and on nothing else, so every
    /// replica that applies the same ones in the same order comes to the same outcomes and state.
    ///
    /// A repeat comes to the remembered outcome. That a condition failed is remembered, the item is not: a
    /// repeat fails for sure and shows the item as it is by then, which the condition may even hold of.
    pub fn apply(&mut self, time_ms: u64, command: &Command) -> Outcome {
        self.sessions.advance(time_ms);
        let request = command.request.as_ref().map(|request| (request, Fingerprint::of(&command.operation)));
        if let Some((request, fingerprint)) = request {
            match self.sessions.admit(request, fingerprint) {
                Admission::New => {}
                Admission::Repeat(Outcome::ConditionFailed { .. }) => {
                    return Outcome::ConditionFailed { current: self.get(command.operation.key()) };
                }
                Admission::Repeat(outcome) => return outcome,
                Admission::Stale { newest } => return Outcome::StaleRequest { newest },
                Admission::Reused => return Outcome::SeqReused,
            }
        }
        let Decision { outcome, change } = self.decide(&command.operation);
        // A failed condition is remembered like a success: were it evaluated anew for the repeat, a
        // request could be told as failed to one copy of it and take effect through the other.
        if let Some((request, fingerprint)) = request
            && self.sessions.remember(request, fingerprint, &outcome).is_err()
        {
            return Outcome::SessionsFull;
        }
        match change {
            Some(Change::Put(record)) => self.put(record),
            Some(Change::Remove) => self.remove(command.operation.key()),
            None => {}
        }
        outcome
    }

    fn decide(&self, operation: &Operation) -> Decision {
        match operation {
            Operation::Set { key, value, condition, prev } => {
                let current = self.get_ref(key);
                if !holds(condition.as_ref(), current) {
                    return Decision::condition_failed(current);
                }
                let revision = self.revision + 1;
                let (create_revision, version) =
                    current.map_or((revision, 1), |item| (item.create_revision, item.version + 1));
                let prev = current.filter(|_| *prev).map(ItemRef::to_item);
                let item = ItemRef { value, create_revision, mod_revision: revision, version };
                Decision {
                    outcome: Outcome::Set { revision, created: current.is_none(), prev },
                    change: Some(Change::Put(Record::new(key, item))),
                }
            }
            Operation::Delete { key, condition, prev } => {
                let current = self.get_ref(key);
                if !holds(condition.as_ref(), current) {
                    return Decision::condition_failed(current);
                }
                let deleted = current.is_some();
                let revision = self.revision + u64::from(deleted);
                let prev = current.filter(|_| *prev).map(ItemRef::to_item);
                Decision {
                    outcome: Outcome::Deleted { revision, deleted, prev },
                    change: deleted.then_some(Change::Remove),
                }
            }
        }
    }

    fn put(&mut self, record: Record) {
        self.revision += 1;
        self.items_hash.add(Kind::Item, record.canonical_bytes());
        if let Some(replaced) = self.records.replace(record) {
            self.items_hash.remove(Kind::Item, replaced.canonical_bytes());
            self.keep_for_snapshot(replaced);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.revision += 1;
        if let Some(removed) = self.records.take(key) {
            self.items_hash.remove(Kind::Item, removed.canonical_bytes());
            self.keep_for_snapshot(removed);
        }
    }

    /// An empty store that remembers less of its clients, so that tests come upon its limits.
    pub fn with_session_limits(limits: SessionLimits) -> Self {
        Self { sessions: Sessions::with_limits(limits), ..Self::default() }
    }
}

impl Decision {
    fn condition_failed(current: Option<ItemRef<'_>>) -> Self {
        Self { outcome: Outcome::ConditionFailed { current: current.map(ItemRef::to_item) }, change: None }
    }
}

/// Whether a condition holds of a key's item; no condition always does.
fn holds(condition: Option<&Condition>, current: Option<ItemRef<'_>>) -> bool {
    match condition {
        None => true,
        Some(Condition::Absent) => current.is_none(),
        Some(Condition::Present) => current.is_some(),
        Some(Condition::ModRevision(revision)) => current.is_some_and(|item| item.mod_revision == *revision),
        Some(Condition::Value(value)) => current.is_some_and(|item| item.value == value),
    }
}

#[cfg(test)]
mod tests;
