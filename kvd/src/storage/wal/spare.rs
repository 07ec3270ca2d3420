//! A segment made ahead of use, so that an append that fills one need not wait for the next to be zeroed.

use super::super::directory::remove_if_present;
use super::super::error::StorageError;
use super::segment::{NEW_FILE, SPARE_FILE, make_zeroed};
use kvd_disk::{Disk, File};
use std::sync::{Arc, Mutex};

/// Makes the spare segment of a [`Wal`](super::Wal), on any thread.
#[derive(Clone, Debug)]
pub struct SpareMaker {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    /// Held while the spare is made: an append that needs the spare then waits for it instead of making another.
    spare: Arc<Mutex<Option<Box<dyn File>>>>,
}

impl SpareMaker {
    pub(super) fn new(disk: Arc<dyn Disk>, segment_bytes: u64) -> Self {
        Self { disk, segment_bytes, spare: Arc::new(Mutex::new(None)) }
    }

    /// Makes the spare segment unless there is one. Call this after the log was opened, and again whenever
    /// [`Wal::append`](super::Wal::append) reports that it began a segment. Takes some tens of milliseconds.
    ///
    /// # Errors
    /// [`StorageError::Io`]. The log can go on: it then makes its next segment itself.
    pub fn make(&self) -> Result<(), StorageError> {
        let mut spare = self.spare.lock().expect("nothing panics while it holds the spare");
        if spare.is_some() {
            return Ok(());
        }
        let made = make_zeroed(&*self.disk, SPARE_FILE, self.segment_bytes);
        if made.is_err() {
            // Half a spare is useless, and may be what fills the disk. If removing it fails, the next start removes it.
            let _ = remove_if_present(&*self.disk, SPARE_FILE);
        }
        *spare = Some(made?);
        Ok(())
    }

    /// Moves the spare to [`NEW_FILE`], or makes that file now.
    pub(super) fn take(&self) -> Result<Box<dyn File>, StorageError> {
        let mut spare = self.spare.lock().expect("nothing panics while it holds the spare");
        match spare.take() {
            Some(file) => {
                // Still under the lock, or the next spare would be made under a name that is taken.
                self.disk.rename(SPARE_FILE, NEW_FILE).map_err(StorageError::io("rename", SPARE_FILE))?;
                Ok(file)
            }
            None => make_zeroed(&*self.disk, NEW_FILE, self.segment_bytes),
        }
    }
}
