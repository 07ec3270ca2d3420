//! Settings of a client, checked once, when it is built.

use crate::api::parse_hex_id;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::routing::{Backoff, Identity, Limits};
use std::time::Duration;

/// Settings of a [`Client`], from [`Client::builder`].
///
/// ```
/// use kvclient::Client;
/// use std::time::Duration;
///
/// let client = Client::builder()
///     .endpoint("http://127.0.0.1:8081")
///     .endpoint("http://127.0.0.1:8082")
///     .total_timeout(Duration::from_secs(3))
///     .build()?;
/// # Ok::<(), kvclient::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    cluster_id: Option<String>,
    limits: Limits,
}

impl ClientBuilder {
    /// Longest total time limit. The cluster remembers a request for an hour, so a retry within half of that is certain
    /// to be recognised.
    ///
    /// ```
    /// assert_eq!(kvclient::ClientBuilder::TOTAL_TIMEOUT_MAX.as_secs(), 30 * 60);
    /// ```
    pub const TOTAL_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 60);

    pub(crate) fn new() -> Self {
        Self {
            endpoints: Vec::new(),
            cluster_id: None,
            limits: Limits {
                attempt_timeout: Duration::from_secs(2),
                total_timeout: Duration::from_secs(10),
                unreachable_timeout: Duration::MAX,
                retries: u32::MAX,
                backoff: Backoff { min: Duration::from_millis(10), max: Duration::from_millis(250) },
            },
        }
    }

    /// Adds the URL of a node, such as `http://127.0.0.1:8081`.
    ///
    /// One running node is enough, since it names the others. Give several, so that one of them is running.
    ///
    /// ```
    /// let client = kvclient::Client::builder().endpoint("http://127.0.0.1:8081").build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn endpoint(self, url: impl AsRef<str>) -> Self {
        self.endpoints([url])
    }

    /// Adds the URLs of several nodes.
    ///
    /// ```
    /// let client = kvclient::Client::builder()
    ///     .endpoints(["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"])
    ///     .build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn endpoints(mut self, urls: impl IntoIterator<Item: AsRef<str>>) -> Self {
        self.endpoints.extend(urls.into_iter().map(|url| url.as_ref().to_owned()));
        self
    }

    /// Sets the id of the cluster, sixteen hexadecimal digits: `cluster` in `GET /health` of its nodes, or
    /// [`Client::cluster_id`].
    ///
    /// Without it the client adopts the first id that one of the endpoints names. Either way it never changes to
    /// another cluster: a node of another one, whether its address was given by mistake or it was set up anew, is never
    /// read from nor written to. If no other node is left, the operation fails with [`Error::WrongCluster`].
    ///
    /// ```
    /// let client = kvclient::Client::builder()
    ///     .endpoint("http://127.0.0.1:8081")
    ///     .cluster_id("5d0c8f4de9d1f4a2")
    ///     .build()?;
    /// assert_eq!(client.cluster_id(), Some("5d0c8f4de9d1f4a2"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = Some(id.into());
        self
    }

    /// Sets how long to wait for one node to answer one request, including the connection. The default is 2 seconds,
    /// and never more than a share of the total time limit, so that one hung node leaves time for the others.
    ///
    /// When a leader falls silent without closing its connections, a write takes this long to notice. A read does not:
    /// a second node is asked after 150 milliseconds of silence.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let builder = kvclient::Client::builder().endpoint("http://127.0.0.1:8081");
    /// let client = builder.attempt_timeout(Duration::from_millis(500)).build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.limits.attempt_timeout = limit;
        self
    }

    /// Sets how long an operation may take in total, including retries and waits. The default is 10 seconds, the
    /// maximum 30 minutes: the cluster remembers a request for an hour, and recognises a repeat only for that long.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let builder = kvclient::Client::builder().endpoint("http://127.0.0.1:8081");
    /// let client = builder.total_timeout(Duration::from_secs(60)).build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn total_timeout(mut self, limit: Duration) -> Self {
        self.limits.total_timeout = limit;
        self
    }

    /// Sets how long an operation keeps trying while no node at all can be connected to, each having been tried. By
    /// default as long as the total time allows, so that a program survives a restart of the cluster. Somebody at a
    /// terminal would rather know soon.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let builder = kvclient::Client::builder().endpoint("http://127.0.0.1:8081");
    /// let client = builder.unreachable_timeout(Duration::from_millis(500)).build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn unreachable_timeout(mut self, limit: Duration) -> Self {
        self.limits.unreachable_timeout = limit;
        self
    }

    /// Sets how many failed attempts an operation repeats, on any node. The default is as many as the total time
    /// allows. A redirect to the leader is not a failure and does not count.
    ///
    /// ```
    /// # let builder = kvclient::Client::builder().endpoint("http://127.0.0.1:8081");
    /// let impatient = builder.retries(0).build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.limits.retries = retries;
        self
    }

    /// Sets the waits between rounds of attempts. Each is drawn evenly between zero and a ceiling, which starts at
    /// `min` and doubles up to `max`. The defaults are 10 and 250 milliseconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let builder = kvclient::Client::builder().endpoint("http://127.0.0.1:8081");
    /// let client = builder.backoff(Duration::from_millis(50), Duration::from_secs(2)).build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.limits.backoff = Backoff { min, max };
        self
    }

    /// Creates the client. Nothing is sent, so no running cluster is needed.
    ///
    /// # Errors
    /// [`Error::Configuration`] if an endpoint is missing or not a URL, or a limit is invalid.
    ///
    /// ```
    /// use kvclient::{Client, Error};
    ///
    /// let error = Client::builder().endpoint("localhost:8081").build().unwrap_err();
    /// assert!(matches!(&error, Error::Configuration { .. }));
    /// assert!(error.to_string().contains("write http://localhost:8081"));
    /// ```
    pub fn build(self) -> Result<Client, Error> {
        self.check().map(|(endpoints, identity, limits)| Client::new(endpoints, identity, limits))
    }

    /// Like [`ClientBuilder::build`], but asks the nodes in the order given.
    #[cfg(test)]
    pub(crate) fn build_in_order(self) -> Result<Client, Error> {
        self.check().map(|(endpoints, identity, limits)| Client::in_order(endpoints, identity, limits))
    }

    fn check(self) -> Result<(Vec<Endpoint>, Identity, Limits), Error> {
        let refuse = |message: &str| Err(Error::Configuration { message: message.into() });
        let Limits { attempt_timeout, total_timeout, backoff, .. } = self.limits;
        if self.endpoints.is_empty() {
            return refuse("no endpoint: give the URL of at least one node, such as http://127.0.0.1:8081");
        }
        if attempt_timeout.is_zero() || total_timeout.is_zero() {
            return refuse("a time limit of zero leaves no time for any attempt");
        }
        if total_timeout > Self::TOTAL_TIMEOUT_MAX {
            return refuse("the total time limit is above 30 minutes, after which a retry may not be recognized");
        }
        if backoff.min > backoff.max {
            return refuse("the minimum backoff is above the maximum");
        }
        let mut endpoints: Vec<Endpoint> = Vec::with_capacity(self.endpoints.len());
        for text in &self.endpoints {
            let endpoint = Endpoint::of_user(text)?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        let id = self.cluster_id.as_deref();
        if id.is_some_and(|id| parse_hex_id(id).is_none()) {
            return refuse("a cluster id is 16 lowercase hexadecimal digits, as `cluster` in GET /health");
        }
        Ok((endpoints, Identity::new(id), self.limits))
    }
}

