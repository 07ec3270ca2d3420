//! Snapshots for tests.

use crate::kv::Level;
use crate::raft::{ClusterTime, Configuration, LogBase, LogIndex, SnapshotPlace, Term};
use crate::storage::snapshot::{SnapshotBytes, SnapshotFile, SnapshotMeta, SnapshotWriter};
use crate::storage::{Disk, MemoryDisk};
use kvclient::snapshot::Summary;
use std::sync::Arc;

/// Bytes of each piece of a snapshot.
pub(super) const PIECE_BYTES: usize = 32 << 10;

/// Writes a snapshot file that ends with entry `index` and has this many pieces. Its contents are not a store.
pub(super) fn write_snapshot(disk: &Arc<dyn Disk>, index: u64, pieces: u64) -> SnapshotFile {
    let (level, revision, data_bytes) = (Level::FIRST.0, index, pieces * PIECE_BYTES as u64);
    let summary = Summary {
        level,
        revision,
        time_ms: 0,
        keys: 0,
        sessions: 0,
        leases: 0,
        leases_chosen: 0,
        data_bytes,
        state_hash: 0,
    };
    let meta = SnapshotMeta {
        cluster_id: 1,
        place: SnapshotPlace {
            last: LogBase { index: LogIndex(index), term: Term(1) },
            time: ClusterTime(0),
            configuration: Configuration::default(),
            configuration_index: LogIndex(1),
        },
        summary: summary.encode().into(),
    };
    let mut writer = SnapshotWriter::begin(Arc::clone(disk), &meta).unwrap();
    (0..pieces).for_each(|_| writer.write_data(&[b'x'; PIECE_BYTES]).unwrap());
    writer.finish().unwrap()
}

/// Returns the bytes of such a snapshot.
pub(super) fn snapshot(index: u64, pieces: u64) -> Vec<u8> {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let file = write_snapshot(&disk, index, pieces);
    let mut bytes = SnapshotBytes::open(&*disk, file.last()).unwrap();
    let (mut whole, mut chunk) = (Vec::new(), Vec::new());
    while bytes.next_chunk(&mut chunk).is_ok() && !chunk.is_empty() {
        whole.extend_from_slice(&chunk);
    }
    whole
}
