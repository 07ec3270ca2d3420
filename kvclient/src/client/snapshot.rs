//! Backups.

use super::backup::{self, SnapshotProgress, Target};
use super::handle::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::snapshot::SnapshotInfo;
use std::io::Write;

impl Client {
    /// Downloads a backup: the whole store at one revision, with every write that was acknowledged before, while the
    /// cluster keeps serving. `progress` is called as the download proceeds.
    ///
    /// The bytes are in the format of [`crate::snapshot`], and each is checked on arrival. The output is a backup only
    /// if this returns `Ok`, so write it to a temporary file first.
    ///
    /// The total time ([`ClientBuilder::total_timeout`](crate::ClientBuilder::total_timeout)) limits the search for a
    /// node. The download may take longer, as long as the node is never silent for two minutes.
    ///
    /// # Errors
    /// [`Error::SnapshotBroken`] if it broke off or arrived damaged, [`Error::Output`] if `to` fails; otherwise as
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

    /// Downloads a backup of one node's data, at once and without asking other nodes. Only that node is asked, and only
    /// once.
    ///
    /// The backup may be as old as that node is behind. In return this works even if the cluster has no leader, and
    /// will never have one again.
    ///
    /// # Errors
    /// As [`Client::save_snapshot`], and [`Error::Configuration`] if the endpoint is not a URL.
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
