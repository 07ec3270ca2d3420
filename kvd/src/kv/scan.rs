//! Walks along ranges of keys, in pieces.

use super::key_range::KeyRange;
use bytes::Bytes;

/// Most keys that a piece looks at, also those that are not in the range at its revision.
pub const PIECE_KEYS_MAX: usize = 2_048;

/// A walk along a range, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The rest of the range.
    ahead: KeyRange,
    descending: bool,
}

/// Decision of a visitor about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Go on with the next key.
    Next,
    /// End the piece, and begin the next one after the keys with this prefix.
    SkipPrefix(Bytes),
    /// End the piece after this key.
    StopAfter,
    /// End the piece before this key, which begins the next piece.
    StopBefore,
}

impl Scan {
    /// Creates a walk along the whole range.
    pub fn new(range: KeyRange, descending: bool) -> Self {
        Self { ahead: range, descending }
    }

    /// Returns true if the walk has come to the end.
    pub fn is_done(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Returns true if it goes from the last key to the first.
    pub fn is_descending(&self) -> bool {
        self.descending
    }

    /// Returns the rest of the range.
    pub fn ahead(&self) -> &KeyRange {
        &self.ahead
    }

    /// Leaves out the keys before `key`, in a walk from the first key to the last.
    pub fn skip_to(&mut self, key: Bytes) {
        if !self.descending && key > self.ahead.from {
            self.ahead.from = key;
        }
    }

    /// Ends the walk.
    pub fn finish(&mut self) {
        self.ahead.to = Some(self.ahead.from.clone());
    }

    pub(super) fn pass(&mut self, key: &[u8]) {
        self.ahead = if self.descending { self.ahead.before(key) } else { self.ahead.after(key) };
    }

    pub(super) fn stop_at(&mut self, key: &[u8]) {
        if self.descending {
            self.ahead = self.ahead.before(&[key, &[0]].concat());
        } else {
            self.ahead.from = Bytes::copy_from_slice(key);
        }
    }

    pub(super) fn pass_prefix(&mut self, prefix: &Bytes) {
        if self.descending {
            self.ahead = self.ahead.before(prefix);
        } else {
            match KeyRange::of_prefix(prefix).to {
                Some(end) => self.ahead.from = end,
                None => self.finish(),
            }
        }
    }
}

/// An iterator in either direction.
pub(super) struct Directed<I> {
    forward: I,
    descending: bool,
}

impl<I> Directed<I> {
    pub(super) fn new(forward: I, descending: bool) -> Self {
        Self { forward, descending }
    }
}

impl<I: DoubleEndedIterator> Iterator for Directed<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        if self.descending { self.forward.next_back() } else { self.forward.next() }
    }
}
