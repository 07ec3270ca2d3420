//! The recent past of the store: the versions that changes have replaced or removed. Earlier revisions can be read, and
//! watches can be sent the changes between them.
//!
//! The newest version of a key is in the map of the store, and nowhere else. A change moves the version before it into
//! the history, together with the change's revision. The version after a change is therefore the version before the
//! next change of that key or, after the last change, the one in the map. A search by key and revision finds the
//! version that was valid at the revision.
//!
//! Versions that one command removes together are an exception: they are kept as a block, see `runs.rs`.
//!
//! How much a node remembers is its own setting, in bytes and in cluster time, and nothing that is applied may depend
//! on it. The oldest change goes first. A whole revision is forgotten at once, but its memory is freed a few changes at
//! a time. So forgetting the deletion of many keys does not delay another command for long.

mod pasts;
mod restoring;
mod runs;
mod taking;
mod versions;

pub(super) use restoring::RestoringHistory;
pub(super) use taking::HistoryWalk;

use super::item::Revision;
use super::record::Record;
use crate::mutants::{self, Mutant};
use pasts::{Past, Pasts};
use runs::Runs;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Time between two marks of the clock, in milliseconds.
const MARK_EVERY_MS: u64 = 1_000;

/// Memory of a change beside the bytes of the key and of the version before it: its place in the order of changes and
/// in the order of its key, with the room that such collections keep free, and the block of the allocator.
const CHANGE_BYTES: u64 = 96;

/// The same of a change in a run.
const RUN_CHANGE_BYTES: u64 = 56;

/// Memory of a key in the history beside its bytes: its place in the map, with the room that the map keeps free, and
/// two blocks of the allocator.
const KEY_BYTES: u64 = 136;

/// Limits on the history that a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Memory for the history, in bytes.
    pub bytes_max: u64,
    /// Cluster time after which a change is forgotten, in milliseconds.
    pub age_ms_max: u64,
    /// Fewest versions that are kept as a block if one command removes them together. A smaller number makes deletions
    /// cheaper and reads in the past more expensive.
    pub run_versions_min: usize,
}

impl Default for HistoryLimits {
    /// 64 MiB and an hour, and blocks of at least 1,024 versions.
    fn default() -> Self {
        Self { bytes_max: 64 << 20, age_ms_max: 60 * 60 * 1000, run_versions_min: 1_024 }
    }
}

/// The changes of the recent past.
pub(super) struct History {
    limits: HistoryLimits,
    /// Every change, the oldest first. Several may have one revision.
    steps: VecDeque<Step>,
    /// The same changes by key, except those in runs.
    pasts: BTreeMap<Arc<[u8]>, Pasts>,
    /// Versions that were removed together.
    runs: Runs,
    /// The oldest revision all of whose changes are known; the next revision of the store if none are. Changes of older
    /// revisions are about to be freed.
    first: Revision,
    /// The oldest revision at which the store can be read.
    floor: Revision,
    bytes: u64,
    /// Number of changes that have been freed.
    freed: u64,
    /// Cluster times, each with the newest revision at that time.
    marks: VecDeque<(u64, Revision)>,
}

/// A place among the changes: after all changes of earlier revisions, and after the first `passed` of `revision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangePlace {
    /// The revision.
    pub revision: Revision,
    /// Number of changes of that revision that lie before the place. It has at least as many.
    pub passed: usize,
}

impl ChangePlace {
    /// The place before all changes of `revision`.
    pub fn before(revision: Revision) -> Self {
        Self { revision, passed: 0 }
    }

    /// Returns the place after the next change, which is one of `revision`.
    #[must_use]
    pub fn behind_next(self, revision: Revision) -> Self {
        let passed = if revision == self.revision { self.passed + 1 } else { 1 };
        Self { revision, passed }
    }
}

struct Step {
    revision: Revision,
    /// None if the change is in a run.
    key: Option<Arc<[u8]>>,
}

/// The version of a key at some revision, as far as the history knows.
pub(super) enum Version<'a> {
    /// This version, or none: the key did not exist.
    Past(Option<&'a Record>),
    /// The newest one: no change after the revision is known.
    Newest,
}

impl History {
    /// Creates the empty history of a store at `revision`.
    pub(super) fn new(limits: HistoryLimits, revision: Revision) -> Self {
        Self {
            limits,
            steps: VecDeque::new(),
            pasts: BTreeMap::new(),
            runs: Runs::default(),
            first: revision + 1,
            floor: revision,
            bytes: 0,
            freed: 0,
            marks: VecDeque::new(),
        }
    }

