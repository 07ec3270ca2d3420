//! Snapshots as a whole: what consensus has to know of one, and the store that its data is, over the one format that
//! files, streams between nodes and backups share.

use super::error::DataError;
use crate::kv::{Level, RestoreError, Restoring, SessionLimits, SnapshotSummary, Store};
use crate::raft::SnapshotPlace;
use crate::storage::snapshot::{
    SnapshotDecoder, SnapshotError, SnapshotFile, SnapshotItem, SnapshotMeta, SnapshotReader, SnapshotWriter,
};
use crate::storage::{Disk, StorageError};
use bytes::Bytes;
use std::sync::Arc;
use thiserror::Error;

/// What a snapshot begins with.
pub fn meta_of(cluster_id: u64, place: SnapshotPlace, summary: &SnapshotSummary) -> SnapshotMeta {
    let SnapshotPlace { last, time, configuration, configuration_index } = place;
    SnapshotMeta { cluster_id, last, time, configuration, configuration_index, summary: summary.encode() }
}

/// What consensus has to know of a snapshot.
pub fn place_of(meta: &SnapshotMeta) -> SnapshotPlace {
    let SnapshotMeta { last, time, configuration, configuration_index, .. } = meta.clone();
    SnapshotPlace { last, time, configuration, configuration_index }
}

/// The store that a snapshot file holds.
pub(super) fn load(reader: &mut SnapshotReader, limits: SessionLimits) -> Result<Store, DataError> {
    let summary = SnapshotSummary::decode(&reader.meta().summary)?;
    let mut restoring = Restoring::new(summary)?.with_session_limits(limits);
    while let Some(piece) = reader.next_data()? {
        restoring.piece(&piece)?;
    }
    Ok(restoring.finish()?)
}

/// Why a snapshot that arrives cannot be installed. Nothing has changed; its sender may begin anew.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// What arrived is no snapshot, or was damaged on its way.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It is of another cluster.
    #[error("the snapshot is of another cluster")]
    OtherCluster,
    /// Its data is no store, or not the one that it says.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// This node's disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A snapshot that arrives in whatever pieces, is checked, written to disk and made a store of, all on the way.
#[derive(Debug)]
pub struct Receiving {
    disk: Arc<dyn Disk>,
    cluster_id: u64,
    limits: SessionLimits,
    level_max: Level,
    decoder: SnapshotDecoder,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    place: SnapshotPlace,
    writer: SnapshotWriter,
    restoring: Restoring,
}

/// A snapshot that has arrived.
#[derive(Debug)]
pub struct Received {
    /// It is durable.
    pub file: SnapshotFile,
    /// Where it ends.
    pub place: SnapshotPlace,
    /// What it holds.
    pub store: Store,
}

impl Receiving {
    /// Awaits a snapshot of this cluster, to be kept on this disk.
    pub fn new(disk: Arc<dyn Disk>, cluster_id: u64, limits: SessionLimits) -> Self {
        let level_max = Level::NEWEST;
        Self { disk, cluster_id, limits, level_max, decoder: SnapshotDecoder::new(), begun: None }
    }

    /// Takes none of a level beyond `level_max`.
    #[must_use]
    pub fn with_level_max(self, level_max: Level) -> Self {
        Self { level_max, ..self }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ReceiveError`], after which the rest is of no use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        self.decoder.feed(bytes);
        while let Some(item) = self.decoder.next_item()? {
            match item {
                SnapshotItem::Meta(meta) => self.begin(&meta)?,
                SnapshotItem::Data(data) => self.take(&data)?,
                SnapshotItem::End(_) => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, meta: &SnapshotMeta) -> Result<(), ReceiveError> {
        if meta.cluster_id != self.cluster_id {
            return Err(ReceiveError::OtherCluster);
        }
        let summary = SnapshotSummary::decode(&meta.summary)?;
        if summary.level > self.level_max {
            return Err(RestoreError::UnknownLevel(summary.level).into());
        }
        let restoring = Restoring::new(summary)?.with_session_limits(self.limits);
        let writer = SnapshotWriter::begin(Arc::clone(&self.disk), meta)?;
        self.begun = Some(Begun { place: place_of(meta), writer, restoring });
        Ok(())
    }

    fn take(&mut self, data: &Bytes) -> Result<(), ReceiveError> {
        let Begun { writer, restoring, .. } =
            self.begun.as_mut().expect("data comes after what a snapshot begins with");
        restoring.piece(data)?;
        Ok(writer.write_data(data)?)
    }

    /// Gives it up, and removes what was written if that is possible. Where it is not, or the process ends before, the next
    /// start does.
    pub fn abandon(self) {
        if let Some(Begun { writer, .. }) = self.begun {
            let _ = writer.abandon();
        }
    }

    /// Everything has come: the snapshot is durable when this returns `Ok`.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn finish(self) -> Result<Received, ReceiveError> {
        if let Err(cause) = self.decoder.finish() {
            self.abandon();
            return Err(cause.into());
        }
        let Begun { place, writer, restoring } = self.begun.expect("a whole snapshot has a beginning");
        // Only what can be read again is worth a name.
        match restoring.finish() {
            Ok(store) => Ok(Received { file: writer.finish()?, place, store }),
            Err(cause) => {
                let _ = writer.abandon();
                Err(cause.into())
            }
        }
    }
}
