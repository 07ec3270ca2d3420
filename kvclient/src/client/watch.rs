//! Watching ranges.

use super::handle::Client;
use crate::api::Range;
use crate::watch::{Mirror, Watch};
use std::sync::Arc;

impl Client {
    /// Watches a key or a range: an iterator over every change from now on, revision by revision. The iterator asks the
    /// cluster for nothing until its first item is requested, so changes before that are not in it.
    ///
    /// ```
    /// use kvclient::{Client, Range};
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let first = client.set("fruit/apple", "green")?.revision;
    /// let mut watch = client.watch(Range::prefix("fruit/")).from_revision(first);
    /// for revised in watch.timeout_iter(Duration::from_millis(500)) {
    ///     let revised = revised?;
    ///     for change in &revised.changes {
    ///         println!("{} at revision {}", change.key(), revised.revision);
    ///     }
    /// }
    /// println!("go on from revision {:?}", watch.revision().map(|revision| revision + 1));
    /// # anyhow::Ok(())
    /// ```
    pub fn watch(&self, range: impl Into<Range>) -> Watch {
        Watch::new(Arc::clone(&self.cluster), range.into())
    }

    /// Keeps a copy of a range in memory that follows the cluster. Use it for data that a program reads often and that
    /// rarely changes, such as its configuration or the addresses of other services. See [`Mirror`].
    ///
    /// ```
    /// use kvclient::{Client, Range};
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let mirror = Client::connect(endpoints)?.mirror(Range::prefix("services/"));
    /// mirror.wait_ready(Duration::from_secs(5))?;
    /// println!("{} services", mirror.state().keys);
    /// # anyhow::Ok(())
    /// ```
    pub fn mirror(&self, range: impl Into<Range>) -> Mirror {
        Mirror::start(Arc::clone(&self.cluster), range.into())
    }
}
