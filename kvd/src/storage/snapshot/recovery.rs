//! The snapshot that a node starts from: its newest undamaged one.
//!
//! A snapshot that does not check was damaged by the disk, and acknowledged data may be lost with it. So the node must
//! not start, unless nothing is lost: there is an older snapshot, or the log reaches back to the very first entry, and
//! the log after that has everything that the damaged snapshot held. Whether the log follows the older snapshot is
//! checked before the log is opened. Whether it reaches as far as the damaged snapshot is checked afterwards
//! ([`RecoveredSnapshot::check`]).

use super::super::error::StorageError;
use super::super::wal::OpenedLog;
use super::error::{SnapshotError, in_file};
use super::file::SnapshotFile;
use super::meta::SnapshotMeta;
use super::names::{all, file_name, remove_unfinished};
use super::reader::SnapshotReader;
use crate::raft::{LogBase, LogIndex};
use kvd_disk::Disk;
use std::fmt;

/// Snapshots found when the node started. None by default.
#[derive(Debug)]
pub struct RecoveredSnapshot<T> {
    /// The newest undamaged snapshot; `None` if the log reaches back to the very first entry.
    pub found: Option<FoundSnapshot<T>>,
    /// Newer snapshots, all damaged.
    damaged: Vec<DamagedSnapshot>,
}

/// An undamaged snapshot.
#[derive(Debug)]
pub struct FoundSnapshot<T> {
    /// The file.
    pub file: SnapshotFile,
    /// Beginning of the snapshot.
    pub meta: SnapshotMeta,
    /// State made of its data.
    pub state: T,
}

/// A snapshot that was damaged without loss. Worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedSnapshot {
    last: LogBase,
    error: SnapshotError,
}

impl fmt::Display for DamagedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, error } = self;
        write!(
            f,
            "{}: {error}. Nothing is lost: the node starts from an older snapshot, or none, and the log after it. \
             Check that the disk is healthy",
            file_name(*last)
        )
    }
}

impl DamagedSnapshot {
    fn refuse(&self) -> StorageError {
        in_file(self.error.clone(), &file_name(self.last))
    }
}

impl<T> Default for RecoveredSnapshot<T> {
    fn default() -> Self {
        Self { found: None, damaged: Vec::new() }
    }
}

impl<T> RecoveredSnapshot<T> {
    /// Returns the entry that the log goes on after.
    pub fn base(&self) -> LogBase {
        self.found.as_ref().map_or(LogBase::NONE, |found| found.meta.place.last)
    }

    /// Checks that snapshot and log together are complete. Must be called once the log was opened after
    /// [`RecoveredSnapshot::base`]. Returns the damaged snapshots to report.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`]: something is missing, and the node must not start.
    pub fn check(&self, log: &OpenedLog) -> Result<&[DamagedSnapshot], StorageError> {
        match self.damaged.iter().find(|damaged| log.terms.at(damaged.last.index) != Some(damaged.last.term)) {
            Some(missing) => Err(missing.refuse()),
            None => Ok(&self.damaged),
        }
    }
}

/// Finds the newest undamaged snapshot of this cluster, and lets `load` make a state of its data. Reads every byte
/// once. Removes files that earlier processes left unfinished.
///
/// `log_begins_with` is the result of [`Wal::begins_with`](super::super::Wal::begins_with). The log may be opened only
/// after this call: it may be restarted after the snapshot, which is certain to be durable only then.
///
/// # Errors
/// [`StorageError::Corrupt`] if a snapshot is damaged, unless an older snapshot (or none) may suffice together with the
/// log; [`StorageError::UnknownVersion`], [`StorageError::OtherCluster`], [`StorageError::Io`], and the errors of
/// `load` about undamaged data: the node must not start.
pub fn recover<T, E: From<StorageError>>(
    disk: &dyn Disk,
    cluster_id: u64,
    log_begins_with: Option<LogIndex>,
    mut load: impl FnMut(&mut SnapshotReader) -> Result<T, E>,
) -> Result<RecoveredSnapshot<T>, E> {
    remove_unfinished(disk)?;
    let snapshots = all(disk)?;
    if let Some(newest) = snapshots.first() {
        // The process that wrote the snapshot may have been killed before its name was durable.
        disk.sync_dir().map_err(StorageError::io("sync the directory of", &file_name(*newest)))?;
    }
    let mut damaged: Vec<DamagedSnapshot> = Vec::new();
    for last in snapshots {
        if let Some(newer) = damaged.first().filter(|_| !reaches(log_begins_with, last)) {
            return Err(newer.refuse().into());
        }
        match attempt(disk, cluster_id, last, &mut load)? {
            Ok(found) => return Ok(RecoveredSnapshot { found: Some(found), damaged }),
            Err(error) => damaged.push(DamagedSnapshot { last, error }),
        }
    }
    match damaged.first() {
        Some(newest) if !reaches(log_begins_with, LogBase::NONE) => Err(newest.refuse().into()),
        _ => Ok(RecoveredSnapshot { found: None, damaged }),
    }
}

/// Returns whether a log that begins with this entry has the one after the base.
fn reaches(log_begins_with: Option<LogIndex>, base: LogBase) -> bool {
    log_begins_with.is_some_and(|first| first <= base.index.next())
}

/// Reads one snapshot. Returns the damage, if there is any.
fn attempt<T, E: From<StorageError>>(
    disk: &dyn Disk,
    cluster_id: u64,
    last: LogBase,
    load: &mut impl FnMut(&mut SnapshotReader) -> Result<T, E>,
) -> Result<Result<FoundSnapshot<T>, SnapshotError>, E> {
    let mut reader = match SnapshotReader::open(disk, last) {
        Ok(reader) => reader,
        Err(StorageError::Corrupt { offset, cause, .. }) => return Ok(Err(SnapshotError::Damaged { offset, cause })),
        Err(other) => return Err(other.into()),
    };
    let (found, expected) = (reader.meta().cluster_id, cluster_id);
    if found != expected {
        return Err(StorageError::OtherCluster { file: file_name(last), found, expected }.into());
    }
    let state = load(&mut reader).and_then(|state| {
        // Check the rest of the file as well, however little `load` has read.
        while reader.next_piece()?.is_some() {}
        Ok(state)
    });
    match (state, reader.damage()) {
        (_, Some(damage)) => Ok(Err(damage.clone())),
        (Err(other), None) => Err(other),
        (Ok(state), None) => {
            let file = SnapshotFile::of_durable(last, reader.bytes()?);
            Ok(Ok(FoundSnapshot { file, meta: reader.meta().clone(), state }))
        }
    }
}
