//! Locks and elections.

use super::handle::Client;
use crate::api::{LockQuery, LockState};
use crate::error::Error;
use crate::lock::{HolderWatch, LockBuilder};
use std::sync::Arc;

impl Client {
    /// Prepares to take a lock, which one client holds at a time; [`Lock`](crate::Lock) says what that promises. With a
    /// value it is an election: the holder of the lock leads.
    ///
    /// ```
    /// use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lock = client.lock("jobs/nightly").wait(Duration::from_secs(60)).acquire()?;
    /// println!("only we do the job, under the token {}", lock.token());
    /// # anyhow::Ok(())
    /// ```
    pub fn lock(&self, name: impl Into<String>) -> LockBuilder {
        LockBuilder::new(Arc::clone(&self.cluster), Arc::clone(&self.keeper), name.into())
    }

    /// Returns the holder of a lock, and the clients that wait for it.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if the name is empty or too long; otherwise as [`Client::get`].
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lock = client.lock("jobs/nightly").value("host-7").acquire()?;
    /// let state = client.lock_state("jobs/nightly")?;
    /// assert_eq!(state.holder.expect("it is held").value, b"host-7");
    /// assert_eq!(state.waiters.len(), 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn lock_state(&self, name: impl Into<String>) -> Result<LockState, Error> {
        self.fetch(&format!("/lock?{}", LockQuery::new(name).to_query()))
    }

    /// Follows the holders of a lock: the present one first, then each new one. The iterator asks the cluster for
    /// nothing until its first item is requested.
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let leadership = client.lock("service/leader").value("10.0.0.1:80").acquire()?;
    /// let mut watch = client.watch_lock("service/leader");
    /// let leader = watch.next().expect("a watch has no end")?.holder.expect("there is one");
    /// assert_eq!(leader.token, leadership.token());
    /// # anyhow::Ok(())
    /// ```
    pub fn watch_lock(&self, name: impl Into<String>) -> HolderWatch {
        HolderWatch::new(Arc::clone(&self.cluster), name.into())
    }
}
