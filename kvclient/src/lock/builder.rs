//! The builder of a lock: its name and the options.

use super::claim::Claim;
use super::guard::Lock;
use crate::api::{LOCK_TTL_MS_DEFAULT, LeaseId, check_lock_name, check_ttl_ms};
use crate::error::Error;
use crate::lease::Keeper;
use crate::routing::Cluster;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Builder of a lock, from [`Client::lock`](crate::Client::lock).
#[derive(Clone, Debug)]
#[must_use = "nothing is locked before `acquire` or `try_acquire` is called"]
pub struct LockBuilder {
    cluster: Arc<Cluster>,
    keeper: Arc<Keeper>,
    name: String,
    ttl: Duration,
    wait: Option<Duration>,
    value: Vec<u8>,
}

impl LockBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>, keeper: Arc<Keeper>, name: String) -> Self {
        let ttl = Duration::from_millis(LOCK_TTL_MS_DEFAULT);
        Self { cluster, keeper, name, ttl, wait: None, value: Vec::new() }
    }

    /// Sets the time after which the lock is free if this process dies or is cut off: at least half a second, and 30
    /// seconds unless set. A [`Lease`](crate::Lease) of this time keeps the lock.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lock = Client::connect(endpoints)?.lock("jobs/nightly").ttl(Duration::from_secs(10)).acquire()?;
    /// # anyhow::Ok(())
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the longest time that [`acquire`](Self::acquire) waits for the lock. Unless it is set, the wait has no
    /// limit.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lock = Client::connect(endpoints)?.lock("jobs/nightly").wait(Duration::from_secs(60)).acquire()?;
    /// # anyhow::Ok(())
    /// ```
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Sets a value that describes the holder, such as its address. Others can read it. In an election it names the
    /// leader.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let leadership = client.lock("service/leader").value("10.0.0.1:80").acquire()?;
    /// let leader = client.lock_state("service/leader")?.holder.expect("it was just won");
    /// assert_eq!(leader.value, b"10.0.0.1:80");
    /// # anyhow::Ok(())
    /// ```
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = value.into();
        self
    }

    /// Takes the lock, first come, first served. If the node that it is connected to fails meanwhile, it keeps its
    /// place in the queue.
    ///
    /// # Errors
    /// [`Error::LockHeld`] if the lock was not free within the time of [`wait`](Self::wait); [`Error::InvalidRequest`]
    /// if the name or the time of the lease is out of bounds; [`Error::Configuration`] if the system has no thread
    /// left; otherwise as [`Client::set`](crate::Client::set).
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let first = client.lock("jobs/nightly").acquire()?.token();
    /// let next = client.lock("jobs/nightly").acquire()?.token();
    /// assert!(next > first);
    /// # anyhow::Ok(())
    /// ```
    pub fn acquire(self) -> Result<Lock, Error> {
        let until = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        self.take(until)
    }

    /// Takes the lock if it is free. Returns `None` if another client holds it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), except [`Error::LockHeld`].
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lock = client.lock("jobs/nightly").try_acquire()?.expect("it is free");
    /// assert!(client.lock("jobs/nightly").try_acquire()?.is_none());
    /// # anyhow::Ok(())
    /// ```
    pub fn try_acquire(self) -> Result<Option<Lock>, Error> {
        match self.take(Some(Instant::now())) {
            Ok(lock) => Ok(Some(lock)),
            Err(Error::LockHeld { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take(self, until: Option<Instant>) -> Result<Lock, Error> {
        let Self { cluster, keeper, name, ttl, value, .. } = self;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let invalid = |message| Error::InvalidRequest { message };
        check_lock_name(&name).and_then(|()| check_ttl_ms(ttl_ms)).map_err(invalid)?;
        loop {
            let (cluster, name, value) = (Arc::clone(&cluster), name.clone(), value.clone());
            let claim = Claim { cluster, name, value, ttl_ms, lease: draw(), until, given_up: Arc::default() };
            let (token, sent) = claim.wait()?;
            let Claim { name, lease, .. } = claim;
            match Lock::hold(&keeper, name, token, (lease, ttl_ms), sent) {
                // The lock was taken and lost again before this process could know.
                Err(Error::LeaseNotFound { .. }) => {}
                held => return held,
            }
        }
    }
}

/// Draws a random id for a lease, unlikely to be in use.
fn draw() -> LeaseId {
    LeaseId::new(rand::random_range(1..=i64::MAX.unsigned_abs())).expect("it is not zero")
}
