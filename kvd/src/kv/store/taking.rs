//! Takes snapshots; [`super::super::snapshot`] explains what a snapshot is and how it keeps up with commands.
//!
//! An item has the revision of its last change, and no revision is used twice, so it is easy to tell whether the item
//! belongs to the snapshot. Items come first, then sessions, which `sessions/taking.rs` takes in the same manner.

use super::super::hash::Kind;
use super::super::pieces::{Content, ENTRY_HEADER_BYTES, PieceWriter};
use super::super::record::Record;
use super::super::sessions::KeptSession;
use super::super::snapshot::{NoSnapshot, SnapshotBusy};
use super::super::walk::{Keep, View, Walk};
use super::Store;
use crate::mutants::{self, Mutant};
use bytes::Bytes;
use kvclient::snapshot::Summary;
use std::fmt;
use std::ops::Bound;

/// Kept entries left behind by a snapshot that has ended. Drop them once the store's lock is released: if the snapshot
/// was given up, they may be as much as the store holds.
#[must_use = "drop it when the store's lock is released"]
pub struct SnapshotRemains {
    items: Option<Walk<Record>>,
    sessions: Option<Walk<KeptSession>>,
}

impl SnapshotRemains {
    /// Number of items and sessions that changed and were not written: none after the last piece.
    pub fn len(&self) -> usize {
        self.items.as_ref().map_or(0, Walk::kept) + self.sessions.as_ref().map_or(0, Walk::kept)
    }

    /// Returns true if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for SnapshotRemains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotRemains").field("len", &self.len()).finish()
    }
}

impl Store {
    /// Begins a snapshot of the current state. Takes no time; until [`Store::end_snapshot`], entries that commands
    /// change are kept as they were until a piece has taken them.
    ///
    /// # Errors
    /// [`SnapshotBusy`] until the previous one has been ended.
    pub fn begin_snapshot(&mut self) -> Result<Summary, SnapshotBusy> {
        if self.walk.is_some() {
            return Err(SnapshotBusy);
        }
        let has_sessions = !mutants::is_on(Mutant::SessionsNotInSnapshot);
        let keys = self.len() as u64;
        let (sessions, sessions_hash) =
            if has_sessions { (self.sessions.len() as u64, self.sessions.hash()) } else { Default::default() };
        let content_bytes = self.items_hash.bytes() + sessions_hash.bytes();
        let summary = Summary {
            level: self.level.0,
            revision: self.revision,
            time_ms: self.sessions.now_ms(),
            keys,
            sessions,
            data_bytes: content_bytes + (keys + sessions) * ENTRY_HEADER_BYTES as u64,
            state_hash: self.hash_with(self.items_hash, sessions_hash).0,
        };
        self.walk = Some(Walk::new(self.revision));
        if has_sessions {
            self.sessions.begin_snapshot();
        }
        Ok(summary)
    }

    /// Writes the next piece, of at most `bytes_max` bytes; `None` when the snapshot is complete. A piece may be
    /// shorter, or even empty, where many items are small or newer than the snapshot. Only one caller at a time should
    /// ask for pieces.
    ///
    /// It needs only the store's read lock: other readers are not delayed, and a writer only as long as it takes to
    /// look at 2048 entries and copy `bytes_max` bytes.
    ///
    /// # Errors
    /// [`NoSnapshot`] if none was begun.
    pub fn snapshot_piece(&self, bytes_max: usize) -> Result<Option<Bytes>, NoSnapshot> {
        let walk = self.walk.as_ref().ok_or(NoSnapshot)?;
        let mut piece = PieceWriter::new(bytes_max);
        let present = |from: Bound<&[u8]>| self.records.range::<[u8], _>((from, Bound::Unbounded)).map(Keep::view);
        let is_complete = walk.write(present, &mut piece) && self.sessions.write_snapshot(&mut piece);
        let piece = piece.finish();
        Ok((!piece.is_empty() || !is_complete).then_some(piece))
    }

    /// Ends the snapshot, complete or not; if there is none, nothing happens.
    pub fn end_snapshot(&mut self) -> SnapshotRemains {
        SnapshotRemains { items: self.walk.take(), sessions: self.sessions.end_snapshot() }
    }

    /// Keeps a record for the snapshot in progress if needed. Call this for each record that has been replaced or
    /// removed.
    pub(super) fn keep_for_snapshot(&mut self, old: Record) {
        if let Some(walk) = &mut self.walk
            && walk.wants(old.key(), old.item().mod_revision)
        {
            walk.keep(old);
        }
    }
}

impl Keep for Record {
    type Key = [u8];
    const KIND: Kind = Kind::Item;

    fn key(&self) -> &[u8] {
        self.key()
    }

    fn view(&self) -> View<'_, [u8]> {
        let content = Content { head: self.canonical_bytes().into(), tail: &[] };
        View { key: self.key(), last_change: self.item().mod_revision, content }
    }
}

#[cfg(test)]
mod tests;
