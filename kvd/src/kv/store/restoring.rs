//! Builds a store from a snapshot's pieces.
//!
//! The pieces may come from a damaged file or from any sender, so nothing in them is trusted: each entry is checked
//! when it arrives, against its neighbour and the summary, and all of them at the end against the state's hash. Memory
//! use is in proportion to the data received, never to the sizes announced.

use super::super::hash::{HashSum, Kind, StateHash};
use super::super::history::RestoringHistory;
use super::super::item::Revision;
use super::super::leases::RestoringLeases;
use super::super::level::Level;
use super::super::pieces::{Entry, split_entry};
use super::super::places::Places;
use super::super::record::Record;
use super::super::rules::check_key;
use super::super::sessions::{RestoringSessions, SESSIONS_MAX, SessionLimits};
use super::super::snapshot::{RestoreError, malformed};
use super::Store;
use kvclient::snapshot::Summary;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

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
    leases: RestoringLeases,
    history: RestoringHistory,
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
        // It took one change to create each key, as long as a change was of one key.
        if summary.keys >= summary.revision && Level(summary.level) < Level::DATA_MODEL {
            return Err(malformed("number of keys"));
        }
        if summary.sessions > SESSIONS_MAX as u64 {
            return Err(malformed("number of sessions"));
        }
        let (unread, records) = (Vec::new(), Vec::new());
        let (items_hash, sessions) = (HashSum::default(), RestoringSessions::default());
        let (leases, history) = (RestoringLeases::default(), RestoringHistory::default());
        Ok(Self { summary, bytes: 0, unread, records, items_hash, sessions, leases, history })
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

    /// Takes the next piece of the history, which comes after the state.
    ///
    /// # Errors
    /// [`RestoreError::Malformed`].
    pub fn history_piece(&mut self, piece: &[u8]) -> Result<(), RestoreError> {
        self.history.piece(piece, self.summary.revision)
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
            Entry::Lease(canonical) => {
                self.leases.add(canonical)?;
                at_most("leases", self.summary.leases, self.leases.len())
            }
        }
    }

    fn add_item(&mut self, canonical: &[u8]) -> Result<(), RestoreError> {
        let record = Record::read(canonical).ok_or(malformed("an item"))?;
        check_key(record.key()).map_err(|_| malformed("a key"))?;
        if !record.item().is_possible_at(self.summary.revision) {
            return Err(malformed("an item's revisions or version"));
        }
        if self.sessions.len() > 0 || self.leases.len() > 0 || self.records.last().is_some_and(|last| *last >= record) {
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
        let Self { summary, bytes, unread, records, items_hash, sessions, leases, history } = self;
        for (what, expected, found) in [
            ("bytes", summary.data_bytes, bytes),
            ("keys", summary.keys, records.len() as u64),
            ("sessions", summary.sessions, sessions.len() as u64),
            ("leases", summary.leases, leases.len() as u64),
        ] {
            if found != expected {
                return Err(RestoreError::Count { what, expected, found });
            }
        }
        if !unread.is_empty() {
            return Err(malformed("bytes after the end"));
        }
        let leases = leases.finish(summary.leases_chosen, &records)?;
        let mut places = Places::default();
        for record in &records {
            let item = record.item();
            if let Some(lease) = item.lease {
                places.add(record.key(), lease, item.create_revision, None);
            }
        }
        let level = Level(summary.level);
        // From sorted data the tree is built at once, not by one insertion after the other.
        let records: BTreeSet<Record> = records.into_iter().collect();
        let newest = |key: &[u8]| records.get(key).map(|record| record.item().mod_revision);
        let history = history.finish(summary.revision, newest)?;
        let mut sessions = sessions.finish(summary.time_ms);
        sessions.reach(level);
        let store = Store {
            records,
            revision: summary.revision,
            level,
            sessions,
            leases,
            places,
            items_hash,
            history,
            readers: Arc::default(),
            snapshot: None,
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
