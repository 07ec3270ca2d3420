//! Writing a snapshot file, while the node goes on.

use super::super::directory::remove_if_present;
use super::super::error::StorageError;
use super::file::SnapshotFile;
use super::meta::SnapshotMeta;
use super::names::{file_name, temporary_name};
use crate::mutants::{self, Mutant};
use crate::raft::LogBase;
use kvclient::snapshot::Encoder;
use kvd_disk::{Disk, File};
use std::io;
use std::sync::Arc;

/// Bytes after which the file is synced. A single sync at the end could delay the log's syncs for long.
const SYNC_EVERY_BYTES: u64 = 4 << 20;

/// Writes one snapshot: one that this node takes, or one that another node sends, part by part as it is decoded.
///
/// Several may be written at the same time. After a failed call the writer writes no more, and removes the file if
/// possible; if the process ends before that, the next start removes it.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    last: LogBase,
    temporary: String,
    file: Box<dyn File>,
    encoder: Encoder,
    /// Offset of the next part.
    position: u64,
    synced_bytes: u64,
    is_poisoned: bool,
}

impl SnapshotWriter {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    ///
    /// # Panics
    /// If the configuration and the summary together exceed [`PART_BYTES_MAX`](super::PART_BYTES_MAX), or if no
    /// snapshot can end with that entry.
    pub fn begin(disk: Arc<dyn Disk>, meta: &SnapshotMeta) -> Result<Self, StorageError> {
        let (encoder, bytes) = Encoder::begin(&meta.to_head());
        let (temporary, file) = create_temporary(&*disk, meta.place.last)?;
        let last = meta.place.last;
        let mut writer =
            Self { disk, last, temporary, file, encoder, position: 0, synced_bytes: 0, is_poisoned: false };
        writer.unless_poisoned(|writer| writer.write(&bytes))?;
        Ok(writer)
    }

    /// Writes the next piece of data.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Poisoned`] from every later call. If the disk is full, only this
    /// snapshot has failed.
    ///
    /// # Panics
    /// If the piece is longer than [`PART_BYTES_MAX`](super::PART_BYTES_MAX).
    pub fn write_data(&mut self, data: &[u8]) -> Result<(), StorageError> {
        self.unless_poisoned(|writer| {
            let header = writer.encoder.data(data);
            writer.write_part(&header, data)
        })
    }

    /// Writes the next piece of the history, which comes after the data.
    ///
    /// # Errors
    /// As [`SnapshotWriter::write_data`].
    ///
    /// # Panics
    /// If the piece is longer than [`PART_BYTES_MAX`](super::PART_BYTES_MAX).
    pub fn write_history(&mut self, history: &[u8]) -> Result<(), StorageError> {
        self.unless_poisoned(|writer| {
            let header = writer.encoder.history(history);
            writer.write_part(&header, history)
        })
    }

    fn write_part(&mut self, header: &[u8], body: &[u8]) -> Result<(), StorageError> {
        self.write(header)?;
        self.write(body)?;
        if self.position - self.synced_bytes >= SYNC_EVERY_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Ends the snapshot. It is durable under its name when this returns `Ok`; after an error it may be durable or not.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Poisoned`] if an earlier call failed.
    pub fn finish(mut self) -> Result<SnapshotFile, StorageError> {
        self.unless_poisoned(|writer| {
            let end = writer.encoder.clone().end();
            writer.write(&end)?;
            // The bytes must be durable before the name points at them, or a crash could leave a part of them under it.
            writer.sync()?;
            let Self { disk, temporary, last, position, .. } = writer;
            disk.rename(temporary, &file_name(*last)).map_err(StorageError::io("rename", temporary))?;
            if !mutants::is_on(Mutant::SnapshotDirNotSynced) {
                disk.sync_dir().map_err(StorageError::io("sync the directory of", &file_name(*last)))?;
            }
            Ok(SnapshotFile::of_durable(*last, *position))
        })
    }

    /// Abandons the snapshot.
    ///
    /// # Errors
    /// [`StorageError::Io`]; the next start removes the remaining file.
    pub fn abandon(self) -> Result<(), StorageError> {
        remove_if_present(&*self.disk, &self.temporary)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all_at(self.position, bytes).map_err(StorageError::io("write", &self.temporary))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if !mutants::is_on(Mutant::SnapshotNotSynced) {
            self.file.sync().map_err(StorageError::io("sync", &self.temporary))?;
        }
        self.synced_bytes = self.position;
        Ok(())
    }

    /// Runs a step that may fail. After a failure nothing more is written.
    fn unless_poisoned<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.is_poisoned {
            return Err(StorageError::Poisoned);
        }
        let done = act(self);
        if done.is_err() {
            self.is_poisoned = true;
            // Half a snapshot is useless, and may be what fills the disk. If removing it fails, the next start removes
            // it.
            let _ = remove_if_present(&*self.disk, &self.temporary);
        }
        done
    }
}

/// Creates a file that nobody else writes to.
fn create_temporary(disk: &dyn Disk, last: LogBase) -> Result<(String, Box<dyn File>), StorageError> {
    let mut attempt = 0;
    loop {
        let name = temporary_name(last, attempt);
        match disk.create(&name) {
            Ok(file) => return Ok((name, file)),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(cause) => return Err(StorageError::io("create", &name)(cause)),
        }
    }
}