    /// Changes the limits; the next [`History::trim`] enforces them.
    pub(super) fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    /// Memory of the history, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of changes.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// The oldest revision whose changes are known; the next revision of the store if none are.
    pub(super) fn first(&self) -> Revision {
        self.first
    }

    /// The oldest revision at which the store can be read.
    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    /// Returns true if the history takes half as much memory again as it may.
    pub(super) fn is_far_beyond_limit(&self) -> bool {
        self.bytes > self.limits.bytes_max.saturating_add(self.limits.bytes_max / 2)
    }

    /// Records that a change made at `revision` replaced or removed `before`, or created the key. Revisions never go
    /// down from call to call, and a key changes at most once per revision.
    pub(super) fn push(&mut self, revision: Revision, key: Arc<[u8]>, before: Option<Record>) {
        self.bytes += change_bytes(before.as_ref());
        let past = Past { revision, before };
        let key = match self.pasts.entry(key) {
            Entry::Occupied(mut known) => {
                known.get_mut().push(past);
                Arc::clone(known.key())
            }
            Entry::Vacant(place) => {
                self.bytes += key_bytes(place.key());
                let key = Arc::clone(place.key());
                place.insert(Pasts::new(past));
                key
            }
        };
        self.steps.push_back(Step { revision, key: Some(key) });
    }

    /// Records that one command removed these versions at `revision`. They are in the order of their keys. To be called
    /// once per revision, see [`History::push`] for the rest.
    pub(super) fn push_removed(&mut self, revision: Revision, removed: VecDeque<Record>) {
        if removed.len() < self.limits.run_versions_min.max(1) {
            removed.into_iter().for_each(|before| self.push(revision, before.key().into(), Some(before)));
            return;
        }
        self.bytes += removed.iter().map(run_change_bytes).sum::<u64>();
        let first = self.freed + self.steps.len() as u64;
        self.steps.extend(removed.iter().map(|_| Step { revision, key: None }));
        self.runs.push(revision, first, removed);
    }

    /// Records the cluster time at which the store has reached `revision`.
    pub(super) fn mark(&mut self, now_ms: u64, revision: Revision) {
        match self.marks.back_mut() {
            Some((time_ms, newest)) if now_ms < *time_ms + MARK_EVERY_MS => *newest = revision,
            _ => self.marks.push_back((now_ms, revision)),
        }
    }

