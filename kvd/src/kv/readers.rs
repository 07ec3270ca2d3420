//! Readers of one revision, however long they take.
//!
//! A [`Pin`] holds a revision for a reader that walks along the keys while the store changes: a snapshot, or a client's
//! stream. When the history frees a version, it is kept for the reader if it was valid at the revision and its key lies
//! ahead of the reader. So a reader costs nothing as long as the history has the versions that it has yet to read.
//! After that, it costs at most the size of the store once more. The memory for clients' readers is bounded: beyond the
//! bound, the reader at the oldest revision ends.

use super::item::Revision;
use super::key_range::KeyRange;
use super::limits::StoreLimits;
use super::record::Record;
use crate::mutants::{self, Mutant};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory of a kept version beside its bytes. Bytes.
const VERSION_BYTES: u64 = 96;

/// The revision of a reader is no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the revision is no longer kept; the oldest is {oldest}")]
pub struct Forgotten {
    /// The oldest revision that can be read.
    pub oldest: Revision,
}

/// The readers that hold a revision of one store.
#[derive(Debug)]
pub(super) struct Readers {
    open: BTreeMap<(Revision, u64), Arc<Mutex<Kept>>>,
    opened: u64,
    /// Memory of the versions kept for counted readers, in bytes.
    bytes: Arc<AtomicU64>,
    /// Bound on that memory.
    bytes_max: u64,
}

impl Default for Readers {
    fn default() -> Self {
        let bytes_max = StoreLimits::default().reader_bytes_max;
        Self { open: BTreeMap::new(), opened: 0, bytes: Arc::default(), bytes_max }
    }
}

/// A revision held for a reader. Dropping it ends the reader.
pub struct Pin {
    place: (Revision, u64),
    readers: Arc<Mutex<Readers>>,
    kept: Arc<Mutex<Kept>>,
}

/// Versions that the history has freed and that one reader has yet to read.
#[derive(Default)]
pub(super) struct Kept {
    versions: BTreeMap<Arc<[u8]>, Arc<Record>>,
    /// The keys that the reader has yet to read.
    ahead: Option<KeyRange>,
    /// Memory of all versions, in bytes.
    bytes: u64,
    /// Counter to which that memory is added, if the reader is counted.
    counted: Option<Arc<AtomicU64>>,
    /// True if its versions had to be dropped.
    has_ended: bool,
}

impl Readers {
    /// Sets the memory that versions for counted readers may take, in bytes.
    pub(super) fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// Memory of the versions kept for counted readers, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Adds a reader of the revision `at`. `counted` is false for a reader that must never be ended early.
    pub(super) fn open(this: &Arc<Mutex<Self>>, at: Revision, counted: bool) -> Pin {
        let mut readers = lock(this);
        let place = (at, readers.opened);
        readers.opened += 1;
        let counted = counted.then(|| Arc::clone(&readers.bytes));
        let kept = Arc::new(Mutex::new(Kept { counted, ..Kept::default() }));
        readers.open.insert(place, Arc::clone(&kept));
        Pin { place, readers: Arc::clone(this), kept }
    }

    /// Keeps a version that the history frees, for every reader that has yet to read it. `changed` is the revision of
    /// the change that made it invalid.
    pub(super) fn keep(&mut self, changed: Revision, version: Record) {
        if self.open.is_empty() || mutants::is_on(Mutant::FreedNotKept) {
            return;
        }
        let valid = (version.item().mod_revision, 0)..(changed, 0);
        let mut shared: Option<(Arc<[u8]>, Arc<Record>)> = None;
        for kept in self.open.range(valid).map(|(_, kept)| kept) {
            let mut kept = lock(kept);
            if !kept.has_ended && kept.ahead.as_ref().is_none_or(|ahead| ahead.contains(version.key())) {
                let (key, version) = shared.get_or_insert_with(|| (version.key().into(), Arc::new(version.clone())));
                kept.insert(Arc::clone(key), Arc::clone(version));
            }
        }
        while self.bytes() > self.bytes_max {
            let furthest_behind = self.open.values().find(|kept| {
                let kept = lock(kept);
                kept.counted.is_some() && !kept.has_ended
            });
            let Some(furthest_behind) = furthest_behind else { break };
            lock(furthest_behind).end();
        }
    }
}

impl Pin {
    /// Returns the revision.
    pub fn revision(&self) -> Revision {
        self.place.0
    }

    /// Returns true if these are the readers of the store in which the revision is held.
    pub(super) fn is_among(&self, readers: &Arc<Mutex<Readers>>) -> bool {
        Arc::ptr_eq(&self.readers, readers)
    }

    /// Returns what is kept for the reader. Nothing is added as long as the caller has access to the store.
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("revision", &self.place.0).finish()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("versions", &self.versions.len()).field("bytes", &self.bytes).finish()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        lock(&self.readers).open.remove(&self.place);
        lock(&self.kept).end();
    }
}

impl Kept {
    /// Returns true if the reader cannot go on, since its versions had to be dropped.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The kept versions, by key.
    pub(super) fn versions(&self) -> &BTreeMap<Arc<[u8]>, Arc<Record>> {
        &self.versions
    }

    /// Records that the reader has yet to read only the keys of this range, and drops the others.
    pub(super) fn advance(&mut self, ahead: &KeyRange) {
        while let Some(first) = self.versions.first_entry().filter(|first| !ahead.contains(first.key())) {
            let (key, version) = first.remove_entry();
            self.uncount(version_bytes(&key, &version));
        }
        while let Some(last) = self.versions.last_entry().filter(|last| !ahead.contains(last.key())) {
            let (key, version) = last.remove_entry();
            self.uncount(version_bytes(&key, &version));
        }
        self.ahead = Some(ahead.clone());
    }

    fn insert(&mut self, key: Arc<[u8]>, version: Arc<Record>) {
        let bytes = version_bytes(&key, &version);
        self.bytes += bytes;
        if let Some(counted) = &self.counted {
            counted.fetch_add(bytes, Ordering::Relaxed);
        }
        let replaced = self.versions.insert(key, version);
        debug_assert!(replaced.is_none(), "one version of a key is valid at a revision");
    }

    fn uncount(&mut self, bytes: u64) {
        self.bytes -= bytes;
        if let Some(counted) = &self.counted {
            counted.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.versions = BTreeMap::new();
        self.uncount(self.bytes);
    }
}

fn version_bytes(key: &[u8], version: &Record) -> u64 {
    VERSION_BYTES + (key.len() + version.canonical_bytes().len()) as u64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
