//! One cluster, shared by all operations of a client.

use super::endpoints::Endpoints;
use super::identity::Identity;
use super::lane::Lanes;
use super::retry::{Deadline, Limits};
use super::tally::Tally;
use super::verdict::{Again, Kind, Reason, Verdict, judge, may_have};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::{Failure, Reply, Target};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Maximum number of nodes among which the total time is divided, or the attempts of a large cluster would be too
/// short.
const SHARES_MAX: usize = 7;

/// The state of one cluster, shared by all clones of a client and by its watches.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) limits: Limits,
    pub(crate) lanes: Lanes,
    identity: Identity,
    endpoints: RwLock<Endpoints>,
}

impl Cluster {
    /// Creates a cluster with the given endpoints, and possibly a known id.
    pub(crate) fn new(endpoints: Vec<Endpoint>, identity: Identity, limits: Limits, lanes: Lanes) -> Self {
        Self { limits, lanes, identity, endpoints: RwLock::new(Endpoints::new(endpoints)) }
    }

    /// Returns the cluster's id, once known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.identity.get()
    }

    /// Builds the target of a request to a node of this cluster.
    pub(crate) fn target<'a>(&'a self, node: &'a Endpoint, path: &'a str) -> Target<'a> {
        Target { node, path, cluster: self.id(), redirects: true }
    }

    // If a thread panicked while it held this lock, at worst the list of nodes is outdated.
    pub(crate) fn endpoints(&self) -> RwLockReadGuard<'_, Endpoints> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn endpoints_mut(&self) -> RwLockWriteGuard<'_, Endpoints> {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time for one exchange: a share of the total, so that one hung node leaves enough for all the others.
    pub(crate) fn attempt_limit(&self) -> Duration {
        let nodes = self.endpoints().all().take(SHARES_MAX).count();
        self.limits.attempt_timeout.min(self.limits.total_timeout / (nodes as u32 + 1))
    }

    /// Returns the time for the first exchange of a round, after which other nodes are asked as well: `patience` if
    /// there are other nodes.
    pub(super) fn first_limit(&self, patience: Duration) -> Duration {
        let limit = self.attempt_limit();
        if self.endpoints().all().nth(1).is_some() { limit.min(patience) } else { limit }
    }

    /// Records whether a node answered.
    pub(crate) fn note(&self, node: &Endpoint, failure: Option<&Failure>) {
        let suspect = self.endpoints().is_suspect(node);
        match failure {
            None if suspect => self.endpoints_mut().mark_up(node),
            // A connection that broke may have been an old one. The next attempt will show.
            None | Some(Failure::Broken(_)) => {}
            Some(failure @ (Failure::NotSent(_) | Failure::Silent(_))) => {
                self.endpoints_mut().mark_down(node, failure, Instant::now());
            }
        }
    }

    /// Checks the cluster id that a node names. The first id that one of our nodes names becomes ours.
    ///
    /// # Errors
    /// The end of the attempt, if it is another cluster's id: nothing in the node's answer is trusted.
    pub(crate) fn admit(&self, node: &Endpoint, named: Option<&str>) -> Result<(), Again> {
        let Some(named) = named else { return Ok(()) };
        let own = match self.id() {
            Some(own) => own,
            // A caller may ask for the health of any node.
            None if !self.endpoints().knows(node) => return Ok(()),
            None => self.identity.learn(named),
        };
        let was_stranger = self.endpoints().is_stranger(node);
        if own == named {
            if was_stranger {
                self.endpoints_mut().unmark_stranger(node);
            }
            return Ok(());
        }
        if !was_stranger {
            self.endpoints_mut().mark_stranger(node);
        }
        let detail = format!("{node} belongs to cluster {named}, but this client to cluster {own}");
        Err(Again::not_sent(Reason::WrongCluster, detail))
    }

    /// Like [`Cluster::admit`], for an answer that holds data: it must name the cluster.
    ///
    /// # Errors
    /// The same error also for a node that belongs to no cluster yet, and has no data.
    pub(crate) fn admit_data(&self, node: &Endpoint, named: Option<&str>) -> Result<(), Again> {
        self.admit(node, named)?;
        named.map(drop).ok_or_else(|| {
            let detail = format!("{node} does not report a cluster, so it may not belong to one yet");
            Again::not_sent(Reason::NoLeader, detail)
        })
    }

    /// Returns true if waiting is pointless: all nodes belong to another cluster, or for long enough there was no
    /// connection to any.
    pub(crate) fn is_hopeless(&self, deadline: &Deadline) -> bool {
        let endpoints = self.endpoints();
        endpoints.are_all_strangers()
            || (deadline.elapsed() >= self.limits.unreachable_timeout && endpoints.nobody_connects())
    }

    /// Returns the error when no further attempt is made. If no node answered, it names all of them.
    pub(crate) fn give_up(&self, tally: Tally, deadline: &Deadline) -> Error {
        tally.give_up(deadline.elapsed(), self.endpoints().silence())
    }

    /// Judges one attempt at a node.
    pub(crate) fn judge(&self, kind: Kind, node: &Endpoint, result: Result<Reply, Failure>) -> Verdict {
        self.note(node, result.as_ref().err());
        let named = match &result {
            Ok(reply) => reply.cluster.clone(),
            Err(_) => return judge(kind, node, result),
        };
        let verdict = judge(kind, node, result);
        let admitted = match verdict {
            Verdict::Done(_) | Verdict::Missing { .. } => self.admit_data(node, named.as_deref()),
            Verdict::Redirect(_) | Verdict::Refused(_) | Verdict::Again(_) => self.admit(node, named.as_deref()),
        };
        match (admitted, verdict) {
            (Ok(()), verdict) => verdict,
            // A write that was carried out counts as one, whichever cluster did so.
            (Err(again), Verdict::Done(_)) => Verdict::Again(Again { applied: may_have(kind), ..again }),
            (Err(again), _) => Verdict::Again(again),
        }
    }
}
