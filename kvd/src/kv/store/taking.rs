//! Takes snapshots; [`super::super::snapshot`] explains what a snapshot is and how it keeps up with commands.
//!
//! Items come first, read by a walk along the keys at the revision at which the snapshot was begun. Then come sessions
//! and leases, which change without a revision: `sessions/taking.rs` and `leases/taking.rs` keep what changes. Last
//! comes the history, which is not part of the state.

use super::super::hash::Kind;
use super::super::key_range::KeyRange;
use super::super::leases::KeptLease;
use super::super::level::Level;
use super::super::pieces::{Content, ENTRY_HEADER_BYTES, PieceWriter};
use super::super::readers::Readers;
use super::super::scan::{Scan, Visit};
use super::super::sessions::KeptSession;
use super::super::snapshot::{NoSnapshot, SnapshotBusy};
use super::super::snapshot_walk::{Place, SnapshotWalk};
use super::super::walk::Walk;
use super::Store;
use crate::mutants::{self, Mutant};
use bytes::Bytes;
use kvclient::snapshot::Summary;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Entries kept for a snapshot that has ended. Drop them once the store's lock is released: if the snapshot was given
/// up, they may be as much as the store holds.
#[must_use = "drop it when the store's lock is released"]
pub struct SnapshotRemains {
    items: Option<SnapshotWalk>,
    sessions: Option<Walk<KeptSession>>,
    leases: Option<Walk<KeptLease>>,
}

impl SnapshotRemains {
    /// Number of items, sessions and leases that were kept and not written: zero after the last piece.
    pub fn len(&self) -> usize {
        self.items.as_ref().map_or(0, |items| items.pin.kept().versions().len())
            + self.sessions.as_ref().map_or(0, Walk::kept)
            + self.leases.as_ref().map_or(0, Walk::kept)
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
        if self.snapshot.is_some() {
            return Err(SnapshotBusy);
        }
        let has_sessions = !mutants::is_on(Mutant::SessionsNotInSnapshot);
        let (keys, leases) = (self.len() as u64, self.leases.len() as u64);
        let (sessions, sessions_hash) =
            if has_sessions { (self.sessions.len() as u64, self.sessions.hash()) } else { Default::default() };
        let leases_hash = self.leases.hash();
        let content_bytes = self.items_hash.bytes() + sessions_hash.bytes() + leases_hash.bytes();
        let summary = Summary {
            level: self.level.0,
            revision: self.revision,
            time_ms: self.sessions.now_ms(),
            keys,
            sessions,
            leases,
            leases_chosen: self.leases.chosen(),
            data_bytes: content_bytes + (keys + sessions + leases) * ENTRY_HEADER_BYTES as u64,
            state_hash: self.hash_with(self.items_hash, sessions_hash, leases_hash).0,
        };
        self.snapshot = Some(SnapshotWalk {
            pin: Readers::open(&self.readers, self.revision, false),
            place: Mutex::new(Place { items: Scan::new(KeyRange::ALL, false), written: 0, history: None }),
            history_bytes_max: summary.data_bytes,
        });
        if has_sessions {
            self.sessions.begin_snapshot();
        }
        self.leases.begin_snapshot();
        Ok(summary)
    }

    /// Writes the next piece, of at most `bytes_max` bytes; `None` when the state is complete. A piece may be shorter,
    /// or even empty, where many items are small or newer than the snapshot. Only one caller at a time should ask for
    /// pieces.
    ///
    /// It needs only the store's read lock: other readers are not delayed, and a writer only as long as it takes to
    /// look at 2048 entries and copy `bytes_max` bytes.
    ///
    /// # Errors
    /// [`NoSnapshot`] if none was begun.
    pub fn snapshot_piece(&self, bytes_max: usize) -> Result<Option<Bytes>, NoSnapshot> {
        let SnapshotWalk { pin, place, .. } = self.snapshot.as_ref().ok_or(NoSnapshot)?;
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let Place { items, written, .. } = &mut *place;
        let mut piece = PieceWriter::new(bytes_max);
        let read = self.read_records(pin, items, |record| {
            if piece.is_full() {
                return Visit::StopBefore;
            }
            let content = Content { head: record.canonical_bytes().into(), tail: &[] };
            match piece.put(Kind::Item, &content, *written) {
                Some(so_far) => {
                    *written = so_far;
                    Visit::StopBefore
                }
                None => {
                    *written = 0;
                    Visit::Next
                }
            }
        });
        read.expect("a reader that is not counted never ends early");
        let is_complete =
            items.is_done() && self.sessions.write_snapshot(&mut piece) && self.leases.write_snapshot(&mut piece);
        let piece = piece.finish();
        Ok((!piece.is_empty() || !is_complete).then_some(piece))
    }

    /// Writes the next piece of the history up to the revision of the snapshot, of about `bytes_max` bytes; `None` when
    /// there is no more. Call it when the state is complete. The history is that of this node: other nodes remember
    /// more, or less. It is bounded by the size of the state.
    ///
    /// # Errors
    /// [`NoSnapshot`] if none was begun.
    pub fn history_piece(&self, bytes_max: usize) -> Result<Option<Bytes>, NoSnapshot> {
        let SnapshotWalk { pin, place, history_bytes_max } = self.snapshot.as_ref().ok_or(NoSnapshot)?;
        if self.level < Level::DATA_MODEL {
            return Ok(None);
        }
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        let history = &mut place.history;
        let walk = history.get_or_insert_with(|| self.history.walk(pin.revision(), *history_bytes_max));
        Ok(self.history.write(walk, bytes_max))
    }

    /// Ends the snapshot, complete or not; if there is none, nothing happens.
    pub fn end_snapshot(&mut self) -> SnapshotRemains {
        let (sessions, leases) = (self.sessions.end_snapshot(), self.leases.end_snapshot());
        SnapshotRemains { items: self.snapshot.take(), sessions, leases }
    }
}

#[cfg(test)]
mod tests;
