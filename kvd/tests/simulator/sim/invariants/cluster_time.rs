//! Cluster time never decreases from one committed entry to the next, even when the leader changes: sessions expire by
//! it.

use super::{Checked, ensure};
use kvd::raft::{ClusterTime, Entry};

const NAME: &str = "Cluster Time";

/// The time of the newest committed entry.
#[derive(Debug, Default)]
pub(super) struct ClusterTimeNeverFalls {
    newest: ClusterTime,
}

impl ClusterTimeNeverFalls {
    /// Checks the next committed entry.
    pub(super) fn check(&mut self, entry: &Entry) -> Checked {
        let (before, time) = (self.newest, entry.time);
        ensure!(NAME, time >= before, "entry {} is of the time {}, after one of {}", entry.index, time.0, before.0);
        self.newest = time;
        Ok(())
    }
}
