//! Letting the beginning of the log go, once a snapshot holds it.
//!
//! Only whole segments go, and never the one that is appended to. The newest of those that go is removed first: once
//! that is durable, its missing number says that all before it is void (`files`). So the others may go in any order,
//! and a crash in between leaves a log that opens. What the segments said of term and vote is in the header of the
//! first that stays.

use super::super::error::StorageError;
use super::files::remove_segments;
use super::index::Index;
use super::segment::file_name;
use crate::raft::LogIndex;
use kvd_disk::Disk;
use std::sync::{Arc, Mutex, RwLock};

/// Removes the beginning of a [`Wal`](super::Wal), on whichever thread the caller likes, while the log is appended to.
#[derive(Clone, Debug)]
pub struct Compactor {
    disk: Arc<dyn Disk>,
    index: Arc<RwLock<Index>>,
    /// Held during a compaction: there is one at a time.
    compacting: Arc<Mutex<()>>,
}

impl Compactor {
    pub(super) fn new(disk: Arc<dyn Disk>, index: Arc<RwLock<Index>>) -> Self {
        Self { disk, index, compacting: Arc::default() }
    }

    /// Removes as many whole segments as hold nothing but entries up to `up_to`, which a snapshot must have that is
    /// durable. Entries that the log itself does not show to be committed stay, whatever `up_to` says. Returns how many
    /// segments are gone; that they are need not be durable.
    ///
    /// # Errors
    /// [`StorageError::Io`]: end the process.
    pub fn compact(&self, up_to: LogIndex) -> Result<usize, StorageError> {
        let _alone = self.compacting.lock().expect("nothing panics while it compacts the log");
        // From here on nobody reads them, so that the files may go.
        let gone = self.index.write().expect("nothing panics while it holds the index").forget(up_to);
        if let Some((newest, others)) = gone.split_last() {
            remove_segments(&*self.disk, &[*newest])?;
            self.disk.sync_dir().map_err(StorageError::io("sync the directory of", &file_name(*newest)))?;
            remove_segments(&*self.disk, others)?;
        }
        Ok(gone.len())
    }
}
