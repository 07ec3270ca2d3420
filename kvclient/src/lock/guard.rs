//! The lock while it is held.

use crate::api::{GrantReply, Held, KeepAliveReply, KeepAliveRequest, LeaseId, UnlockReply, UnlockRequest};
use crate::error::Error;
use crate::lease::{Keeper, Lease, LeaseLoss};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Divisor of the time of its lease: within that part of it, a lock is counted on without another request.
const TRUSTED_FOR: u32 = 3;

/// A lock that is held until it is dropped, from [`Client::lock`](crate::Client::lock).
///
/// It is kept by a lease, which a thread in the background keeps alive. When this process dies, or is cut off from the
/// cluster, the lock is free after the time of the lease.
///
/// **Promise.** In the cluster's own order of requests, no two clients hold the lock at the same time. But a process
/// that is paused may count on a lock that it has lost: [`lost`](Self::lost) reports the loss only as early as its own
/// clock can. So whatever the lock protects should refuse clients that have lost it. Keys of this cluster do so by the
/// condition [`held`](Self::held). Anything else can compare fencing tokens: it remembers the highest
/// [`token`](Self::token) that it has seen, and refuses a lower one.
///
/// ```
/// use kvclient::{Client, Condition, SetRequest};
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let lock = client.lock("accounts").acquire()?;
/// client.set_if("accounts/total", "250", Condition::Held(lock.held()))?;
/// assert!(!lock.lost());
/// lock.release()?;
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "it is given up when it is dropped"]
pub struct Lock {
    name: String,
    token: u64,
    lease: Lease,
    keeper: Arc<Keeper>,
}

impl Lock {
    /// Keeps a lock that was taken by a request sent at `sent`.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it is lost already; [`Error::Configuration`] if the system has no thread left;
    /// otherwise those of a write.
    pub(super) fn hold(
        keeper: &Arc<Keeper>,
        name: String,
        token: u64,
        (lease, ttl_ms): (LeaseId, u64),
        sent: Instant,
    ) -> Result<Self, Error> {
        // After a long wait, this process does not know when the node last renewed the lease.
        let sent =
            if sent.elapsed() < Duration::from_millis(ttl_ms) / TRUSTED_FOR { sent } else { renew(keeper, lease)? };
        let lease = Lease::keep(Arc::clone(keeper), GrantReply { lease, ttl_ms }, sent)?;
        Ok(Self { name, token, lease, keeper: Arc::clone(keeper) })
    }

    /// Returns its name.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lock = Client::connect(endpoints)?.lock("jobs/nightly").acquire()?;
    /// assert_eq!(lock.name(), "jobs/nightly");
    /// # anyhow::Ok(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its fencing token, which is higher than that of every earlier holder.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lock = client.lock("jobs/nightly").acquire()?;
    /// assert_eq!(client.lock_state("jobs/nightly")?.holder.map(|holder| holder.token), Some(lock.token()));
    /// # anyhow::Ok(())
    /// ```
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Returns the lease that keeps it.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lock = client.lock("jobs/nightly").acquire()?;
    /// assert!(client.lease(lock.lease())?.is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn lease(&self) -> LeaseId {
        self.lease.id()
    }

    /// Returns the condition that this lock is held: once it is lost, the store refuses writes on this condition.
    ///
    /// ```
    /// use kvclient::{Client, Condition, Error};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lock = client.lock("jobs/nightly").acquire()?;
    /// let held = lock.held();
    /// drop(lock);
    /// let late = client.set_if("report", "from the past", Condition::Held(held));
    /// assert!(matches!(late, Err(Error::ConditionFailed { .. })));
    /// # anyhow::Ok(())
    /// ```
    pub fn held(&self) -> Held {
        Held { name: self.name.clone(), token: self.token }
    }

    /// Returns whether it is lost, by this process's clock. Once true, it stays true. Sends no request.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lock = Client::connect(endpoints)?.lock("jobs/nightly").acquire()?;
    /// assert!(!lock.lost());
    /// # anyhow::Ok(())
    /// ```
    pub fn lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Returns a handle by which other threads learn that it is lost.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lock = Client::connect(endpoints)?.lock("jobs/nightly").acquire()?;
    /// let loss = lock.loss();
    /// drop(lock);
    /// assert!(loss.is_lost());
    /// # anyhow::Ok(())
    /// ```
    pub fn loss(&self) -> LeaseLoss {
        self.lease.loss()
    }

    /// Gives it up. Dropping it does the same, but reports no failure.
    ///
    /// # Errors
    /// [`Error::LockLost`] if it was no longer held: work done under it may have run beside another holder. Otherwise
    /// as [`Client::set`](crate::Client::set): the lock is then free after the time of its lease.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.lock("jobs/nightly").acquire()?.release()?;
    /// assert_eq!(client.lock_state("jobs/nightly")?.holder, None);
    /// # anyhow::Ok(())
    /// ```
    pub fn release(self) -> Result<UnlockReply, Error> {
        let Self { name, token, lease, keeper } = self;
        // Its lease ends with it.
        lease.release();
        let cluster = keeper.cluster();
        let mut lane = cluster.lanes.borrow();
        let request = UnlockRequest { request: Some(lane.session.next()), ..UnlockRequest::new(name, token) };
        cluster.write(&mut lane, "/unlock", &request)
    }
}

/// Renews the lease. Returns a moment before the request was sent.
fn renew(keeper: &Keeper, lease: LeaseId) -> Result<Instant, Error> {
    let sent = Instant::now();
    let cluster = keeper.cluster();
    let mut lane = cluster.lanes.borrow();
    let _renewed: KeepAliveReply = cluster.write(&mut lane, "/lease/keepalive", &KeepAliveRequest::One(lease))?;
    Ok(sent)
}
