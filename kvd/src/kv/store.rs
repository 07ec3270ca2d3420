//! The ordered map with its revisions, and the application of commands to it.
//!
//! Applying has three steps: the session tells whether the request is new; the outcome is decided from the current
//! items; and only when that outcome is remembered for a repeat does anything change. So no request is applied that
//! could not be told from its repeat.

mod restoring;
mod taking;

pub use restoring::Restoring;
pub use taking::SnapshotRemains;

use super::command::{Command, Condition, Item, Operation, Outcome, Revision};
use super::fingerprint::Fingerprint;
use super::hash::{HashSum, Kind, StateHash};
use super::level::Level;
use super::record::{ItemRef, Record};
use super::sessions::{Admission, SessionLimits, Sessions};
use super::walk::Walk;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;

/// The state machine: the same on every replica after applying the same commands.
pub struct Store {
    /// A set to the compiler, a map to us: a record is ordered by its key.
    records: BTreeSet<Record>,
    revision: Revision,
    level: Level,
    sessions: Sessions,
    items_hash: HashSum,
    /// Walk of the snapshot in progress.
    walk: Option<Walk<Record>>,
}

/// Result of applying a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer to the client.
    pub outcome: Outcome,
    /// The keys that changed, each once, in the order of the keys. All of them have the store's new revision.
    pub changes: Vec<Change>,
}

/// A key that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put {
        /// The key.
        key: Bytes,
    },
    /// The key was deleted.
    Delete {
        /// The key.
        key: Bytes,
    },
}

/// An outcome, with the edit that carries it out.
struct Decision {
    outcome: Outcome,
    edit: Option<Edit>,
}

enum Edit {
    Put(Bytes, Record),
    Remove(Bytes),
    RaiseLevel(Level),
}

impl Default for Store {
    fn default() -> Self {
        Self {
            records: BTreeSet::new(),
            revision: 1,
            level: Level::FIRST,
            sessions: Sessions::default(),
            items_hash: HashSum::default(),
            walk: None,
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
    /// Returns a copy of the item under `key`.
    pub fn get(&self, key: &[u8]) -> Option<Item> {
        self.get_ref(key).map(ItemRef::to_item)
    }

    /// Returns the item under `key`, borrowed instead of copied.
    pub fn get_ref(&self, key: &[u8]) -> Option<ItemRef<'_>> {
        self.records.get(key).map(Record::item)
    }

    /// Returns the keys from `from` on and their items, ordered bytewise by key.
    pub fn range_from(&self, from: Bound<&[u8]>) -> impl DoubleEndedIterator<Item = (&[u8], ItemRef<'_>)> {
        let range = self.records.range::<[u8], _>((from, Bound::Unbounded));
        range.map(|record| (record.key(), record.item()))
    }

    /// Returns the revision: 1 when empty, one more for each applied request that changed something.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the level, which determines the available commands and the form of the hash and the snapshots.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true if there is no key.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Hash of the whole state: items, revision, sessions, and the level from [`Level::RAISED`] on. The call is cheap:
    /// the hash is kept up to date.
    pub fn state_hash(&self) -> StateHash {
        self.hash_with(self.items_hash, self.sessions.hash())
    }

    /// The same hash as [`Store::state_hash`], computed from all data: a check of the store against itself, which takes
    /// time in proportion to its size.
    pub fn recompute_state_hash(&self) -> StateHash {
        let mut items_hash = HashSum::default();
        for record in &self.records {
            items_hash.add(Kind::Item, record.canonical_bytes());
        }
        self.hash_with(items_hash, self.sessions.recompute_hash())
    }

    fn hash_with(&self, items: HashSum, sessions: HashSum) -> StateHash {
        let mut counters = [0; 20];
        counters[..8].copy_from_slice(&self.revision.to_le_bytes());
        counters[8..16].copy_from_slice(&self.sessions.now_ms().to_le_bytes());
        counters[16..].copy_from_slice(&self.level.0.to_le_bytes());
        // The level counts only from `RAISED` on: at the first level, older nodes compare their hashes with this one.
        let counted = if self.level >= Level::RAISED { &counters[..] } else { &counters[..16] };
        let mut sum = HashSum::default();
        sum.add(Kind::Counters, counted);
        sum.merge(items);
        sum.merge(sessions);
        sum.state_hash()
    }

    /// Applies one committed command at cluster time `time_ms` (milliseconds). Never fails: any objection to the
    /// command is part of its outcome.
    ///
    /// The effect of a command depends only on the commands before it, so all replicas that apply the same commands in
    /// the same order reach the same outcomes and state.
    ///
    /// A repeat gets the remembered outcome. For a failed condition the failure is remembered and the item is not: a
    /// repeat always fails and shows the current item, for which the condition may even hold.
    pub fn apply(&mut self, time_ms: u64, command: &Command) -> Applied {
        let unchanged = |outcome| Applied { outcome, changes: Vec::new() };
        self.sessions.advance(time_ms);
        let request = command.request.as_ref().map(|request| (request, Fingerprint::of(&command.operation)));
        if let Some((request, fingerprint)) = request {
            match self.sessions.admit(request, fingerprint) {
                Admission::New => {}
                Admission::Repeat(Outcome::ConditionFailed { .. }) => {
                    let current = command.operation.key().and_then(|key| self.get(key));
                    return unchanged(Outcome::ConditionFailed { current });
                }
                Admission::Repeat(outcome) => return unchanged(outcome),
                Admission::Stale { newest } => return unchanged(Outcome::StaleRequest { newest }),
                Admission::Reused => return unchanged(Outcome::SeqReused),
            }
        }
        let Decision { outcome, edit } = self.decide(&command.operation);
        // A failed condition is remembered like a success. If it were evaluated again for the repeat, one copy of a
        // request could be reported as failed while the other takes effect.
        if let Some((request, fingerprint)) = request
            && self.sessions.remember(request, fingerprint, &outcome).is_err()
        {
            return unchanged(Outcome::SessionsFull);
        }
        Applied { outcome, changes: edit.and_then(|edit| self.make(edit)).into_iter().collect() }
    }

    /// Makes an edit, and returns the key that changed.
    fn make(&mut self, edit: Edit) -> Option<Change> {
        match edit {
            Edit::Put(key, record) => {
                self.put(record);
                Some(Change::Put { key })
            }
            Edit::Remove(key) => {
                self.remove(&key);
                Some(Change::Delete { key })
            }
            Edit::RaiseLevel(level) => {
                self.level = level;
                None
            }
        }
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
                    edit: Some(Edit::Put(key.clone(), Record::new(key, item))),
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
                    edit: deleted.then(|| Edit::Remove(key.clone())),
                }
            }
            Operation::RaiseLevel { to } => {
                let level = self.level.max(*to);
                Decision { outcome: Outcome::LevelRaised { level }, edit: Some(Edit::RaiseLevel(level)) }
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

    /// Returns an empty store with lower session limits, so that tests can reach them.
    pub fn with_session_limits(limits: SessionLimits) -> Self {
        Self { sessions: Sessions::with_limits(limits), ..Self::default() }
    }
}

impl Decision {
    fn condition_failed(current: Option<ItemRef<'_>>) -> Self {
        Self { outcome: Outcome::ConditionFailed { current: current.map(ItemRef::to_item) }, edit: None }
    }
}

/// Returns true if a condition holds for a key's item; no condition always holds.
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
