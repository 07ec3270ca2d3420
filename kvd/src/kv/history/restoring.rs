//! Restores the history from a snapshot.

use super::super::codec::Reader;
use super::super::item::Revision;
use super::super::record::Record;
use super::super::rules::check_key;
use super::super::snapshot::{RestoreError, malformed};
use super::taking::{CHANGED, CREATED, END};
use super::{History, HistoryLimits};
use crate::mutants::{self, Mutant};

/// A history that is being restored; not all of it has arrived.
#[derive(Default)]
pub(in crate::kv) struct RestoringHistory {
    /// The start of an entry whose rest is in later pieces.
    unread: Vec<u8>,
    /// The newest first.
    changes: Vec<Change>,
    /// Oldest revision that is whole, once the end has come.
    first: Option<Revision>,
}

struct Change {
    revision: Revision,
    key: Box<[u8]>,
    before: Option<Record>,
}

impl RestoringHistory {
    /// Takes the next piece of the history of a store at `newest` revision.
    pub(in crate::kv) fn piece(&mut self, piece: &[u8], newest: Revision) -> Result<(), RestoreError> {
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend_from_slice(piece);
        let mut from = Reader::new(&unread);
        let mut read = 0;
        while let Some(entry) = Entry::read(&mut from)? {
            read = unread.len() - from.rest().len();
            if self.first.is_some() {
                return Err(malformed("history behind its end"));
            }
            match entry {
                Entry::End(first) if first <= newest + 1 => self.first = Some(first),
                Entry::Change(change) if (2..=self.oldest(newest)).contains(&change.revision) => {
                    self.changes.push(change);
                }
                Entry::End(_) | Entry::Change(_) => return Err(malformed("a revision of the history")),
            }
        }
        unread.drain(..read);
        self.unread = unread;
        Ok(())
    }

    fn oldest(&self, newest: Revision) -> Revision {
        self.changes.last().map_or(newest, |oldest| oldest.revision)
    }

    /// Returns the history. `revision_of` returns the revision at which a key of the store was last changed.
    ///
    /// # Errors
    /// [`RestoreError::Malformed`] if it cannot have led to the store.
    pub(in crate::kv) fn finish(
        self,
        newest: Revision,
        revision_of: impl Fn(&[u8]) -> Option<Revision>,
    ) -> Result<History, RestoreError> {
        let Self { unread, changes, first } = self;
        let mut history = History::new(HistoryLimits::default(), newest);
        let Some(first) = first else {
            let has_none = changes.is_empty() && unread.is_empty();
            return if has_none { Ok(history) } else { Err(malformed("history without an end")) };
        };
        if !unread.is_empty() {
            return Err(malformed("history behind its end"));
        }
        (history.first, history.floor) = (first, first.saturating_sub(1).max(1));
        let is_kept = |change: &Change| change.revision >= first && !mutants::is_on(Mutant::HistoryClaimed);
        for Change { revision, key, before } in changes.into_iter().rev().filter(is_kept) {
            let is_first = history.pasts.get(&key[..]).is_none_or(|pasts| {
                let last = pasts.newest();
                last < revision && before.as_ref().is_none_or(|before| before.item().mod_revision == last)
            });
            if !is_first {
                return Err(malformed("the changes of a key"));
            }
            history.push(revision, key.into(), before);
        }
        for (key, pasts) in &history.pasts {
            if revision_of(key).is_some_and(|revision| revision != pasts.newest()) {
                return Err(malformed("the newest change of a key"));
            }
        }
        Ok(history)
    }
}

enum Entry {
    Change(Change),
    End(Revision),
}

impl Entry {
    /// Reads the next entry; `None` if it is not complete.
    fn read(from: &mut Reader<'_>) -> Result<Option<Self>, RestoreError> {
        let mut entry = Reader::new(from.rest());
        let Some(kind) = entry.u8() else { return Ok(None) };
        let read = match kind {
            CREATED | CHANGED => Self::read_change(kind, &mut entry)?,
            END => entry.varint().map(Self::End),
            _ => return Err(malformed("kind of an entry of the history")),
        };
        if read.is_some() {
            *from = entry;
        }
        Ok(read)
    }

    fn read_change(kind: u8, from: &mut Reader<'_>) -> Result<Option<Self>, RestoreError> {
        let Some((revision, bytes)) = from.varint().zip(from.bytes()) else { return Ok(None) };
        let change = if kind == CREATED {
            Change { revision, key: bytes.into(), before: None }
        } else {
            let before = Record::read(bytes).filter(|before| before.item().is_possible_at(revision.saturating_sub(1)));
            let before = before.ok_or(malformed("a version in the history"))?;
            Change { revision, key: before.key().into(), before: Some(before) }
        };
        check_key(&change.key).map_err(|_| malformed("a key of the history"))?;
        Ok(Some(Self::Change(change)))
    }
}
