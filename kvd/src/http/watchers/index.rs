//! The index from keys to those who watch them.
//!
//! A range is found by a string with which all of its keys begin: a single key by itself, a prefix by the prefix, and
//! any other range by the longest beginning that its ends share. So a change of a key looks up the key, and one
//! beginning of it for each length in use, however many watchers there are. Only ranges of the third kind with the same
//! beginning are compared with the key one after another.

use crate::kv::{KeyRange, Spans};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// The watchers of all ranges: `I` identifies a watcher, and `W` is the value kept for it.
#[derive(Debug)]
pub(super) struct Index<I, W> {
    by_key: HashMap<Box<[u8]>, HashMap<I, W>>,
    by_beginning: HashMap<Box<[u8]>, OfBeginning<I, W>>,
    /// Number of strings of each length in `by_beginning`.
    lengths: BTreeMap<usize, usize>,
    /// Number of ranges.
    len: usize,
}

/// The watchers of keys that begin with one string.
#[derive(Debug)]
struct OfBeginning<I, W> {
    /// Watchers of all keys that begin with it.
    of_all: HashMap<I, W>,
    /// Watchers of some of these keys, with their ranges.
    of_some: Vec<(KeyRange, I, W)>,
}

/// The place of a range in the index.
enum Place<'r> {
    Key(&'r [u8]),
    Prefix(&'r [u8]),
    /// The longest beginning that both ends share.
    Between(&'r [u8]),
}

impl<'r> Place<'r> {
    fn of(range: &'r KeyRange) -> Self {
        if let Some(key) = range.as_key() {
            return Self::Key(key);
        }
        if *range == KeyRange::of_prefix(&range.from) {
            return Self::Prefix(&range.from);
        }
        let to = range.to.as_deref().unwrap_or_default();
        let alike = range.from.iter().zip(to).take_while(|(from, to)| from == to).count();
        Self::Between(&range.from[..alike])
    }
}

impl<I, W> Default for Index<I, W> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), by_beginning: HashMap::new(), lengths: BTreeMap::new(), len: 0 }
    }
}

impl<I: Copy + Eq + Hash, W: Clone> Index<I, W> {
    /// Returns true if nobody watches anything.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a watcher of these keys. No other watcher has this `id`.
    pub(super) fn add(&mut self, id: I, keys: &Spans, watcher: &W) {
        for range in keys.ranges() {
            self.len += 1;
            match Place::of(&range) {
                Place::Key(key) => drop(self.by_key.entry(key.into()).or_default().insert(id, watcher.clone())),
                Place::Prefix(prefix) => drop(self.of_beginning(prefix).of_all.insert(id, watcher.clone())),
                Place::Between(alike) => {
                    self.of_beginning(alike).of_some.push((range.clone(), id, watcher.clone()));
                }
            }
        }
    }

    fn of_beginning(&mut self, beginning: &[u8]) -> &mut OfBeginning<I, W> {
        let Self { by_beginning, lengths, .. } = self;
        by_beginning.entry(beginning.into()).or_insert_with(|| {
            *lengths.entry(beginning.len()).or_default() += 1;
            OfBeginning { of_all: HashMap::new(), of_some: Vec::new() }
        })
    }

    /// Removes a watcher that was added with the same keys.
    pub(super) fn remove(&mut self, id: I, keys: &Spans) {
        for range in keys.ranges() {
            self.len -= 1;
            match Place::of(&range) {
                Place::Key(key) => {
                    if let Some(watchers) = self.by_key.get_mut(key) {
                        watchers.remove(&id);
                        if watchers.is_empty() {
                            self.by_key.remove(key);
                        }
                    }
                }
                Place::Prefix(beginning) | Place::Between(beginning) => {
                    let Some(watchers) = self.by_beginning.get_mut(beginning) else { continue };
                    match Place::of(&range) {
                        Place::Between(_) => watchers.of_some.retain(|(of, other, _)| *other != id || *of != range),
                        _ => drop(watchers.of_all.remove(&id)),
                    }
                    if watchers.of_all.is_empty() && watchers.of_some.is_empty() {
                        self.by_beginning.remove(beginning);
                        if let Some(count) = self.lengths.get_mut(&beginning.len()) {
                            *count -= 1;
                            if *count == 0 {
                                self.lengths.remove(&beginning.len());
                            }
                        }
                    }
                }
            }
        }
    }

    /// Passes each watcher of a key to `found`.
    pub(super) fn of_key(&self, key: &[u8], mut found: impl FnMut(&W)) {
        if let Some(watchers) = self.by_key.get(key) {
            watchers.values().for_each(&mut found);
        }
        for length in self.lengths.range(..=key.len()).map(|(length, _)| *length) {
            let Some(watchers) = self.by_beginning.get(&key[..length]) else { continue };
            watchers.of_all.values().for_each(&mut found);
            for (range, _, watcher) in &watchers.of_some {
                if range.contains(key) {
                    found(watcher);
                }
            }
        }
    }

    /// Passes each watcher to `found`, once for each of its ranges.
    pub(super) fn all(&self, mut found: impl FnMut(&W)) {
        self.by_key.values().flat_map(HashMap::values).for_each(&mut found);
        for watchers in self.by_beginning.values() {
            watchers.of_all.values().for_each(&mut found);
            watchers.of_some.iter().for_each(|(_, _, watcher)| found(watcher));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, 1, 0xfe, 0xff]), 0..4)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            bytes().prop_map(|key| KeyRange::of_key(&key)),
            bytes().prop_map(|prefix| KeyRange::of_prefix(&prefix)),
            (bytes(), prop::option::of(bytes()))
                .prop_map(|(from, to)| KeyRange { from: from.into(), to: to.map(Into::into) }),
        ]
    }

    proptest! {
        #[test]
        fn exactly_the_watchers_of_a_key_are_found(
            watchers in prop::collection::vec((prop::collection::vec(range(), 1..4), any::<bool>()), 0..8),
            key in bytes().prop_filter("keys are not empty", |key| !key.is_empty()),
        ) {
            let spans: Vec<Spans> = watchers.iter().map(|(ranges, _)| {
                let mut spans = Spans::default();
                ranges.iter().for_each(|range| spans.add(range));
                spans
            }).collect();
            let mut index = Index::default();
            for (id, spans) in spans.iter().enumerate() {
                index.add(id, spans, &id);
            }
            for (id, (_, stays)) in watchers.iter().enumerate() {
                if !stays {
                    index.remove(id, &spans[id]);
                }
            }
            let stays = |id: &usize| watchers[*id].1;
            let mut found = Vec::new();
            index.of_key(&key, |id| found.push(*id));
            found.sort_unstable();
            let expected: Vec<usize> =
                (0..watchers.len()).filter(|id| stays(id) && spans[*id].contain(&key)).collect();
            prop_assert_eq!(found, expected);

            let mut all = Vec::new();
            index.all(|id| all.push(*id));
            all.sort_unstable();
            all.dedup();
            let with_ranges = |id: &usize| spans[*id].ranges().next().is_some();
            let expected: Vec<usize> = (0..watchers.len()).filter(|id| stays(id) && with_ranges(id)).collect();
            prop_assert_eq!(all, expected);

            for id in (0..watchers.len()).filter(stays) {
                index.remove(id, &spans[id]);
            }
            prop_assert!(index.is_empty() && index.by_key.is_empty());
            prop_assert!(index.by_beginning.is_empty() && index.lengths.is_empty());
        }
    }
}
