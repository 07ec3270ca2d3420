//! The recent past of the store: the versions that changes have replaced or removed. Earlier revisions can be read, and
//! watches can be sent the changes between them.
//!
//! The newest version of a key is in the map of the store, and nowhere else. A change moves the version before it into
//! the history, together with the change's revision. The version after a change is therefore the version before the
//! next change of that key or, after the last change, the one in the map. A search by key and revision finds the
//! version that was valid at the revision.
//!
//! How much a node remembers is its own setting, in bytes and in cluster time, and nothing that is applied may depend
//! on it. The oldest change goes first. A whole revision is forgotten at once, but its memory is freed a few changes at
//! a time. So forgetting the deletion of many keys does not delay another command for long.

mod restoring;
mod taking;

pub(super) use restoring::RestoringHistory;
pub(super) use taking::HistoryWalk;

use super::item::Revision;
use super::record::Record;
use crate::mutants::{self, Mutant};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Time between two marks of the clock, in milliseconds.
const MARK_EVERY_MS: u64 = 1_000;

/// Memory of a change beside the bytes of the key and of the version before it: its place in the order of changes and
/// in the order of its key, with the room that such collections keep free, and the block of the allocator.
const CHANGE_BYTES: u64 = 96;

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
}

impl Default for HistoryLimits {
    /// 64 MiB and an hour.
    fn default() -> Self {
        Self { bytes_max: 64 << 20, age_ms_max: 60 * 60 * 1000 }
    }
}

/// The changes of the recent past.
pub(super) struct History {
    limits: HistoryLimits,
    /// Every change, the oldest first. Several may have one revision.
    steps: VecDeque<Step>,
    /// The same changes by key, the oldest first. Each key has at least one.
    pasts: BTreeMap<Arc<[u8]>, VecDeque<Past>>,
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
    key: Arc<[u8]>,
}

/// A change of one key.
pub(super) struct Past {
    pub(super) revision: Revision,
    /// The version before the change.
    pub(super) before: Option<Record>,
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

    /// Records that a change made at `revision` replaced or removed `before`, or created the key. Revisions never go
    /// down from call to call, and a key changes at most once per revision.
    pub(super) fn push(&mut self, revision: Revision, key: &[u8], before: Option<Record>) {
        self.bytes += change_bytes(before.as_ref());
        let past = Past { revision, before };
        let known = self.pasts.range_mut::<[u8], _>((Bound::Included(key), Bound::Included(key))).next();
        let key = if let Some((known, pasts)) = known {
            pasts.push_back(past);
            Arc::clone(known)
        } else {
            let key = Arc::<[u8]>::from(key);
            self.bytes += key_bytes(&key);
            // Most keys have one change. A collection that grows by itself begins with room for four.
            let mut pasts = VecDeque::with_capacity(1);
            pasts.push_back(past);
            self.pasts.insert(Arc::clone(&key), pasts);
            key
        };
        self.steps.push_back(Step { revision, key });
    }

    /// Records the cluster time at which the store has reached `revision`.
    pub(super) fn mark(&mut self, now_ms: u64, revision: Revision) {
        match self.marks.back_mut() {
            Some((time_ms, newest)) if now_ms < *time_ms + MARK_EVERY_MS => *newest = revision,
            _ => self.marks.push_back((now_ms, revision)),
        }
    }

