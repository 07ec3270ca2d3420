//! Leases, which delete their keys when they end.

use super::handle::Client;
use super::time::to_ms;
use crate::api::{
    GrantReply, GrantRequest, KeepAliveReply, KeepAliveRequest, LeaseId, LeaseQuery, LeaseReply, LeasesQuery,
    LeasesReply, RevokeReply, RevokeRequest, check_ttl_ms,
};
use crate::error::Error;
use crate::lease::Lease;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

impl Client {
    /// Grants a lease and keeps it alive until it is dropped.
    ///
    /// One thread in the background does this for all leases of a client and its clones. The lease lives on for `ttl`
    /// after this process has died. Make `ttl` a few times longer than an election takes, so that the lease survives
    /// one.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if `ttl` is under 500 milliseconds or over 9,000,000,000 seconds;
    /// [`Error::Configuration`] if the system has no thread left; otherwise as [`Client::set`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let lease = client.grant_lease(Duration::from_secs(10))?;
    /// println!("{} lives as long as this process", lease.id());
    /// # anyhow::Ok(())
    /// ```
    pub fn grant_lease(&self, ttl: Duration) -> Result<Lease, Error> {
        let sent = Instant::now();
        let granted = self.grant_lease_with(GrantRequest::new(to_ms(ttl)))?;
        Lease::keep(Arc::clone(&self.keeper), granted, sent)
    }

    /// Grants a lease with every option of the API, and does not keep it alive: it ends after its time, unless the
    /// caller renews it.
    ///
    /// # Errors
    /// [`Error::LeaseExists`] if the caller chose an id that is in use; otherwise as [`Client::grant_lease`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::GrantRequest;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let granted = client.grant_lease_with(GrantRequest::new(15_000))?;
    /// println!("{} ends in {} ms", granted.lease, granted.ttl_ms);
    /// # anyhow::Ok(())
    /// ```
    pub fn grant_lease_with(&self, mut request: GrantRequest) -> Result<GrantReply, Error> {
        check_ttl_ms(request.ttl_ms).map_err(|message| Error::InvalidRequest { message })?;
        let mut lane = self.cluster.lanes.borrow();
        request.request.get_or_insert_with(|| lane.session.next());
        self.cluster.write(&mut lane, "/lease/grant", &request)
    }

    /// Takes over a lease that exists, and keeps it alive until it is dropped: after [`Lease::release`], or in a
    /// process that continues the work of another one.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it has ended; [`Error::Configuration`] if the system has no thread left; otherwise
    /// as [`Client::set`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease(Duration::from_secs(10))?.release();
    /// let lease = client.keep_lease(id)?;
    /// assert_eq!(lease.id(), id);
    /// # anyhow::Ok(())
    /// ```
    pub fn keep_lease(&self, lease: LeaseId) -> Result<Lease, Error> {
        let sent = Instant::now();
        let ttl_ms = to_ms(self.renew_lease(lease)?);
        Lease::keep(Arc::clone(&self.keeper), GrantReply { lease, ttl_ms }, sent)
    }

    /// Starts the time of a lease anew, once. Returns the whole of that time.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it has ended; otherwise as [`Client::set`]. Repeating it is safe.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease(Duration::from_secs(10))?.release();
    /// assert_eq!(client.renew_lease(id)?, Duration::from_secs(10));
    /// # anyhow::Ok(())
    /// ```
    pub fn renew_lease(&self, lease: LeaseId) -> Result<Duration, Error> {
        match self.keep_alive(&KeepAliveRequest::One(lease))? {
            KeepAliveReply::One { ttl_ms } => Ok(Duration::from_millis(ttl_ms)),
            KeepAliveReply::Many { .. } => Err(unexpected("many leases in the reply for one")),
        }
    }

    /// Starts the times of many leases anew, once, in one request. Returns the time of each, `None` for those that have
    /// ended.
    ///
    /// # Errors
    /// As [`Client::set`]. Repeating it is safe.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease(Duration::from_secs(10))?.release();
    /// let ended = client.grant_lease(Duration::from_secs(10))?.id(); // and dropped
    /// let times = client.renew_leases([id, ended])?;
    /// assert_eq!((times[&id], times[&ended]), (Some(Duration::from_secs(10)), None));
    /// # anyhow::Ok(())
    /// ```
    pub fn renew_leases(
        &self,
        leases: impl IntoIterator<Item = LeaseId>,
    ) -> Result<BTreeMap<LeaseId, Option<Duration>>, Error> {
        match self.keep_alive(&KeepAliveRequest::Many(leases.into_iter().collect()))? {
            KeepAliveReply::Many { leases } => {
                Ok(leases.into_iter().map(|(id, ttl_ms)| (id, ttl_ms.map(Duration::from_millis))).collect())
            }
            KeepAliveReply::One { .. } => Err(unexpected("one lease in the reply for many")),
        }
    }

