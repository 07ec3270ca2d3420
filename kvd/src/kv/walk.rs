//! A walk along an ordered collection that sees the collection as it was at the start, though it changes meanwhile.
//!
//! Every entry of the collection records its last change. Entries changed after the start are skipped. Before an entry
//! that is older and lies ahead of the walk is changed or removed, its owner passes the entry to the walk to be kept:
//! the walk takes it in its turn. So each key is kept at most once, and the walk costs each change one comparison, and
//! at most one search.

use super::hash::Kind;
use super::pieces::{Content, PieceWriter};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

/// An entry that can be kept for a walk.
pub(super) trait Keep: Ord {
    /// The key that orders the entries.
    type Key: ?Sized + Ord;
    /// Kind of the entry for a reader of the pieces.
    const KIND: Kind;

    fn key(&self) -> &Self::Key;
    fn view(&self) -> View<'_, Self::Key>;
}

/// An entry as a walk sees it.
pub(super) struct View<'a, K: ?Sized> {
    pub(super) key: &'a K,
    /// Number of the last change: at most the start of a walk for entries that it sees, and beyond it for later
    /// changes.
    pub(super) last_change: u64,
    pub(super) content: Content<'a>,
}

/// A walk that is in progress or complete.
pub(super) struct Walk<T: Keep> {
    /// The last change that the walk sees.
    as_of: u64,
    /// Behind a separate lock, since the walk continues while other threads read the store, too. A writer of the store
    /// has exclusive access, and never waits here.
    state: Mutex<State<T>>,
}

struct State<T: Keep> {
    position: Position<T::Key>,
    /// Entries that have changed since the start, as they were. All of them are ahead.
    kept: BTreeSet<T>,
}

enum Position<K: ?Sized> {
    Start,
    /// At the entry of this key or of the next key that exists; this many bytes of it are in earlier pieces.
    At {
        key: Box<K>,
        written: usize,
    },
    End,
}

impl<T: Keep> Walk<T>
where
    Box<T::Key>: for<'a> From<&'a T::Key>,
{
    /// Begins a walk that sees no change after `as_of`.
    pub(super) fn new(as_of: u64) -> Self {
        Self { as_of, state: Mutex::new(State { position: Position::Start, kept: BTreeSet::new() }) }
    }

    /// Returns true if an entry that is about to be changed or removed must be [kept](Walk::keep).
    pub(super) fn wants(&mut self, key: &T::Key, last_change: u64) -> bool {
        last_change <= self.as_of
            && match &self.state().position {
                Position::Start => true,
                Position::At { key: next, .. } => *key >= **next,
                Position::End => false,
            }
    }

    /// Keeps an entry that the walk [wants](Walk::wants).
    pub(super) fn keep(&mut self, old: T) {
        let is_first = self.state().kept.insert(old);
        debug_assert!(is_first, "what changed after the start is wanted no more");
    }

    /// Number of kept entries.
    pub(super) fn kept(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).kept.len()
    }

    fn state(&mut self) -> &mut State<T> {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Continues until the piece is full, or to the end; returns true at the end. `present` gives the current entries
    /// of the collection, from a key on.
    pub(super) fn write<'a, I>(&self, present: impl FnOnce(Bound<&T::Key>) -> I, piece: &mut PieceWriter) -> bool
    where
        I: Iterator<Item = View<'a, T::Key>>,
        T::Key: 'a,
    {
        let mut state = self.state.lock().expect("nothing is left out of a piece that a panic interrupted");
        let State { position, kept } = &mut *state;
        let (from, mut written) = match position {
            Position::Start => (Bound::Unbounded, 0),
            Position::At { key, written } => (Bound::Included(&**key), *written),
            Position::End => return true,
        };
        let mut present = present(from).peekable();
        *position = loop {
            let first_kept = kept.first();
            let is_kept = match (first_kept, present.peek()) {
                // If both have the key, the present entry is newer and is skipped in its turn.
                (Some(kept), Some(present)) => kept.key() <= present.key,
                (kept, _) => kept.is_some(),
            };
            let kept_view = first_kept.filter(|_| is_kept).map(Keep::view);
            let Some(view) = kept_view.as_ref().or_else(|| present.peek()) else { break Position::End };
            if piece.is_full() {
                break Position::At { key: view.key.into(), written };
            }
            if view.last_change > self.as_of {
                debug_assert_eq!(written, 0, "an entry was begun that is not of the snapshot");
                piece.skip();
            } else if let Some(written) = piece.put(T::KIND, &view.content, written) {
                break Position::At { key: view.key.into(), written };
            }
            written = 0;
            if is_kept {
                kept.pop_first();
            } else {
                present.next();
            }
        };
        matches!(position, Position::End)
    }
}
