//! The lock to take, and how.

use super::claim::Claim;
use super::guard::Lock;
use crate::api::{LOCK_TTL_MS_DEFAULT, LeaseId, check_lock_name, check_ttl_ms};
use crate::error::Error;
use crate::lease::Keeper;
use crate::routing::Cluster;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lock that is to be taken, from [`Client::lock`](crate::Client::lock).
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

    /// Sets the time after which the lock is free if this process dies or is cut off; 30 seconds unless set, at least
    /// half a second. The lock is kept by a [`Lease`](crate::Lease) of this time.
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

    /// Sets how long [`acquire`](Self::acquire) waits for its turn; without end unless set.
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

    /// Sets what the holder says of itself, such as its address: others see it, and in an election it names the winner.
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

    /// Takes the lock, first come, first served. While it waits, its place survives the end of the node that it is
    /// connected to.
    ///
    /// # Errors
    /// [`Error::LockHeld`] if it was not free within the time set; [`Error::InvalidRequest`] if the name or the time of
    /// the lease cannot be; otherwise as [`Client::set`](crate::Client::set).
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

    /// Takes the lock if it is free. Returns `None` if another holds it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
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
            let claim = Claim { cluster, name, value, ttl_ms, lease: draw(), until };
            let (token, sent) = claim.wait()?;
            let Claim { name, lease, .. } = claim;
            match Lock::hold(&keeper, name, token, (lease, ttl_ms), sent) {
                // The lock was had and lost, before this process could know.
                Err(Error::LeaseNotFound { .. }) => {}
                held => return held,
            }
        }
    }
}

/// Draws the id of a lease that nobody else has.
fn draw() -> LeaseId {
    LeaseId::new(rand::random_range(1..=i64::MAX.unsigned_abs())).expect("it is not zero")
}