    /// Returns the version of `key` that was valid at the revision `at`.
    pub(super) fn version(&self, key: &[u8], at: Revision) -> Version<'_> {
        self.pasts.get(key).map_or(Version::Newest, |pasts| version_in(pasts, at))
    }

    /// Returns the keys of a range that have changes in the history, and the changes of each.
    pub(super) fn range<'a>(
        &'a self,
        bounds: (Bound<&'a [u8]>, Bound<&'a [u8]>),
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a VecDeque<Past>)> {
        self.pasts.range::<[u8], _>(bounds).map(|(key, pasts)| (&**key, pasts))
    }

    /// Returns the changes of one key before the revision `before`, the oldest first, as far as their revisions are
    /// known as a whole.
    pub(super) fn of_key(&self, key: &[u8], before: Revision) -> impl DoubleEndedIterator<Item = &Past> {
        self.pasts.get(key).into_iter().flat_map(move |pasts| {
            let forgotten = pasts.partition_point(|past| past.revision < self.first);
            let end = pasts.partition_point(|past| past.revision < before);
            pasts.range(forgotten.min(end)..end)
        })
    }

    /// Returns the changes from a place on, the oldest first, each with its key. Those of revisions before
    /// [`History::first`] are left out.
    pub(super) fn changes(&self, from: ChangePlace) -> impl DoubleEndedIterator<Item = (Revision, &[u8])> {
        let ChangePlace { revision, passed } = from;
        let start = self.steps.partition_point(|step| step.revision < revision.max(self.first));
        let passed = if revision < self.first { 0 } else { passed };
        let start = start.saturating_add(passed).min(self.steps.len());
        self.steps.range(start..).map(|step| (step.revision, &*step.key))
    }

    /// Returns a key, its version before its change at `revision`, and the version after it. `None` if the key did not
    /// change then.
    pub(super) fn change(&self, key: &[u8], revision: Revision) -> Option<(&[u8], Option<&Record>, Version<'_>)> {
        let (key, pasts) = self.pasts.get_key_value(key)?;
        let index = pasts.binary_search_by_key(&revision, |past| past.revision).ok()?;
        Some((key, pasts[index].before.as_ref(), version_in(pasts, revision)))
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

    /// Forgets the changes that exceed the limits, and frees at most `changes_max` changes. Passes the freed ones to
    /// `freed`: revision, key, and the version before it. Returns true if there is more to free.
    pub(super) fn trim(
        &mut self,
        now_ms: u64,
        changes_max: usize,
        mut freed: impl FnMut(Revision, &Arc<[u8]>, Option<Record>),
    ) -> bool {
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

    /// Carries out [`Mutant::HistoryLosesMiddle`].
    fn lose_middle(&mut self) {
        let Some(Step { revision, key }) = self.steps.remove(self.steps.len() / 2) else { return };
        let Some(pasts) = self.pasts.get_mut(&key) else { return };
        let Some(past) = pasts.binary_search_by_key(&revision, |past| past.revision).ok() else { return };
        self.bytes -= pasts.remove(past).map_or(0, |past| change_bytes(past.before.as_ref()));
        if pasts.is_empty() {
            self.bytes -= key_bytes(&key);
            self.pasts.remove(&key);
        }
    }

    /// Forgets the changes up to `revision`.
    fn forget(&mut self, revision: Revision) {
        self.first = self.first.max(revision + 1);
        self.floor = self.floor.max(revision);
    }

    fn free_oldest(&mut self, freed: &mut impl FnMut(Revision, &Arc<[u8]>, Option<Record>)) {
        let Some(Step { revision, key }) = self.steps.pop_front() else { return };
        let pasts = self.pasts.get_mut(&key).expect("each step has a past");
        let Past { before, .. } = pasts.pop_front().expect("no key is without a past");
        self.bytes -= change_bytes(before.as_ref());
        self.freed += 1;
        if pasts.is_empty() {
            self.bytes -= key_bytes(&key);
            self.pasts.remove(&key);
        }
        freed(revision, &key, before);
    }
}

/// Returns the version of a key that was valid at the revision `at`: the one before the first change after it.
pub(super) fn version_in(pasts: &VecDeque<Past>, at: Revision) -> Version<'_> {
    let is_later = |past: &Past| past.revision > at || past.revision == at && mutants::is_on(Mutant::PastTooEarly);
    let next = pasts.partition_point(|past| !is_later(past));
    pasts.get(next).map_or(Version::Newest, |past| Version::Past(past.before.as_ref()))
}

fn change_bytes(before: Option<&Record>) -> u64 {
    CHANGE_BYTES + before.map_or(0, |before| before.canonical_bytes().len() as u64)
}

fn key_bytes(key: &[u8]) -> u64 {
    KEY_BYTES + key.len() as u64
}
