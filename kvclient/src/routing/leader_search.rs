//! The search for the leader: asks nodes for their health until one names a leader that has not just failed.

use super::cluster::Cluster;
use super::endpoints::Leader;
use super::exchange::no_time_left;
use super::hedge::{HEDGE_AFTER, Hedge};
use super::lane::Lane;
use super::retry::Deadline;
use super::verdict::{Again, Reason};
use crate::api::{Health, NodeState};
use crate::endpoint::Endpoint;
use crate::transport::Transport;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time that a node may take to report its health during the search: other nodes may answer sooner.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// A node, and the result of asking it for its health.
type Probed = (Endpoint, Result<Health, Again>);

impl Cluster {
    /// Remembers the leader of a term, reported at `url`, unless that leader or a later one is known.
    pub(crate) fn learn_leader(&self, url: &str, term: u64) {
        let Ok(endpoint) = Endpoint::parse(url) else { return };
        let mut endpoints = self.endpoints_mut();
        // For the same leader, the URL already in use is known to work.
        if endpoints.leader().is_none_or(|present| present.term < Some(term)) {
            endpoints.set_leader(Leader { endpoint, term: Some(term), relays: false });
        }
    }

    /// Returns the remembered leader, or else the one that the nodes name; not one that `failed`, unless no node knows
    /// better.
    pub(super) fn find_leader(
        self: &Arc<Self>,
        lane: &Lane,
        failed: Option<&Leader>,
        deadline: &Deadline,
    ) -> Result<Leader, Again> {
        let trusted = |leader: &Leader| failed.is_none_or(|failed| leader.supersedes(failed));
        if let Some(leader) = self.endpoints().leader().filter(|leader| trusted(leader)) {
            return Ok(leader.clone());
        }
        let mut doubtful: Option<Leader> = None;
        let mut silence: Option<Again> = None;
        let mut answered = None;
        let first = self.probe_alone(lane, deadline);
        let others = self.probe_hedged(lane, deadline, first.as_ref().map(|(node, _)| node.clone()), failed);
        for (node, answer) in first.into_iter().chain(others) {
            match answer {
                Ok(health) => match leader_named(&node, &health) {
                    Some(leader) if trusted(&leader) => {
                        self.endpoints_mut().set_leader(leader.clone());
                        return Ok(leader);
                    }
                    Some(leader) if doubtful.as_ref().is_none_or(|other| other.term < leader.term) => {
                        doubtful = Some(leader);
                    }
                    Some(_) => {}
                    None => answered = Some(node),
                },
                Err(again) if silence.as_ref().is_some_and(|other| other.reason > again.reason) => {}
                Err(again) => silence = Some(again),
            }
        }
        match (doubtful, answered, silence) {
            (Some(leader), _, _) => {
                self.endpoints_mut().set_leader(leader.clone());
                Ok(leader)
            }
            (None, Some(node), _) => Err(Again::not_sent(Reason::NoLeader, format!("{node} knows no leader"))),
            // A probe only reads: whatever its outcome, the write was not sent.
            (None, None, Some(silence)) => Err(Again::not_sent(silence.reason, silence.detail)),
            (None, None, None) => Err(Again::not_sent(Reason::TimeOver, "no time left to look for a leader".into())),
        }
    }

    /// Asks one node for its health, on this thread and over the connections of this lane.
    fn probe_alone(&self, lane: &Lane, deadline: &Deadline) -> Option<Probed> {
        let node = self.endpoints().next(lane.start, &[], Instant::now())?.clone();
        let limit = deadline.attempt(self.first_limit(HEDGE_AFTER).min(PROBE_MAX))?;
        let answer = self.probe(&lane.transport, &node, limit);
        Some((node, answer))
    }

    /// Asks the other nodes for their health, one after another.
    fn probe_hedged(
        self: &Arc<Self>,
        lane: &Lane,
        deadline: &Deadline,
        first: Option<Endpoint>,
        failed: Option<&Leader>,
    ) -> impl Iterator<Item = Probed> + use<> {
        let (cluster, start) = (Arc::clone(self), lane.start);
        let next = move |asked: &[Endpoint]| cluster.endpoints().next(start, asked, Instant::now()).cloned();
        let (cluster, deadline) = (Arc::clone(self), *deadline);
        let failed = failed.map(|leader| leader.endpoint.clone());
        Hedge::new(first.into_iter().collect(), next, deadline.moment(), move |node: &Endpoint| {
            // Waiting longer for a node that did not take the write is unlikely to help.
            let limit_max = if failed.as_ref() == Some(node) { HEDGE_AFTER } else { PROBE_MAX };
            let answer = match deadline.attempt(cluster.attempt_limit().min(limit_max)) {
                Some(limit) => cluster.probe(&Transport::new(), node, limit),
                None => Err(no_time_left(node)),
            };
            (node.clone(), answer)
        })
    }
}

/// Returns the leader according to a node's health. If that is the node itself, prefers the URL at which it was
/// reached.
fn leader_named(node: &Endpoint, health: &Health) -> Option<Leader> {
    let endpoint = if health.state == NodeState::Leader {
        node.clone()
    } else {
        Endpoint::parse(&health.leader.as_ref()?.url).ok()?
    };
    Some(Leader { endpoint, term: Some(health.term), relays: false })
}
