//! Writing a snapshot of the store, on a thread of its own.

use super::super::inbox::Event;
use crate::kv::Store;
use crate::storage::snapshot::{SnapshotFile, SnapshotMeta, SnapshotWriter};
use crate::storage::{Disk, StorageError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Bytes of a piece. The store can be read meanwhile, and is written to in between.
const PIECE_BYTES: usize = 64 << 10;

/// How a snapshot ended that was begun.
#[derive(Debug)]
pub(in crate::server) enum Taken {
    /// It is durable.
    Whole {
        /// Where.
        file: SnapshotFile,
        /// How long that took.
        took: Duration,
    },
    /// The node stops, or the state that it was taken of is no more: another node's snapshot took its place.
    GivenUp,
}

/// Writes the snapshot that has been begun in the store, and reports [`Event::SnapshotTaken`]. `stop` ends it.
pub(super) fn start(
    disk: Arc<dyn Disk>,
    store: Arc<RwLock<Store>>,
    meta: SnapshotMeta,
    stop: Arc<AtomicBool>,
    events: UnboundedSender<Event>,
) {
    let reports = events.clone();
    let take = move || {
        let taken = write(disk, &store, &meta, &stop);
        // What is left of it may take a while to drop, and nobody should wait for that.
        let remains = store.write().unwrap_or_else(PoisonError::into_inner).end_snapshot();
        drop(remains);
        // Without a receiver the node has stopped.
        let _ = reports.send(Event::SnapshotTaken(taken));
    };
    if let Err(cause) = thread::Builder::new().name("snapshot".into()).spawn(take) {
        let failed = StorageError::Io { action: "start the thread that writes", file: "a snapshot".into(), cause };
        let _ = events.send(Event::SnapshotTaken(Err(failed)));
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
