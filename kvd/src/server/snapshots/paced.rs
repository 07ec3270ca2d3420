//! Reads a snapshot file at a bounded rate, on threads where nobody else waits for the disk.

use crate::storage::StorageError;
use crate::storage::snapshot::SnapshotBytes;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Rate limit for reading one snapshot, to send it or to serve a backup, so that its receiver takes neither all of the
/// network nor all of the processor. Bytes per second.
pub(super) const BYTES_PER_SECOND_MAX: u64 = 100_000_000;

/// Reads one snapshot, a chunk at a time.
#[derive(Debug)]
pub(super) struct PacedReader {
    bytes: SnapshotBytes,
    bytes_per_second_max: u64,
    began: Instant,
    read: u64,
}

impl PacedReader {
    /// Limits the average rate to `bytes_per_second_max`.
    pub(super) fn new(bytes: SnapshotBytes, bytes_per_second_max: u64) -> Self {
        Self { bytes, bytes_per_second_max, began: Instant::now(), read: 0 }
    }

    /// Returns the next chunk, checked. It is empty at the end of the file.
    ///
    /// # Errors
    /// As [`SnapshotBytes::next_chunk`].
    pub(super) async fn next(mut self) -> Result<(Self, Bytes), StorageError> {
        let due = Duration::from_secs_f64(self.read as f64 / self.bytes_per_second_max as f64);
        sleep_until(self.began + due).await;
        blocking(move || {
            let mut chunk = Vec::new();
            self.bytes.next_chunk(&mut chunk)?;
            self.read += chunk.len() as u64;
            Ok((self, chunk.into()))
        })
        .await
    }
}

/// Runs work that waits for the disk on a thread where nobody else waits for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
