//! Backups.

use super::backup::{self, SnapshotProgress, Target};
use super::handle::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::snapshot::SnapshotInfo;
use std::io::Write;

impl Client {
    /// Downloads a backup: the whole store at one revision, with every write that was acknowledged before, while the
    /// cluster goes on. `progress` is told how far it is.
    ///
    /// The bytes are those of [`crate::snapshot`], and every one is checked on its way. Only what this returned `Ok`
    /// for is a backup, so write it to a temporary file first.
    ///
    /// The total time ([`ClientBuilder::total_timeout`](crate::ClientBuilder::total_timeout)) is for finding a node that gives it; the download may take
    /// longer, as long as the node is not silent for two minutes.
    ///
    /// # Errors
    /// [`Error::SnapshotBroken`] if it broke off or arrived damaged, [`Error::Output`] if `to` fails; else as
    /// [`Client::get`], and then nothing was written.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let mut backup = Vec::new();
    /// let info = client.save_snapshot(&mut backup, |progress| {
    ///     println!("{} of {} bytes", progress.bytes, progress.bytes_total);
    /// })?;
    /// assert_eq!(info.bytes, backup.len() as u64);
    /// assert_eq!(info.summary.expect("of a known format").keys, 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn save_snapshot(
        &self,
        mut to: impl Write,
        mut progress: impl FnMut(SnapshotProgress),
    ) -> Result<SnapshotInfo, Error> {
        backup::of_any_node(&self.cluster, &mut Target { to: &mut to, progress: &mut progress })
    }

    /// Downloads a backup of what one node has, at once and without asking the others. That node alone is asked, and
    /// once.
    ///
    /// It may be old by as much as that node is behind. In return there is one also when the cluster has no leader, and
    /// never will have again.
    ///
    /// # Errors
    /// As [`Client::save_snapshot`], and [`Error::Configuration`] if the endpoint is no URL.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let info = client.save_snapshot_stale(&endpoints[0], std::io::sink(), |_| {})?;
    /// println!("up to index {} of the log", info.head.last_index);
    /// # anyhow::Ok(())
    /// ```
    pub fn save_snapshot_stale(
        &self,
        endpoint: &str,
        mut to: impl Write,
        mut progress: impl FnMut(SnapshotProgress),
    ) -> Result<SnapshotInfo, Error> {
        let endpoint = Endpoint::of_user(endpoint)?;
        backup::of_node(&self.cluster, &endpoint, &mut Target { to: &mut to, progress: &mut progress })
    }
}
