//! Versions that one command has removed together.
//!
//! The deletion of a large range removes many versions in the order of their keys. They stay together as they came, in
//! one sorted block, instead of being put into the map of all changes one by one: that would take most of the time of
//! such a command, and delay every request after it. A search looks into each run of the revisions in question. There
//! are few of them, since each has many versions and the memory of the history is bounded.

use super::super::item::Revision;
use super::super::key_range::Bounds;
use super::super::record::Record;
use super::pasts::is_after;
use std::collections::VecDeque;
use std::ops::Bound;

/// Versions that one command has removed, in the order of their keys. There is at least one.
pub(super) struct Run {
    pub(super) revision: Revision,
    /// Number of changes before the first one of the run, since the history began.
    first: u64,
    records: VecDeque<Record>,
}

/// The runs of the history, the oldest first. Each has a revision of its own.
#[derive(Default)]
pub(super) struct Runs(VecDeque<Run>);

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the versions removed at `revision`, which is later than those of the other runs. `first` is the number of
    /// changes before them, since the history began.
    pub(super) fn push(&mut self, revision: Revision, first: u64, records: VecDeque<Record>) {
        self.0.push_back(Run { revision, first, records });
    }

    /// Removes the first version of the oldest run.
    pub(super) fn pop_oldest(&mut self) -> Option<Record> {
        let run = self.0.front_mut()?;
        let oldest = run.records.pop_front();
        run.first += 1;
        if run.records.is_empty() {
            self.0.pop_front();
        }
        oldest
    }

    /// Returns the version that was removed by the change with this number since the history began.
    pub(super) fn nth(&self, number: u64) -> Option<&Record> {
        let run = self.0.get(self.0.partition_point(|run| run.first <= number).checked_sub(1)?)?;
        run.records.get(usize::try_from(number - run.first).ok()?)
    }

    /// Returns the run of a revision.
    pub(super) fn at(&self, revision: Revision) -> Option<&Run> {
        let index = self.0.binary_search_by_key(&revision, |run| run.revision).ok()?;
        self.0.get(index)
    }

    /// Returns the runs after the revision `at`, the oldest first.
    pub(super) fn after(&self, at: Revision) -> impl Iterator<Item = &Run> {
        self.0.range(self.0.partition_point(|run| !is_after(run.revision, at))..)
    }

    /// Returns the runs before the revision `before`, the newest first.
    pub(super) fn before(&self, before: Revision) -> impl Iterator<Item = &Run> {
        self.0.range(..self.0.partition_point(|run| run.revision < before)).rev()
    }
}

impl Run {
    /// Returns the removed version of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Record> {
        let index = self.records.binary_search_by(|record| record.key().cmp(key)).ok()?;
        self.records.get(index)
    }

    /// Returns the removed versions of the keys of a range.
    pub(super) fn range(&self, (from, to): Bounds<'_>) -> impl DoubleEndedIterator<Item = &Record> {
        let before = |end: &[u8], and_itself: bool| {
            self.records.partition_point(|record| record.key() < end || and_itself && record.key() == end)
        };
        let start = match from {
            Bound::Included(from) => before(from, false),
            Bound::Excluded(from) => before(from, true),
            Bound::Unbounded => 0,
        };
        let end = match to {
            Bound::Included(to) => before(to, true),
            Bound::Excluded(to) => before(to, false),
            Bound::Unbounded => self.records.len(),
        };
        self.records.range(start..end.max(start))
    }
}
