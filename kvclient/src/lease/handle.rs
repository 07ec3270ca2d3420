//! The caller's handle of a lease.

use super::keeper::Keeper;
use super::term::{LeaseLoss, Term};
use crate::api::{GrantReply, LeaseId, RevokeReply, RevokeRequest};
use crate::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time that dropping a lease takes if the cluster does not answer. The lease then ends by itself.
const DROP_MAX: Duration = Duration::from_secs(2);

/// A lease that is kept alive until it is dropped, from [`Client::grant_lease`](crate::Client::grant_lease).
///
/// Keys that are attached to it end with it. It is revoked when it is dropped; when the process dies, it ends after its
/// time.
///
/// **Loss.** By this process's clock, the lease is lost after four fifths of its time without an answered keepalive. So
/// if the clocks differ by no more than 20 %, its holder stops counting on it before the cluster ends it. But a process
/// that is paused learns of the loss too late. For writes that must be safe whatever the clocks do, take a
/// [lock](crate::Lock) and make them depend on the condition [`held`](crate::Condition::Held), which the store itself
/// checks.
///
/// ```
/// use kvclient::{Client, SetRequest};
/// use std::time::Duration;
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let lease = client.grant_lease(Duration::from_secs(10))?;
/// let lease_id = Some(lease.id());
/// client.set_with(SetRequest { lease: lease_id, ..SetRequest::new("services/web/1", "10.0.0.1:80") })?;
/// assert!(!lease.is_lost());
///
/// drop(lease);
/// assert_eq!(client.get("services/web/1")?, None);
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "it is revoked when it is dropped"]
pub struct Lease {
    id: LeaseId,
    ttl: Duration,
    keeper: Arc<Keeper>,
    term: Arc<Term>,
    /// True once there is nothing left to do when it is dropped.
    is_given_up: bool,
}

impl Lease {
    /// Keeps a lease alive that was granted or renewed by a request sent at `sent`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the system has no thread left.
    pub(crate) fn keep(keeper: Arc<Keeper>, granted: GrantReply, sent: Instant) -> Result<Self, Error> {
        let (id, ttl) = (granted.lease, Duration::from_millis(granted.ttl_ms));
        let term = Arc::new(Term::new(sent, ttl));
        keeper.keep(id, Arc::clone(&term))?;
        Ok(Self { id, ttl, keeper, term, is_given_up: false })
    }

    /// Returns its id, by which keys are attached to it.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lease = client.grant_lease(Duration::from_secs(10))?;
    /// assert!(client.lease(lease.id())?.is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Returns the time after which it ends without a keepalive.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lease = Client::connect(endpoints)?.grant_lease(Duration::from_secs(10))?;
    /// assert_eq!(lease.ttl(), Duration::from_secs(10));
    /// # anyhow::Ok(())
    /// ```
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns whether it is lost, by this process's clock. Once true, it stays true. Sends no request.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lease = client.grant_lease(Duration::from_millis(600))?;
    /// client.revoke_lease(lease.id())?; // by somebody else
    /// lease.loss().wait();
    /// assert!(lease.is_lost());
    /// # anyhow::Ok(())
    /// ```
    pub fn is_lost(&self) -> bool {
        self.term.is_lost(Instant::now())
    }

    /// Returns a handle by which other threads learn that it is lost.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lease = Client::connect(endpoints)?.grant_lease(Duration::from_secs(10))?;
    /// let loss = lease.loss();
    /// drop(lease);
    /// assert!(loss.is_lost());
    /// # anyhow::Ok(())
    /// ```
    pub fn loss(&self) -> LeaseLoss {
        LeaseLoss::of(Arc::clone(&self.term))
    }

    /// Ends it, and deletes its keys in one revision. Dropping it does the same, but reports no failure.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it has ended already; otherwise as [`Client::set`](crate::Client::set). After such
    /// an error the lease ends after its time, since it is no longer kept alive.
    ///
    /// ```
    /// # use kvclient::{Client, SetRequest};
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lease = client.grant_lease(Duration::from_secs(10))?;
    /// client.set_with(SetRequest { lease: Some(lease.id()), ..SetRequest::new("color", "blue") })?;
    /// assert_eq!(lease.revoke()?.deleted, 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn revoke(mut self) -> Result<RevokeReply, Error> {
        self.give_up();
        self.revoke_within(self.keeper.cluster().limits.total_timeout)
    }

    /// Stops keeping it alive, without revoking it: it ends after its time, unless another process takes it over
    /// ([`Client::keep_lease`](crate::Client::keep_lease)). Returns its id.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease(Duration::from_secs(10))?.release();
    /// assert!(client.lease(id)?.is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn release(mut self) -> LeaseId {
        self.give_up();
        self.id
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.keeper.forget(self.id, &self.term);
        self.term.lose();
    }

    fn revoke_within(&self, limit: Duration) -> Result<RevokeReply, Error> {
        let cluster = self.keeper.cluster();
        let mut lane = cluster.lanes.borrow();
        let request = RevokeRequest { request: Some(lane.session.next()), ..RevokeRequest::new(self.id) };
        cluster.write_within(&mut lane, "/lease/revoke", &request, limit)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_given_up {
            self.give_up();
            // Nobody is there to be told. If it fails, the lease ends after its time.
            let _ = self.revoke_within(self.keeper.cluster().limits.total_timeout.min(DROP_MAX));
        }
    }
}
