//! The way around a leader that cannot be reached: through a node that forwards writes to it.
//!
//! A cluster names its leader by an address in its own network (`--advertise-client-url`). From elsewhere, behind a
//! load balancer or through a tunnel, that address may not work, although the endpoints that the caller gave do. Every
//! node takes a write and forwards it, unless the request asks for a redirect instead. So the write goes, under the
//! same request id, to a node that the caller gave, and that route is remembered for the next one.

use super::cluster::Cluster;
use super::endpoints::Leader;
use super::retry::Deadline;
use super::verdict::{Again, Reason};
use crate::api::Applied;
use crate::endpoint::Endpoint;
use std::time::{Duration, Instant};

/// Time for which a leader at an endpoint that the caller gave may be unreachable before another route is taken. Until
/// then the leader is more likely down, and another one is elected within this time.
const GIVEN_LEADER_PATIENCE: Duration = Duration::from_secs(1);

/// The nodes that one write has been sent to for forwarding.
#[derive(Debug, Default)]
pub(super) struct Relays {
    tried: Vec<Endpoint>,
}

impl Relays {
    /// Returns another node that forwards the write to the leader, or the leader itself if there is none.
    pub(super) fn past(&mut self, leader: Leader, cluster: &Cluster, start: usize) -> Leader {
        let next = |tried: &[Endpoint]| {
            let but = [tried, std::slice::from_ref(&leader.endpoint)].concat();
            cluster.endpoints().relay(start, &but, Instant::now()).cloned()
        };
        let relay = next(&self.tried).or_else(|| {
            // Every node has had its turn, and may do better now.
            self.tried.clear();
            next(&[])
        });
        let Some(endpoint) = relay else { return leader };
        self.tried.push(endpoint.clone());
        Leader { endpoint, term: leader.term, relays: true }
    }
}

/// Returns true if the attempt ended because the leader cannot be reached at that address, and this is unlikely to
/// pass.
pub(super) fn is_out_of_reach(leader: &Leader, again: &Again, cluster: &Cluster, deadline: &Deadline) -> bool {
    let was_met = match again.reason {
        // Another server is at that address.
        Reason::WrongCluster => false,
        Reason::Unreachable => again.applied == Applied::Unknown,
        Reason::TimeOver | Reason::NoLeader | Reason::Overloaded => true,
    };
    let is_given = cluster.endpoints().was_given(&leader.endpoint);
    !leader.relays && !was_met && (!is_given || deadline.elapsed() >= GIVEN_LEADER_PATIENCE)
}
