//! Builds a store from a snapshot's pieces.
//!
//! The pieces may come from a damaged file or from any sender, so nothing in them is trusted: each entry is checked
//! when it arrives, against its neighbour and the summary, and all of them at the end against the state's hash. Memory
//! use is in proportion to the data received, never to the sizes announced.

use super::super::command::{Revision, check_key};
use super::super::hash::{HashSum, Kind, StateHash};
use super::super::level::Level;
use super::super::pieces::{Entry, split_entry};
use super::super::record::Record;
use super::super::sessions::{RestoringSessions, SESSIONS_MAX, SessionLimits};
use super::super::snapshot::{RestoreError, malformed};
use super::Store;
use kvclient::snapshot::Summary;
use std::fmt;

/// Highest revision that a store can reach; at a million changes a second it would take 292,000 years. So adding to a
/// restored revision never overflows.
const REVISION_MAX: Revision = 1 << 63;

/// A store that is being restored; not all pieces have arrived.
pub struct Restoring {
    summary: Summary,
    /// Bytes of the pieces received.
    bytes: u64,
    /// The start of an entry whose rest is in later pieces.
    unread: Vec<u8>,
    /// Ordered by key.
    records: Vec<Record>,
    items_hash: HashSum,
    sessions: RestoringSessions,
}

impl fmt::Debug for Restoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restoring").field("summary", &self.summary).field("bytes", &self.bytes).finish()
    }
}

impl Restoring {
    /// Begins to restore the snapshot that `summary` describes.
    ///
    /// # Errors
    /// [`RestoreError::Malformed`] if there can be no such store.
    pub fn new(summary: Summary) -> Result<Self, RestoreError> {
        if !(1..=REVISION_MAX).contains(&summary.revision) {
            return Err(malformed("revision"));
        }
        // It took one change to create each key.
        if summary.keys >= summary.revision {
            return Err(malformed("number of keys"));
        }
        if summary.sessions > SESSIONS_MAX as u64 {
            return Err(malformed("number of sessions"));
        }
        let (unread, records) = (Vec::new(), Vec::new());
        let (items_hash, sessions) = (HashSum::default(), RestoringSessions::default());
        Ok(Self { summary, bytes: 0, unread, records, items_hash, sessions })
    }

    /// Takes the next piece. After an error, give up.
    ///
    /// # Errors
    /// Every [`RestoreError`] but an unknown level, as soon as the data received cannot be the start of the snapshot.
    pub fn piece(&mut self, piece: &[u8]) -> Result<(), RestoreError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.summary.data_bytes {
            return Err(RestoreError::Count { what: "bytes", expected: self.summary.data_bytes, found: self.bytes });
        }
        let mut unread = std::mem::take(&mut self.unread);
        unread.extend_from_slice(piece);
        let mut rest = unread.as_slice();
        while let Some((entry, next)) = split_entry(rest)? {
            self.add(entry)?;
            rest = next;
        }
        let read = unread.len() - rest.len();
        unread.drain(..read);
        self.unread = unread;
        Ok(())
    }

    fn add(&mut self, entry: Entry<'_>) -> Result<(), RestoreError> {
        match entry {
            Entry::Item(canonical) => {
                self.add_item(canonical)?;
                at_most("keys", self.summary.keys, self.records.len())
            }
            Entry::Session(canonical) => {
                self.sessions.add(canonical, &self.summary)?;
                at_most("sessions", self.summary.sessions, self.sessions.len())
            }
        }
    }

    fn add_item(&mut self, canonical: &[u8]) -> Result<(), RestoreError> {
        let record = Record::read(canonical).ok_or(malformed("an item"))?;
        check_key(record.key()).map_err(|_| malformed("a key"))?;
        if !record.item().is_possible_at(self.summary.revision) {
            return Err(malformed("an item's revisions or version"));
        }
        if self.sessions.len() > 0 || self.records.last().is_some_and(|last| *last >= record) {
            return Err(RestoreError::OutOfOrder { entry: "an item" });
        }
        self.items_hash.add(Kind::Item, canonical);
        self.records.push(record);
        Ok(())
    }

    /// Returns the store, when all pieces have arrived.
    ///
    /// # Errors
    /// [`RestoreError::Count`] if something is missing, [`RestoreError::StateHash`] if the data differs from what was
    /// written.
    pub fn finish(self) -> Result<Store, RestoreError> {
        let Self { summary, bytes, unread, records, items_hash, sessions } = self;
        for (what, expected, found) in [
            ("bytes", summary.data_bytes, bytes),
            ("keys", summary.keys, records.len() as u64),
            ("sessions", summary.sessions, sessions.len() as u64),
        ] {
            if found != expected {
                return Err(RestoreError::Count { what, expected, found });
            }
        }
        if !unread.is_empty() {
            return Err(malformed("bytes after the end"));
        }
        let store = Store {
            // From sorted data the tree is built at once, not by one insertion after the other.
            records: records.into_iter().collect(),
            revision: summary.revision,
            level: Level(summary.level),
            sessions: sessions.finish(summary.time_ms),
            items_hash,
            walk: None,
        };
        match store.state_hash() {
            found if found.0 == summary.state_hash => Ok(store),
            found => Err(RestoreError::StateHash { expected: StateHash(summary.state_hash), found }),
        }
    }

    /// Restores a store with these limits. Call this before the first piece.
    #[must_use]
    pub fn with_session_limits(mut self, limits: SessionLimits) -> Self {
        self.sessions = RestoringSessions::with_limits(limits);
        self
    }
}

fn at_most(what: &'static str, expected: u64, found: usize) -> Result<(), RestoreError> {
    let found = found as u64;
    if found > expected { Err(RestoreError::Count { what, expected, found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