    /// Returns the version of `key` that was valid at the revision `at`: the one before the first change after it.
    pub(super) fn version(&self, key: &[u8], at: Revision) -> Version<'_> {
        let past = self.pasts.get(key).and_then(|pasts| pasts.after(at));
        let past = past.map(|past| (past.revision, past.before.as_ref()));
        let in_run = self.runs.after(at).find_map(|run| run.get(key).map(|before| (run.revision, Some(before))));
        let first = past.into_iter().chain(in_run).min_by_key(|(revision, _)| *revision);
        first.map_or(Version::Newest, |(_, before)| Version::Past(before))
    }

    /// Returns the revisions of the changes of one key before the revision `before`, the newest first, as far as those
    /// revisions are known as a whole.
    pub(super) fn of_key<'a>(&'a self, key: &'a [u8], before: Revision) -> impl Iterator<Item = Revision> + 'a {
        let pasts = self.pasts.get(key).into_iter().flat_map(move |pasts| pasts.before(before));
        let runs = self.runs.before(before).filter(move |run| run.get(key).is_some()).map(|run| run.revision);
        let (mut pasts, mut runs) = (pasts.peekable(), runs.peekable());
        let newest_first =
            std::iter::from_fn(move || if pasts.peek() > runs.peek() { pasts.next() } else { runs.next() });
        newest_first.take_while(|revision| *revision >= self.first)
    }

    /// Returns the changes from a place on, the oldest first, each with its key. Those of revisions before
    /// [`History::first`] are left out.
    pub(super) fn changes(&self, from: ChangePlace) -> impl Iterator<Item = (Revision, &[u8])> {
        let ChangePlace { revision, passed } = from;
        let start = self.steps.partition_point(|step| step.revision < revision.max(self.first));
        let passed = if revision < self.first { 0 } else { passed };
        let start = start.saturating_add(passed).min(self.steps.len());
        (start..).map_while(|index| self.key_at(index))
    }

    /// Returns revision and key of a change. `index` is the number of changes before it.
    fn key_at(&self, index: usize) -> Option<(Revision, &[u8])> {
        let Step { revision, key } = self.steps.get(index)?;
        let key = key.as_deref().or_else(|| self.runs.nth(self.freed + index as u64).map(Record::key));
        Some((*revision, key.expect("a change has a past or is in a run")))
    }

    /// Returns a key, its version before its change at `revision`, and the version after it. `None` if the key did not
    /// change then.
    pub(super) fn change(&self, key: &[u8], revision: Revision) -> Option<(&[u8], Option<&Record>, Version<'_>)> {
        let past = self.pasts.get_key_value(key).and_then(|(key, pasts)| {
            let past = pasts.at(revision)?;
            Some((&**key, past.before.as_ref()))
        });
        let (key, before) = past.or_else(|| {
            let before = self.runs.at(revision)?.get(key)?;
            Some((before.key(), Some(before)))
        })?;
        Some((key, before, self.version(key, revision)))
    }

    /// Forgets the changes before `revision`, and the versions that were not valid then. Their memory is freed by
    /// [`History::trim`].
    pub(super) fn compact(&mut self, revision: Revision) {
        if mutants::is_on(Mutant::HistoryLosesMiddle) {
            self.lose_middle();
        }
        self.first = self.first.max(revision);
        self.floor = self.floor.max(revision);
    }

    /// Forgets the changes that exceed the limits, and frees at most `changes_max` changes. Passes the freed versions to
    /// `freed`, each with the revision of the change that replaced or removed it. Returns true if there is more to free.
    pub(super) fn trim(&mut self, now_ms: u64, changes_max: usize, mut freed: impl FnMut(Revision, Record)) -> bool {
        while let Some((time_ms, revision)) = self.marks.front().copied()
            && now_ms.saturating_sub(time_ms) > self.limits.age_ms_max
        {
            self.marks.pop_front();
            self.forget(revision);
        }
        for _ in 0..changes_max {
            let Some(oldest) = self.steps.front().map(|step| step.revision) else { return false };
            if oldest >= self.first {
                if self.bytes <= self.limits.bytes_max {
                    return false;
                }
                self.forget(oldest);
            }
            self.free_oldest(&mut freed);
        }
        true
    }

    /// Carries out [`Mutant::HistoryLosesMiddle`]. Changes in runs are found by their numbers, so while there are any,
    /// nothing is lost.
    fn lose_middle(&mut self) {
        if !self.runs.is_empty() {
            return;
        }
        let Some(Step { revision, key: Some(key) }) = self.steps.remove(self.steps.len() / 2) else { return };
        let lost = self.pasts.get_mut(&key).and_then(|pasts| pasts.remove(revision));
        self.bytes -= change_bytes(lost.or_else(|| self.remove_key(&key)).and_then(|past| past.before).as_ref());
    }

    /// Forgets the changes up to `revision`.
    fn forget(&mut self, revision: Revision) {
        self.first = self.first.max(revision + 1);
        self.floor = self.floor.max(revision);
    }

    fn free_oldest(&mut self, freed: &mut impl FnMut(Revision, Record)) {
        let Some(Step { revision, key }) = self.steps.pop_front() else { return };
        self.freed += 1;
        let before = if let Some(key) = key {
            let pasts = self.pasts.get_mut(&key).expect("a step with a key has a past");
            let past = pasts.pop_oldest().or_else(|| self.remove_key(&key));
            let before = past.and_then(|past| past.before);
            self.bytes -= change_bytes(before.as_ref());
            before
        } else {
            let before = self.runs.pop_oldest();
            self.bytes -= before.as_ref().map_or(0, run_change_bytes);
            before
        };
        if let Some(before) = before {
            freed(revision, before);
        }
    }

    /// Removes a key that has one change. Returns that change.
    fn remove_key(&mut self, key: &[u8]) -> Option<Past> {
        self.bytes -= key_bytes(key);
        self.pasts.remove(key).map(Pasts::into_only)
    }
}

fn change_bytes(before: Option<&Record>) -> u64 {
    CHANGE_BYTES + before.map_or(0, |before| before.canonical_bytes().len() as u64)
}

fn run_change_bytes(before: &Record) -> u64 {
    RUN_CHANGE_BYTES + before.canonical_bytes().len() as u64
}

fn key_bytes(key: &[u8]) -> u64 {
    KEY_BYTES + key.len() as u64
}
