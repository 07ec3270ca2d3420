//! Writing a snapshot of the store, on a thread of its own.

use super::super::reporter::Reporter;
use super::event::{SnapshotEvent, Taken};
use crate::kv::Store;
use crate::storage::snapshot::{SnapshotMeta, SnapshotWriter};
use crate::storage::{Disk, StorageError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Instant;

/// Bytes of a piece. The store can be read meanwhile, and is written to in between.
const PIECE_BYTES: usize = 64 << 10;

/// Writes the snapshot that has been begun in the store, and reports [`SnapshotEvent::Taken`]. `stop` ends it.
pub(super) fn start(
    disk: Arc<dyn Disk>,
    store: Arc<RwLock<Store>>,
    meta: SnapshotMeta,
    stop: Arc<AtomicBool>,
    reporter: Reporter<SnapshotEvent>,
) {
    let reports = reporter.clone();
    let take = move || {
        let taken = write(disk, &store, &meta, &stop);
        // What is left of it may take a while to drop, and nobody should wait for that.
        let remains = store.write().unwrap_or_else(PoisonError::into_inner).end_snapshot();
        drop(remains);
        reports.report(SnapshotEvent::Taken(taken));
    };
    if let Err(cause) = thread::Builder::new().name("snapshot".into()).spawn(take) {
        let failed = StorageError::Io { action: "start the thread that writes", file: "a snapshot".into(), cause };
        reporter.report(SnapshotEvent::Taken(Err(failed)));
    }
}

fn write(
    disk: Arc<dyn Disk>,
    store: &RwLock<Store>,
    meta: &SnapshotMeta,
    stop: &AtomicBool,
) -> Result<Taken, StorageError> {
    let began = Instant::now();
    let mut writer = SnapshotWriter::begin(disk, meta)?;
    loop {
        let piece = store.read().unwrap_or_else(PoisonError::into_inner).snapshot_piece(PIECE_BYTES);
        match piece {
            Ok(Some(piece)) if !stop.load(Ordering::Relaxed) => writer.write_data(&piece)?,
            Ok(None) => return Ok(Taken::Whole { file: writer.finish()?, took: began.elapsed() }),
            Ok(Some(_)) | Err(_) => {
                writer.abandon()?;
                return Ok(Taken::GivenUp);
            }
        }
    }
}