impl Client {
    /// Creates a client of the cluster that the given nodes belong to, with default settings.
    ///
    /// The endpoints are the nodes' client URLs. They are checked now and used later, so no running cluster is needed,
    /// and this does not wait for one.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there is no endpoint, or one is not a URL.
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// let client = Client::connect(["http://127.0.0.1:8081", "http://127.0.0.1:8082"])?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn connect(endpoints: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, Error> {
        Self::builder().endpoints(endpoints).build()
    }

    /// Returns a builder for a client with custom settings.
    ///
    /// ```
    /// use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// let client = Client::builder()
    ///     .endpoint("http://127.0.0.1:8081")
    ///     .attempt_timeout(Duration::from_millis(500))
    ///     .build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused_when_built() {
        let builder = || Client::builder().endpoint("http://127.0.0.1:8081");
        let second = Duration::from_secs(1);
        for (builder, says) in [
            (Client::builder(), "at least one node"),
            (Client::builder().endpoints(Vec::<String>::new()), "at least one node"),
            (builder().endpoint("127.0.0.1:8082"), "write http://127.0.0.1:8082"),
            (builder().cluster_id("5d0c"), "16 lowercase hexadecimal digits"),
            (builder().cluster_id("5D0C8F4DE9D1F4A2"), "lowercase hexadecimal digits"),
            (builder().attempt_timeout(Duration::ZERO), "no time for any attempt"),
            (builder().total_timeout(Duration::ZERO), "no time for any attempt"),
            (builder().total_timeout(ClientBuilder::TOTAL_TIMEOUT_MAX + second), "30 minutes"),
            (builder().backoff(second * 2, second), "minimum backoff"),
        ] {
            let error = builder.build().expect_err(says);
            assert!(matches!(error, Error::Configuration { .. }), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(builder().attempt_timeout(Duration::MAX).backoff(Duration::ZERO, Duration::MAX).build().is_ok());
    }
}
