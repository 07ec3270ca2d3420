//! Writing a snapshot of the store, on a thread of its own.

use super::super::reporter::{ReportPanic, Reporter};
use super::event::{SnapshotEvent, Taken};
use crate::kv::Store;
use crate::storage::snapshot::{SnapshotMeta, SnapshotWriter};
use crate::storage::{Disk, StorageError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Instant;

/// Bytes of a piece. The store can be read while a piece is made, and written to between two pieces.
const PIECE_BYTES: usize = 64 << 10;

/// Writes the snapshot that has been begun in the store, and reports [`SnapshotEvent::Taken`]. `stop` ends it.
pub(super) fn start(
    disk: Arc<dyn Disk>,
    store: Arc<RwLock<Store>>,
    meta: SnapshotMeta,
    stop: Arc<AtomicBool>,
    reporter: Reporter<SnapshotEvent>,
) {
    start_on(thread::Builder::new().name("snapshot".into()), disk, store, meta, stop, reporter);
}

fn start_on(
    thread: thread::Builder,
    disk: Arc<dyn Disk>,
    store: Arc<RwLock<Store>>,
    meta: SnapshotMeta,
    stop: Arc<AtomicBool>,
    reporter: Reporter<SnapshotEvent>,
) {
    let (reports, begun) = (reporter.clone(), Arc::clone(&store));
    let take = move || {
        let _report = ReportPanic(reports.clone());
        let taken = write(disk, &store, &meta, &stop);
        // Dropping the rest may take a while, and nobody should wait for that.
        let remains = store.write().unwrap_or_else(PoisonError::into_inner).end_snapshot();
        drop(remains);
        reports.report(SnapshotEvent::Taken(taken));
    };
    if let Err(cause) = thread.spawn(take) {
        drop(begun.write().unwrap_or_else(PoisonError::into_inner).end_snapshot());
        reporter.report(SnapshotEvent::Taken(Ok(Taken::NotBegun(cause))));
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
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => {
                writer.abandon()?;
                return Ok(Taken::GivenUp);
            }
        }
    }
    loop {
        let piece = store.read().unwrap_or_else(PoisonError::into_inner).history_piece(PIECE_BYTES);
        match piece {
            // A single version may be larger than any part of a snapshot.
            Ok(Some(piece)) if !stop.load(Ordering::Relaxed) => {
                piece.chunks(PIECE_BYTES).try_for_each(|part| writer.write_history(part))?;
            }
            Ok(None) => return Ok(Taken::Whole { file: writer.finish()?, took: began.elapsed() }),
            Ok(Some(_)) | Err(_) => {
                writer.abandon()?;
                return Ok(Taken::GivenUp);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Command, Operation, Put};
    use crate::raft::{ClusterTime, Configuration, LogBase, LogIndex, SnapshotPlace, Term};
    use crate::storage::MemoryDisk;

    fn meta(store: &RwLock<Store>) -> SnapshotMeta {
        let summary = store.write().unwrap().begin_snapshot().unwrap().encode();
        let place = SnapshotPlace {
            last: LogBase { index: LogIndex(1), term: Term(1) },
            time: ClusterTime(0),
            configuration: Configuration::default(),
            configuration_index: LogIndex(1),
        };
        SnapshotMeta { cluster_id: 1, place, summary: summary.into() }
    }

    #[test]
    fn a_version_of_the_past_may_be_as_large_as_a_part_of_a_snapshot() {
        let mut store = Store::default();
        for value in [vec![7; 8 << 20], vec![8]] {
            let operation = Operation::Set { put: Put::new("k", value), condition: None };
            store.apply(0, &Command { operation, request: None });
        }
        let store = Arc::new(RwLock::new(store));
        let meta = meta(&store);
        let (reporter, mut reported) = Reporter::channel();
        start(Arc::new(MemoryDisk::new()), Arc::clone(&store), meta, Arc::default(), reporter);
        let event = reported.blocking_recv().expect("it reports");
        assert!(matches!(event, Ok(SnapshotEvent::Taken(Ok(Taken::Whole { .. })))), "{event:?}");
    }

    #[test]
    fn without_a_thread_there_is_no_snapshot_and_the_next_can_begin() {
        let store = Arc::new(RwLock::new(Store::default()));
        let meta = meta(&store);
        let (reporter, mut reported) = Reporter::channel();
        // No machine has that much memory.
        let thread = thread::Builder::new().stack_size(usize::MAX / 4);
        start_on(thread, Arc::new(MemoryDisk::new()), Arc::clone(&store), meta, Arc::default(), reporter);
        let event = reported.try_recv().expect("it reports at once");
        assert!(matches!(event, Ok(SnapshotEvent::Taken(Ok(Taken::NotBegun(_))))), "{event:?}");
        assert!(store.write().unwrap().begin_snapshot().is_ok());
    }
}
