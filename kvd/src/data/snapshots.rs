//! Snapshots as a whole: restoring a store from one, and receiving one from another node.

use super::error::DataError;
use crate::kv::{Level, RestoreError, Restoring, SessionLimits, Store};
use crate::raft::SnapshotPlace;
use crate::storage::snapshot::{
    Decoder, Part, Piece, SnapshotError, SnapshotFile, SnapshotMeta, SnapshotReader, SnapshotWriter,
};
use crate::storage::{Disk, StorageError};
use bytes::Bytes;
use kvclient::snapshot::Summary;
use std::sync::Arc;
use thiserror::Error;

/// Begins to restore a store from a snapshot with this beginning, and refuses a level above `level_max`.
pub(super) fn begin_store(
    meta: &SnapshotMeta,
    limits: SessionLimits,
    level_max: Level,
) -> Result<Restoring, RestoreError> {
    let summary = Summary::decode(&meta.summary)?;
    if Level(summary.level) > level_max {
        return Err(RestoreError::UnknownLevel(Level(summary.level)));
    }
    Ok(Restoring::new(summary)?.with_session_limits(limits))
}

/// Returns the store in a snapshot file.
pub(super) fn load(reader: &mut SnapshotReader, limits: SessionLimits) -> Result<Store, DataError> {
    let mut restoring = begin_store(reader.meta(), limits, Level::NEWEST)?;
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Data(data) => restoring.piece(&data)?,
            Piece::History(history) => restoring.history_piece(&history)?,
        }
    }
    Ok(restoring.finish()?)
}

/// Reason why an incoming snapshot cannot be installed. Nothing has changed; its sender may start again.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// The bytes are no snapshot, or were damaged on the way.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The snapshot belongs to another cluster.
    #[error("the snapshot belongs to another cluster")]
    OtherCluster,
    /// The snapshot's data is not a store, or not the store that its summary describes.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// This node's disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// An incoming snapshot. It arrives in pieces of any size, and is checked, written to disk and restored to a store on
/// the way.
#[derive(Debug)]
pub struct Receiving {
    disk: Arc<dyn Disk>,
    cluster_id: u64,
    limits: SessionLimits,
    level_max: Level,
    decoder: Decoder,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    place: SnapshotPlace,
    writer: SnapshotWriter,
    restoring: Restoring,
}

/// A snapshot that has arrived completely.
#[derive(Debug)]
pub struct Received {
    /// File of the snapshot, which is durable.
    pub file: SnapshotFile,
    /// Place at which the snapshot ends.
    pub place: SnapshotPlace,
    /// Store in the snapshot.
    pub store: Store,
}

impl Receiving {
    /// Expects a snapshot of this cluster, to be kept on this disk.
    pub fn new(disk: Arc<dyn Disk>, cluster_id: u64, limits: SessionLimits) -> Self {
        let level_max = Level::NEWEST;
        Self { disk, cluster_id, limits, level_max, decoder: Decoder::new(), begun: None }
    }

    /// Refuses snapshots of a level above `level_max`.
    #[must_use]
    pub fn with_level_max(self, level_max: Level) -> Self {
        Self { level_max, ..self }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ReceiveError`], after which the remaining bytes are useless.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.decoder.feed(bytes);
        while let Some(part) = self.decoder.next_part()? {
            match part {
                Part::Head(head) => self.begin(SnapshotMeta::of(head)?)?,
                Part::Data(data) => self.take(&data)?,
                Part::History(history) => self.take_history(&history)?,
                Part::End(_) => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, meta: SnapshotMeta) -> Result<(), ReceiveError> {
        if meta.cluster_id != self.cluster_id {
            return Err(ReceiveError::OtherCluster);
        }
        let restoring = begin_store(&meta, self.limits, self.level_max)?;
        let writer = SnapshotWriter::begin(Arc::clone(&self.disk), &meta)?;
        self.begun = Some(Begun { place: meta.place, writer, restoring });
        Ok(())
    }

    fn take(&mut self, data: &Bytes) -> Result<(), ReceiveError> {
        let Begun { writer, restoring, .. } = self.begun();
        restoring.piece(data)?;
        Ok(writer.write_data(data)?)
    }

    fn take_history(&mut self, history: &Bytes) -> Result<(), ReceiveError> {
        let Begun { writer, restoring, .. } = self.begun();
        restoring.history_piece(history)?;
        Ok(writer.write_history(history)?)
    }

    fn begun(&mut self) -> &mut Begun {
        self.begun.as_mut().expect("pieces come after what a snapshot begins with")
    }

    /// Abandons the snapshot, and removes the written bytes if possible. If that fails, or the process ends first, the
    /// next start removes them.
    pub fn abandon(self) {
        if let Some(Begun { writer, .. }) = self.begun {
            let _ = writer.abandon();
        }
    }

    /// Ends the snapshot after its last byte: it is durable when this returns `Ok`.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn finish(self) -> Result<Received, ReceiveError> {
        if let Err(cause) = self.decoder.finish() {
            self.abandon();
            return Err(cause.into());
        }
        let Begun { place, writer, restoring } = self.begun.expect("a whole snapshot has a beginning");
        // Only a snapshot that can be read back gets a final name.
        match restoring.finish() {
            Ok(store) => Ok(Received { file: writer.finish()?, place, store }),
            Err(cause) => {
                let _ = writer.abandon();
                Err(cause.into())
            }
        }
    }
}
