//! Reads of keys and ranges, at the newest revision or an earlier one.
//!
//! A range is read in pieces, each of a bounded number of keys, so that the store's lock is never held for long. A
//! [`Pin`] holds the revision from the first piece to the last.

use super::super::history::{ChangePlace, Version};
use super::super::item::{Item, Revision};
use super::super::key_range::KeyRange;
use super::super::readers::{Forgotten, Pin, Readers};
use super::super::record::{ItemRef, Record};
use super::super::scan::{Directed, PIECE_KEYS_MAX, Scan, Visit};
use super::Store;
use crate::mutants::{self, Mutant};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// A change of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its revision.
    pub revision: Revision,
    /// The key.
    pub key: &'a [u8],
    /// The item before; none if the key was created.
    pub before: Option<ItemRef<'a>>,
    /// The item after; none if the key was deleted.
    pub after: Option<ItemRef<'a>>,
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

    /// Returns the item that was under `key` at the revision `at`, which the store has reached.
    ///
    /// # Errors
    /// [`Forgotten`] if that revision is no longer kept.
    pub fn get_at(&self, key: &[u8], at: Revision) -> Result<Option<ItemRef<'_>>, Forgotten> {
        self.check_kept(at)?;
        Ok(match self.history.version(key, at) {
            Version::Past(record) => record.map(Record::item),
            Version::Newest => self.get_ref(key),
        })
    }

    /// Returns the keys from `from` on and their items, ordered bytewise by key.
    pub fn range_from(&self, from: Bound<&[u8]>) -> impl DoubleEndedIterator<Item = (&[u8], ItemRef<'_>)> {
        let range = self.records.range::<[u8], _>((from, Bound::Unbounded));
        range.map(|record| (record.key(), record.item()))
    }

    /// Returns the keys of a range and their items, ordered bytewise by key.
    pub(in crate::kv) fn present(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = &Record> {
        range.bounds().map(|bounds| self.records.range::<[u8], _>(bounds)).into_iter().flatten()
    }

    /// The oldest revision at which the store can be read.
    pub fn oldest_revision(&self) -> Revision {
        self.history.floor()
    }

    /// Returns the changes from a place on, in order. Several may have one revision.
    ///
    /// # Errors
    /// [`Forgotten`] if some of them are no longer known. `oldest` is then the first revision from which they are.
    pub fn changes(&self, from: ChangePlace) -> Result<impl Iterator<Item = Change<'_>>, Forgotten> {
        Ok(self.changed_keys(from)?.filter_map(|(revision, key)| self.change(key, revision)))
    }

    /// Returns the keys that changed from a place on, each with the revision, in the order of their changes.
    ///
    /// # Errors
    /// As [`Store::changes`].
    pub fn changed_keys(&self, from: ChangePlace) -> Result<impl Iterator<Item = (Revision, &[u8])>, Forgotten> {
        let oldest = self.history.first();
        if from.revision < oldest && from.revision <= self.revision && !mutants::is_on(Mutant::WatchSkips) {
            return Err(Forgotten { oldest });
        }
        Ok(self.history.changes(from))
    }

    /// Returns the changes of one key before the revision `before` that are known, the newest first.
    pub fn changes_of<'a>(&'a self, key: &'a [u8], before: Revision) -> impl Iterator<Item = Change<'a>> {
        self.history.of_key(key, before).filter_map(|revision| self.change(key, revision))
    }

    /// The oldest revision from which on all changes are known; the next revision if none are.
    pub fn oldest_change(&self) -> Revision {
        self.history.first()
    }

    /// Returns the change of a key at a revision; `None` if the key did not change then, or if the change is no longer
    /// known.
    pub fn change<'a>(&'a self, key: &[u8], revision: Revision) -> Option<Change<'a>> {
        let (key, before, after) = self.history.change(key, revision)?;
        let after = match after {
            Version::Past(record) => record,
            Version::Newest => self.records.get(key),
        };
        Some(Change { revision, key, before: before.map(Record::item), after: after.map(Record::item) })
    }

    fn check_kept(&self, at: Revision) -> Result<(), Forgotten> {
        let oldest = self.history.floor();
        if at < oldest { Err(Forgotten { oldest }) } else { Ok(()) }
    }

    /// Holds a revision for a reader of a range: the newest one, or the one given, which the store has reached. The
    /// memory that this may cost is bounded, see [`Store::set_limits`].
    ///
    /// # Errors
    /// [`Forgotten`] if that revision is no longer kept.
    pub fn pin(&self, at: Option<Revision>) -> Result<Pin, Forgotten> {
        let at = at.unwrap_or(self.revision);
        self.check_kept(at)?;
        Ok(Readers::open(&self.readers, at, true))
    }

    /// Continues a walk along a range at the revision of `pin`, for one piece. `visit` decides about each key. A piece
    /// ends at the latest after [`PIECE_KEYS_MAX`] keys; [`Scan::is_done`] tells whether it was the last.
    ///
    /// # Errors
    /// [`Forgotten`] if the revision could be held no longer.
    pub fn read_piece(
        &self,
        pin: &Pin,
        scan: &mut Scan,
        mut visit: impl FnMut(&[u8], ItemRef<'_>) -> Visit,
    ) -> Result<(), Forgotten> {
        self.read_records(pin, scan, |record| visit(record.key(), record.item()))
    }

    /// Does the same as [`Store::read_piece`], with the records themselves.
    pub(super) fn read_records(
        &self,
        pin: &Pin,
        scan: &mut Scan,
        mut visit: impl FnMut(&Record) -> Visit,
    ) -> Result<(), Forgotten> {
        let at = pin.revision();
        let mut kept = pin.kept();
        // The reader of another store, one that a snapshot has replaced, has nothing kept here.
        if !pin.is_among(&self.readers) || kept.has_ended() {
            self.check_kept(at)?;
        }
        let range = scan.ahead().clone();
        let Some(bounds) = range.bounds() else { return Ok(()) };
        // As long as nothing has changed, there is no need to look at the past.
        let has_changed = at < self.revision && !mutants::is_on(Mutant::PageOfThePresent);
        let pasts = has_changed.then(|| self.history.versions(bounds, at, scan.is_descending()));
        let mut merged = Merged {
            present: Directed::new(self.records.range::<[u8], _>(bounds), scan.is_descending()).peekable(),
            pasts: pasts.into_iter().flatten().peekable(),
            freed: Directed::new(kept.versions().range::<[u8], _>(bounds), scan.is_descending()).peekable(),
            descending: scan.is_descending(),
        };
        let mut looked_at = 0;
        loop {
            let Some((key, sources)) = merged.next() else {
                scan.finish();
                break;
            };
            looked_at += 1;
            let reaction = match sources.version_at(at) {
                Some(record) => visit(record),
                None => Visit::Next,
            };
            match reaction {
                Visit::Next => {}
                Visit::SkipPrefix(prefix) => {
                    scan.pass_prefix(&prefix);
                    break;
                }
                Visit::StopAfter => {
                    scan.pass(key);
                    break;
                }
                Visit::StopBefore => {
                    scan.stop_at(key);
                    break;
                }
            }
            if looked_at >= PIECE_KEYS_MAX {
                scan.pass(key);
                break;
            }
        }
        drop(merged);
        kept.advance(scan.ahead());
        Ok(())
    }
}

