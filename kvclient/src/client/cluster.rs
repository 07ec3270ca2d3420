//! The state of the nodes, and which of them leads.

use super::handle::Client;
use super::status::{self, NodeStatus};
use crate::api::{Health, LeaderReply, TransferRequest};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::leader_watch::LeaderWatch;
use std::sync::Arc;

impl Client {
    /// The id of the cluster that this client keeps to; `None` until one was given or a node has named one.
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

    /// What one node knows: its state, term, log and store. That node alone is asked, and once.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the endpoint is no URL, [`Error::Unreachable`] if the node does not
    /// answer within the time limit of an attempt, [`Error::WrongCluster`] if it belongs to another cluster.
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

    /// Every member of the cluster with its health, reachable or not, in the order of their names.
    ///
    /// All nodes are asked at once. This takes at most twice the time limit of an attempt and no longer than
    /// the total, however many nodes are down, and fails for none of them: a node that is down is part of the
    /// answer.
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

    /// The node that leads, as one node that knows a leader tells it.
    ///
    /// # Errors
    /// [`Error::NoLeader`] when no node knew one within the total time; otherwise as [`Client::get`].
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

    /// Hands leadership over to a member, or to the most up-to-date one, and returns the new leader.
    ///
    /// The present leader brings the other up to date first and takes no writes meanwhile, so that the cluster is
    /// without a leader for a moment only; writes of this and other clients wait for that moment. Useful before the
    /// machine of a leader is shut down, or to keep it on the fastest one.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] where no such member, or it cannot lead; [`Error::TransferFailed`] where it did
    /// not take over within an election timeout, or there is nobody who could; otherwise as [`Client::set`].
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

    /// Watches who leads: first the present leader, then each change, whichever nodes come and go.
    ///
    /// The watch is an endless iterator, whose `next` waits for the next change. It is independent of
    /// this client, which may be dropped. It keeps to the client's cluster: where all its nodes are gone, and others have
    /// their addresses, nobody leads it.
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
