//! The state of the nodes, and the leader.

use super::handle::Client;
use super::status::{self, NodeStatus};
use crate::api::{Health, LeaderReply, TransferRequest};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::leader_watch::LeaderWatch;
use std::sync::Arc;

impl Client {
    /// Returns the id of the cluster that this client is bound to. `None` until one was given or a node has named one.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let id = client.cluster_id().expect("a node has answered").to_owned();
    /// let same = Client::builder().endpoints(endpoints).cluster_id(id).build()?;
    /// assert!(same.get("color")?.is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster.id()
    }

    /// Returns the view of one node: its state, term, log and store. Only that node is asked, and only once.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the endpoint is not a URL, [`Error::Unreachable`] if the node does not answer within
    /// the time limit of an attempt, [`Error::WrongCluster`] if it belongs to another cluster.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let health = client.health(&endpoints[0])?;
    /// println!("{} is {} in term {}", health.id, health.state, health.term);
    /// # anyhow::Ok(())
    /// ```
    pub fn health(&self, endpoint: &str) -> Result<Health, Error> {
        let endpoint = Endpoint::of_user(endpoint)?;
        let lane = self.cluster.lanes.borrow();
        let limits = self.cluster.limits;
        self.cluster.health(&lane.transport, &endpoint, limits.attempt_timeout.min(limits.total_timeout))
    }

    /// Returns every member of the cluster with its health, reachable or not, sorted by name.
    ///
    /// All nodes are asked at once. However many nodes are down, this takes at most twice the time limit of an attempt,
    /// and no longer than the total limit. A node that is down does not make it fail: it is part of the answer.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no node answered at all.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// for node in client.status()? {
    ///     match node.health {
    ///         Ok(health) => println!("{}: {}", node.name, health.state),
    ///         Err(error) => println!("{}: {error}", node.name),
    ///     }
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn status(&self) -> Result<Vec<NodeStatus>, Error> {
        status::of_all_nodes(&self.cluster)
    }

    /// Returns the leader, according to one node that knows one.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if no node knew one within the total time; otherwise as [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let leader = client.leader()?;
    /// println!("{} leads term {} at {}", leader.id, leader.term, leader.url);
    /// # anyhow::Ok(())
    /// ```
    pub fn leader(&self) -> Result<LeaderReply, Error> {
        self.fetch("/leader")
    }

    /// Transfers leadership to a member, or to the most up-to-date one, and returns the new leader.
    ///
    /// The present leader first brings the other node up to date and takes no writes meanwhile, so that the cluster is
    /// without a leader only for a moment; writes of this and other clients wait for that moment. Useful before the
    /// leader's machine is shut down, or to keep leadership on the fastest machine.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if there is no such member, or it cannot lead; [`Error::TransferFailed`] if it did not
    /// take over within an election timeout, or no member could; otherwise as [`Client::set`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let leader = client.transfer_leader(Some("node2"))?;
    /// assert_eq!(leader.id, "node2");
    /// # anyhow::Ok(())
    /// ```
    pub fn transfer_leader(&self, to: Option<&str>) -> Result<LeaderReply, Error> {
        let lane = self.cluster.lanes.borrow();
        let request = TransferRequest { to: to.map(str::to_owned) };
        let leader: LeaderReply = self.cluster.change(&lane, "/leader/transfer", None, &request)?;
        self.cluster.learn_leader(&leader.url, leader.term);
        Ok(leader)
    }

    /// Watches the leader: returns first the present leader, then each change, while nodes come and go.
    ///
    /// The watch is an endless iterator, and `next` waits for the next change. It is independent of this client, which
    /// may be dropped. It is bound to the client's cluster: if all nodes of that cluster are gone and nodes of another
    /// one have their addresses, it reports no leader.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// for change in client.watch_leader() {
    ///     println!("term {}: {:?} -> {:?}", change.term, change.previous, change.leader);
    ///     # break;
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn watch_leader(&self) -> LeaderWatch {
        LeaderWatch::new(Arc::clone(&self.cluster))
    }
}
