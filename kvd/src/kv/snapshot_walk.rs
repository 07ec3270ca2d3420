//! Progress of a snapshot.

use super::history::HistoryWalk;
use super::readers::Pin;
use super::scan::Scan;
use std::sync::Mutex;

/// A snapshot in progress or complete.
pub(super) struct SnapshotWalk {
    pub(super) pin: Pin,
    /// Behind a lock, since the walk goes on while other threads read the store, too.
    pub(super) place: Mutex<Place>,
    /// Most bytes of history: as many as the state has.
    pub(super) history_bytes_max: u64,
}

/// Progress of a snapshot.
pub(super) struct Place {
    pub(super) items: Scan,
    /// Bytes of the next item that are in earlier pieces.
    pub(super) written: usize,
    pub(super) history: Option<HistoryWalk>,
}
