//! Rebuilds a replica from its snapshot and the records of the log after it.
//!
//! Records arrive in the order they were written. Entries known to be committed are applied on the
//! way and leave memory, so that recovery of a long log takes little more memory than the store.

use super::apply::{UnreadableEntry, apply_entry};
use super::levels::level_of_log;
use crate::kv::{Level, Store};
use crate::mutants::{self, Mutant};
use crate::raft::{
    Configuration, Entry, HardState, Log, LogIndex, MemberInfo, NodeId, Payload, Record, SnapshotPlace, Term,
};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The state recovered from a log.
#[derive(Debug)]
pub struct Recovered {
    /// Term and vote.
    pub hard_state: HardState,
    /// The log; everything in it is durable.
    pub log: Log,
    /// Every configuration in the log by its index.
    pub configurations: BTreeMap<LogIndex, Configuration>,
    /// The store, after applying every entry that the log marks as committed.
    pub store: Arc<RwLock<Store>>,
    /// The newest level that this node supports, or is configured to support.
    pub level_max: Level,
}

impl Recovered {
    /// The level that the node must support to continue from its data: the level of the state, or of entries that may
    /// yet be committed.
    pub fn level(&self) -> Level {
        let state = self.store.read().unwrap_or_else(PoisonError::into_inner).level();
        level_of_log(&self.log, state)
    }

    /// Returns the name and addresses of a node from the last configuration that contains it; `None` if it was removed
    /// long ago, or has not learnt yet that it is a member.
    pub fn info_of(&self, id: NodeId) -> Option<&MemberInfo> {
        self.configurations.values().rev().find_map(|configuration| configuration.members.get(&id))
    }

    /// Applies every entry of the log, known to be committed or not: for a recovery that treats all of them as
    /// committed, since no other node is left to say otherwise.
    ///
    /// # Errors
    /// [`UnreadableEntry`], after which the store is of no use.
    pub fn apply_all(&mut self) -> Result<(), UnreadableEntry> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        self.log.commit(self.log.last_index());
        while self.log.has_unapplied() {
            for entry in self.log.take_committed(APPLY_BYTES_MAX) {
                apply_entry(&mut store, &entry, self.level_max)?;
            }
        }
        Ok(())
    }
}

/// Recovery in progress: takes the records of a log one after the other. The default has no snapshot.
#[derive(Debug)]
pub struct Recovery {
    hard_state: HardState,
    log: Log,
    configurations: BTreeMap<LogIndex, Configuration>,
    store: Store,
    level_max: Level,
    has_records: bool,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            hard_state: HardState::default(),
            log: Log::default(),
            configurations: BTreeMap::new(),
            store: Store::default(),
            level_max: Level::NEWEST,
            has_records: false,
        }
    }
}

/// Committed entries of about this many bytes are applied at a time.
const APPLY_BYTES_MAX: usize = 1 << 20;

impl Recovery {
    /// Begins without a snapshot, with this empty store.
    pub fn with_store(store: Store) -> Self {
        Self { store, ..Self::default() }
    }

    /// Begins with a snapshot that ends at `place` and contains this store.
    pub fn after_snapshot(place: SnapshotPlace, store: Store) -> Self {
        let SnapshotPlace { last, time, configuration, configuration_index } = place;
        Self {
            log: Log::after_snapshot(last, time),
            configurations: BTreeMap::from([(configuration_index, configuration)]),
            store,
            ..Self::default()
        }
    }

    /// Limits the supported levels to `level_max`.
    #[must_use]
    pub fn with_level_max(self, level_max: Level) -> Self {
        Self { level_max, ..self }
    }

    /// Takes the next record. `cache_bytes_max` bounds the entries that stay in memory; see
    /// [`crate::raft::Settings::cache_bytes_max`].
    ///
    /// # Errors
    /// [`UnreadableEntry`], after which nothing more can be recovered.
    ///
    /// # Panics
    /// If the records contradict each other: the storage layer guarantees their order.
    pub fn record(&mut self, record: Record, cache_bytes_max: usize) -> Result<(), UnreadableEntry> {
        self.has_records = true;
        match record {
            Record::HardState(hard_state) => self.hard_state = hard_state,
            Record::Truncate { from } => {
                self.log.truncate(from);
                self.configurations.split_off(&from);
            }
            Record::Entry(entry) => self.append(entry),
            Record::Commit(index) => {
                self.log.commit(index);
                while self.log.has_unapplied() {
                    for entry in self.log.take_committed(APPLY_BYTES_MAX) {
                        if !(mutants::is_on(Mutant::AppliedNotAtomic) && entry.index == index) {
                            apply_entry(&mut self.store, &entry, self.level_max)?;
                        }
                    }
                    self.log.evict(cache_bytes_max);
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, entry: Entry) {
        let index = entry.index;
        if let Payload::Configuration(configuration) = &entry.payload {
            self.configurations.insert(index, configuration.clone());
        }
        self.log.append(entry);
        self.log.set_durable(index);
    }

    /// Returns true if there was any record. If not, the node has not yet been part of a cluster, or has lost its log.
    pub fn has_begun(&self) -> bool {
        self.has_records || self.has_entries()
    }

    /// Returns true if there was an entry, in the log or in the snapshot. A node that joins a cluster begins without
    /// any.
    pub fn has_entries(&self) -> bool {
        self.log.last_index() > LogIndex(0)
    }

    /// Ends the recovery once all records have been taken. `term_runs` are the terms of the whole log, as the first
    /// index and term of each run: the log may still have entries that are in the snapshot.
    pub fn finish(self, term_runs: impl IntoIterator<Item = (LogIndex, Term)>) -> Recovered {
        let Self { hard_state, log, configurations, store, level_max, has_records: _ } = self;
        let log = log.with_terms_before(term_runs);
        Recovered { hard_state, log, configurations, store: Arc::new(RwLock::new(store)), level_max }
    }
}
