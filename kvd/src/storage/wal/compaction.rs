//! Removing the beginning of the log, once a snapshot holds it.
//!
//! Only whole segments are removed, and never the one that is appended to. The newest of the segments to remove goes
//! first: once that is durable, its missing number says that everything before it is void (`files`). So the others may
//! be removed in any order, and a crash in between leaves a log that opens. Term and vote from the removed segments are
//! in the header of the first remaining one.

use super::super::error::StorageError;
use super::files::remove_segments;
use super::index::Index;
use super::segment::file_name;
use crate::raft::LogIndex;
use kvd_disk::Disk;
use std::sync::{Arc, Mutex, RwLock};

/// Removes the beginning of a [`Wal`](super::Wal), on any thread, while the log is appended to.
#[derive(Clone, Debug)]
pub struct Compactor {
    disk: Arc<dyn Disk>,
    index: Arc<RwLock<Index>>,
    /// Held during a compaction, so that only one runs at a time.
    compacting: Arc<Mutex<()>>,
}

impl Compactor {
    pub(super) fn new(disk: Arc<dyn Disk>, index: Arc<RwLock<Index>>) -> Self {
        Self { disk, index, compacting: Arc::default() }
    }

    /// Removes all whole segments that hold only entries up to `up_to`. A durable snapshot must hold those entries.
    /// Entries that the log itself does not show to be committed stay, whatever `up_to` says. Returns how many segments
    /// were removed; their removal may not be durable yet.
    ///
    /// # Errors
    /// [`StorageError::Io`]: end the process.
    pub fn compact(&self, up_to: LogIndex) -> Result<usize, StorageError> {
        let _alone = self.compacting.lock().expect("nothing panics while it compacts the log");
        // From here on nobody reads these segments, so the files can be removed.
        let gone = self.index.write().expect("nothing panics while it holds the index").forget(up_to);
        if let Some((newest, others)) = gone.split_last() {
            remove_segments(&*self.disk, &[*newest])?;
            self.disk.sync_dir().map_err(StorageError::io("sync the directory of", &file_name(*newest)))?;
            remove_segments(&*self.disk, others)?;
        }
        Ok(gone.len())
    }
}