/// All that is known of the versions of the keys of a range, key by key.
struct Merged<P: Iterator, H: Iterator, F: Iterator> {
    present: Peekable<P>,
    pasts: Peekable<H>,
    freed: Peekable<F>,
    descending: bool,
}

/// All that is known of the versions of one key.
struct Sources<'a> {
    /// The newest version.
    present: Option<&'a Record>,
    /// The version at the revision of the reader, as far as the history knows.
    past: Version<'a>,
    /// The version that the history has freed, and that was valid at the revision of the reader.
    freed: Option<&'a Record>,
}

impl<'a, P, H, F> Merged<P, H, F>
where
    P: Iterator<Item = &'a Record>,
    H: Iterator<Item = (&'a [u8], Version<'a>)>,
    F: Iterator<Item = (&'a Arc<[u8]>, &'a Arc<Record>)>,
{
    fn next(&mut self) -> Option<(&'a [u8], Sources<'a>)> {
        let keys = [
            self.present.peek().map(|record| record.key()),
            self.pasts.peek().map(|(key, _)| *key),
            self.freed.peek().map(|(key, _)| &***key),
        ];
        let keys = keys.into_iter().flatten();
        let key = if self.descending { keys.max() } else { keys.min() }?;
        let sources = Sources {
            present: self.present.next_if(|record| record.key() == key),
            past: self.pasts.next_if(|(of, _)| *of == key).map_or(Version::Newest, |(_, version)| version),
            freed: self.freed.next_if(|(of, _)| ***of == *key).map(|(_, version)| &**version),
        };
        Some((key, sources))
    }
}

impl<'a> Sources<'a> {
    /// Returns the version that was valid at the revision `at`. If changes after it have been freed, the version before
    /// the next known change may be newer, and then says nothing.
    fn version_at(&self, at: Revision) -> Option<&'a Record> {
        let known = match self.past {
            Version::Past(version) => version,
            Version::Newest => self.present,
        };
        self.freed.or(known).filter(|version| version.item().mod_revision <= at)
    }
}
