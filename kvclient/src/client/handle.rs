//! The handle with all groups of operations. [`crate::routing`] decides to which node an operation goes.

use crate::api::Applied;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::lease::Keeper;
use crate::routing::{Cluster, Identity, Lanes, Limits};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A handle to a cluster.
///
/// Clones are cheap and share everything; use one from as many threads as you like. Operations that run at the same
/// time use separate connections.
///
/// ```
/// use kvclient::Client;
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// client.set("color", "blue")?;
/// let item = client.get("color")?.expect("just written");
/// assert_eq!(item.value_str(), Some("blue"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) cluster: Arc<Cluster>,
    pub(super) keeper: Arc<Keeper>,
}

impl Client {
    pub(crate) fn new(endpoints: Vec<Endpoint>, identity: Identity, limits: Limits) -> Self {
        Self::of(Cluster::new(endpoints, identity, limits, Lanes::new()))
    }

    /// Like [`Client::new`], but asks the nodes in the order given.
    #[cfg(test)]
    pub(crate) fn in_order(endpoints: Vec<Endpoint>, identity: Identity, limits: Limits) -> Self {
        Self::of(Cluster::new(endpoints, identity, limits, Lanes::starting_at(0)))
    }

    fn of(cluster: Cluster) -> Self {
        let cluster = Arc::new(cluster);
        Self { keeper: Arc::new(Keeper::new(Arc::clone(&cluster))), cluster }
    }

    #[cfg(test)]
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Reads a path that every node answers.
    pub(super) fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.cluster.read(path)?.ok_or_else(|| {
            let message = format!("key_not_found for {path}");
            Error::Unexpected { endpoint: "a node".into(), applied: Applied::No, message }
        })
    }
}
