//! The versions of the keys of a range at an earlier revision, in the order of their keys.

use super::super::item::Revision;
use super::super::key_range::Bounds;
use super::super::record::Record;
use super::super::scan::Directed;
use super::{History, Version};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The first change of a key after a revision, as far as one part of the history knows it.
struct Found<'a> {
    key: &'a [u8],
    /// Revision of the change and the version before it.
    change: Option<(Revision, Option<&'a Record>)>,
}

/// The next key of one part of the history.
struct Head<'a> {
    found: Found<'a>,
    part: usize,
    descending: bool,
}

type Part<'a> = Box<dyn Iterator<Item = Found<'a>> + 'a>;

/// A merge of the parts of the history: the changes by key, and each run.
struct Merge<'a> {
    parts: Vec<Part<'a>>,
    /// The next key of each part that has one; the greatest of them is the next of all.
    heads: BinaryHeap<Head<'a>>,
    descending: bool,
}

impl History {
    /// Returns the keys of a range that have changes in the history, each with its version at the revision `at`. Keys
    /// with changes up to that revision only may be left out.
    pub(in crate::kv) fn versions<'a>(
        &'a self,
        bounds: Bounds<'a>,
        at: Revision,
        descending: bool,
    ) -> impl Iterator<Item = (&'a [u8], Version<'a>)> {
        let pasts = Directed::new(self.pasts.range::<[u8], _>(bounds), descending).map(move |(key, pasts)| {
            let change = pasts.after(at).map(|past| (past.revision, past.before.as_ref()));
            Found { key, change }
        });
        let runs = self.runs.after(at).map(|run| {
            let found =
                move |before: &'a Record| Found { key: before.key(), change: Some((run.revision, Some(before))) };
            Box::new(Directed::new(run.range(bounds), descending).map(found)) as Part<'a>
        });
        let parts = std::iter::once(Box::new(pasts) as Part<'a>).chain(runs).collect::<Vec<_>>();
        let mut merge = Merge { heads: BinaryHeap::with_capacity(parts.len()), parts, descending };
        (0..merge.parts.len()).for_each(|part| merge.refill(part));
        merge
    }
}

impl<'a> Merge<'a> {
    fn refill(&mut self, part: usize) {
        let Self { parts, heads, descending } = self;
        heads.extend(parts[part].next().map(|found| Head { found, part, descending: *descending }));
    }

    fn pop(&mut self) -> Option<Found<'a>> {
        let Head { found, part, .. } = self.heads.pop()?;
        self.refill(part);
        Some(found)
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = (&'a [u8], Version<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let Found { key, change } = self.pop()?;
        // The others know a later change of the key, or none.
        while self.heads.peek().is_some_and(|head| head.found.key == key) {
            self.pop();
        }
        Some((key, change.map_or(Version::Newest, |(_, before)| Version::Past(before))))
    }
}

impl Ord for Head<'_> {
    /// The greatest is the next: the first key in the direction of the walk and, of one key, the earliest change.
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.found.key.cmp(other.found.key);
        let keys = if self.descending { keys } else { keys.reverse() };
        let revision = |head: &Self| head.found.change.map_or(Revision::MAX, |(revision, _)| revision);
        keys.then_with(|| revision(other).cmp(&revision(self)))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}
