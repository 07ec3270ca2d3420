//! The changes of one key.

use super::super::item::Revision;
use super::super::record::Record;
use crate::mutants::{self, Mutant};
use std::collections::VecDeque;

/// A change of one key.
pub(super) struct Past {
    pub(super) revision: Revision,
    /// The version before the change.
    pub(super) before: Option<Record>,
}

/// The changes of one key in the history, of which there is at least one. Most keys have just one, and that needs no
/// block of the allocator.
pub(super) struct Pasts {
    oldest: Past,
    later: VecDeque<Past>,
}

impl Pasts {
    pub(super) fn new(past: Past) -> Self {
        Self { oldest: past, later: VecDeque::new() }
    }

    /// Adds a change, which is newer than the others.
    pub(super) fn push(&mut self, past: Past) {
        self.later.push_back(past);
    }

    /// Revision of the newest change.
    pub(super) fn newest(&self) -> Revision {
        self.later.back().unwrap_or(&self.oldest).revision
    }

    /// Removes the oldest change, unless there is no other.
    pub(super) fn pop_oldest(&mut self) -> Option<Past> {
        self.later.pop_front().map(|next| std::mem::replace(&mut self.oldest, next))
    }

    /// Removes the change at a revision, unless there is no other.
    pub(super) fn remove(&mut self, revision: Revision) -> Option<Past> {
        if self.oldest.revision == revision {
            return self.pop_oldest();
        }
        let index = self.later.binary_search_by_key(&revision, |past| past.revision).ok()?;
        self.later.remove(index)
    }

    /// Returns the only change.
    pub(super) fn into_only(self) -> Past {
        debug_assert!(self.later.is_empty(), "there is one change");
        self.oldest
    }

    /// Returns the change at a revision.
    pub(super) fn at(&self, revision: Revision) -> Option<&Past> {
        if self.oldest.revision == revision {
            return Some(&self.oldest);
        }
        let index = self.later.binary_search_by_key(&revision, |past| past.revision).ok()?;
        self.later.get(index)
    }

    /// Returns the first change after the revision `at`.
    pub(super) fn after(&self, at: Revision) -> Option<&Past> {
        if is_after(self.oldest.revision, at) {
            return Some(&self.oldest);
        }
        self.later.get(self.later.partition_point(|past| !is_after(past.revision, at)))
    }

    /// Returns the revisions of the changes before the revision `before`, the newest first.
    pub(super) fn before(&self, before: Revision) -> impl Iterator<Item = Revision> {
        let end = self.later.partition_point(|past| past.revision < before);
        let oldest = Some(&self.oldest).filter(|past| past.revision < before);
        oldest.into_iter().chain(self.later.range(..end)).rev().map(|past| past.revision)
    }
}

/// Returns true if a change at `revision` is later than a read at the revision `at`, which then sees the version before
/// it.
pub(super) fn is_after(revision: Revision, at: Revision) -> bool {
    revision > at || revision == at && mutants::is_on(Mutant::PastTooEarly)
}
