//! What a node starts from: its newest snapshot that is undamaged.
//!
//! A snapshot that does not check was damaged by the disk, and with it what was acknowledged may be gone. So the node
//! must not start, unless nothing is: an older snapshot is there, or the log reaches back to the very first entry, and
//! the log after that has all that the damaged one held. The first of this, that the log follows the older snapshot, is
//! settled before the log is opened; that it reaches as far as the damaged one, once it is
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

/// What was found when the node started. By default nothing.
#[derive(Debug)]
pub struct RecoveredSnapshot<T> {
    /// The newest snapshot that is undamaged; `None` if the log has all there is.
    pub found: Option<FoundSnapshot<T>>,
    /// Newer ones.
    damaged: Vec<DamagedSnapshot>,
}

/// A snapshot that is undamaged.
#[derive(Debug)]
pub struct FoundSnapshot<T> {
    /// The file.
    pub file: SnapshotFile,
    /// What it begins with.
    pub meta: SnapshotMeta,
    /// What was made of its data.
    pub state: T,
}

/// A snapshot that was damaged, to no harm. Worth a warning.
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
    /// What the log goes on after.
    pub fn base(&self) -> LogBase {
        self.found.as_ref().map_or(LogBase::NONE, |found| found.meta.place.last)
    }

    /// To be called once the log was opened after [`RecoveredSnapshot::base`]: whether the two have all there ever was.
    /// If so, what is to be said of damage.
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

/// Finds the newest undamaged snapshot of this cluster, and lets `load` make something of its data. It reads every byte
/// once. What earlier processes left unfinished is removed.
///
/// `log_begins_with` is what [`Wal::begins_with`](super::super::Wal::begins_with) says; the log may be opened only
/// after this, since then the snapshot is durable which it may be begun anew for.
///
/// # Errors
/// [`StorageError::Corrupt`] if a snapshot is damaged, unless an older one, or none, and the log may do;
/// [`StorageError::UnknownVersion`], [`StorageError::OtherCluster`], [`StorageError::Io`], and what `load` says of data
/// that is undamaged: the node must not start.
pub fn recover<T, E: From<StorageError>>(
    disk: &dyn Disk,
    cluster_id: u64,
    log_begins_with: Option<LogIndex>,
    mut load: impl FnMut(&mut SnapshotReader) -> Result<T, E>,
) -> Result<RecoveredSnapshot<T>, E> {
    remove_unfinished(disk)?;
    let snapshots = all(disk)?;
    if let Some(newest) = snapshots.first() {
        // The process that wrote it may have been killed before its name was durable.
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

/// Whether a log that begins with this entry has the one after the base.
fn reaches(log_begins_with: Option<LogIndex>, base: LogBase) -> bool {
    log_begins_with.is_some_and(|first| first <= base.index.next())
}

/// Reads one snapshot. If it is damaged, how.
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
        // Whatever it needed, all of it must be right.
        while reader.next_data()?.is_some() {}
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