    /// Ends a lease, and deletes its keys in one revision.
    ///
    /// # Errors
    /// [`Error::LeaseNotFound`] if it has ended already; otherwise as [`Client::set`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::GrantRequest;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease_with(GrantRequest::new(15_000))?.lease;
    /// assert_eq!(client.revoke_lease(id)?.deleted, 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn revoke_lease(&self, lease: LeaseId) -> Result<RevokeReply, Error> {
        let mut lane = self.cluster.lanes.borrow();
        let request = RevokeRequest { request: Some(lane.session.next()), ..RevokeRequest::new(lease) };
        self.cluster.write(&mut lane, "/lease/revoke", &request)
    }

    /// Returns a lease: its time, what is left of it, and the number of its keys. `None` if it has ended.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::GrantRequest;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease_with(GrantRequest::new(15_000))?.lease;
    /// let lease = client.lease(id)?.expect("just granted");
    /// assert!(lease.remaining_ms <= lease.ttl_ms);
    /// # anyhow::Ok(())
    /// ```
    pub fn lease(&self, lease: LeaseId) -> Result<Option<LeaseReply>, Error> {
        self.look_at(LeaseQuery::new(lease))
    }

    /// Like [`Client::lease`], with the keys in `items`.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// use kvclient::api::GrantRequest;
    /// use kvclient::{Client, SetRequest};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease_with(GrantRequest::new(15_000))?.lease;
    /// client.set_with(SetRequest { lease: Some(id), ..SetRequest::new("color", "blue") })?;
    /// let lease = client.lease_with_keys(id)?.expect("just granted");
    /// assert_eq!(lease.items, Some(vec!["color".into()]));
    /// # anyhow::Ok(())
    /// ```
    pub fn lease_with_keys(&self, lease: LeaseId) -> Result<Option<LeaseReply>, Error> {
        self.look_at(LeaseQuery { keys: true, ..LeaseQuery::new(lease) })
    }

    /// Returns all leases, in order of their ids, except those that `ttl_ms` has made for single keys.
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::GrantRequest;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let id = client.grant_lease_with(GrantRequest::new(15_000))?.lease;
    /// let leases = client.leases().collect::<Result<Vec<_>, _>>()?;
    /// assert!(leases.iter().any(|lease| lease.lease == id));
    /// # anyhow::Ok(())
    /// ```
    pub fn leases(&self) -> Leases {
        Leases { client: self.clone(), next: Some(LeasesQuery::default()), page: Vec::new().into_iter() }
    }

    fn look_at(&self, query: LeaseQuery) -> Result<Option<LeaseReply>, Error> {
        match self.fetch(&format!("/lease?{}", query.to_query())) {
            Ok(lease) => Ok(Some(lease)),
            Err(Error::LeaseNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keep_alive(&self, request: &KeepAliveRequest) -> Result<KeepAliveReply, Error> {
        let mut lane = self.cluster.lanes.borrow();
        self.cluster.write(&mut lane, "/lease/keepalive", request)
    }
}

fn unexpected(message: &str) -> Error {
    Error::Unexpected { endpoint: "a node".into(), applied: crate::api::Applied::Unknown, message: message.into() }
}

/// All leases of the store, from [`Client::leases`]. They are read a page at a time, each page from the newest state.
/// Ends with the first error.
#[derive(Debug)]
pub struct Leases {
    client: Client,
    /// The next page, `None` if there is none.
    next: Option<LeasesQuery>,
    page: vec::IntoIter<LeaseReply>,
}

impl Iterator for Leases {
    type Item = Result<LeaseReply, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(lease) = self.page.next() {
                return Some(Ok(lease));
            }
            let query = self.next.take()?;
            match self.client.fetch::<LeasesReply>(&format!("/leases?{}", query.to_query())) {
                Ok(page) => {
                    self.next = page.next.map(|next| LeasesQuery { next: Some(next), ..query });
                    self.page = page.leases.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
