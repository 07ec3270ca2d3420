//! The way past a leader that cannot be reached: through a node that sends writes on to it.
//!
//! A cluster says where its leader is in the words of its own network (`--advertise-client-url`). From elsewhere, behind a
//! load balancer or through a tunnel, that address may lead nowhere, though the endpoints that the caller gave do. Every
//! node takes a write and sends it on, unless it is asked to say where the leader is instead. So the write goes, under the
//! same request id, to a node that the caller gave, and that way is remembered for the next one.

use super::cluster::Cluster;
use super::endpoints::Leader;
use super::retry::Deadline;
use super::verdict::{Again, Reason};
use crate::api::Applied;
use crate::endpoint::Endpoint;
use std::time::{Duration, Instant};

/// How long a leader at an endpoint that the caller gave may be out of reach before another way is taken. Until then it is
/// rather down, and another one is elected within this time.
const GIVEN_LEADER_PATIENCE: Duration = Duration::from_secs(1);

/// The nodes that one write has been given to in this way.
#[derive(Debug, Default)]
pub(super) struct Relays {
    tried: Vec<Endpoint>,
}

impl Relays {
    /// Another node that sends the write on to the leader; the leader itself where there is none.
    pub(super) fn past(&mut self, leader: Leader, cluster: &Cluster, start: usize) -> Leader {
        let next = |tried: &[Endpoint]| {
            let but = [tried, std::slice::from_ref(&leader.endpoint)].concat();
            cluster.endpoints().relay(start, &but, Instant::now()).cloned()
        };
        let relay = next(&self.tried).or_else(|| {
            // Each has had its turn, and may fare better now.
            self.tried.clear();
            next(&[])
        });
        let Some(endpoint) = relay else { return leader };
        self.tried.push(endpoint.clone());
        Leader { endpoint, term: leader.term, relays: true }
    }
}

/// Returns true if the attempt ended because the leader cannot be reached at that address, and is not about to be.
pub(super) fn is_out_of_reach(leader: &Leader, again: &Again, cluster: &Cluster, deadline: &Deadline) -> bool {
    let was_met = match again.reason {
        // Somebody else is there.
        Reason::WrongCluster => false,
        Reason::Unreachable => again.applied == Applied::Unknown,
        Reason::TimeOver | Reason::NoLeader | Reason::Overloaded => true,
    };
    let is_given = cluster.endpoints().was_given(&leader.endpoint);
    !leader.relays && !was_met && (!is_given || deadline.elapsed() >= GIVEN_LEADER_PATIENCE)
}
