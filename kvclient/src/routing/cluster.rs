//! One cluster, as all operations of a client know it.

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

/// Nodes that share the total time at most, lest the attempts of a large cluster be too short.
const SHARES_MAX: usize = 7;

/// The way to one cluster: shared by all clones of a client, and by its watches.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) limits: Limits,
    pub(crate) lanes: Lanes,
    identity: Identity,
    endpoints: RwLock<Endpoints>,
}

impl Cluster {
    /// A cluster of which the given endpoints are known, and maybe its id.
    pub(crate) fn new(endpoints: Vec<Endpoint>, identity: Identity, limits: Limits, lanes: Lanes) -> Self {
        Self { limits, lanes, identity, endpoints: RwLock::new(Endpoints::new(endpoints)) }
    }

    /// The cluster's id, once it is known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.identity.get()
    }

    /// A question to a node of this cluster.
    pub(crate) fn target<'a>(&'a self, node: &'a Endpoint, path: &'a str) -> Target<'a> {
        Target { node, path, cluster: self.id(), redirects: true }
    }

    // A thread that panicked while it held this lock left at worst an outdated list of nodes behind.
    pub(crate) fn endpoints(&self) -> RwLockReadGuard<'_, Endpoints> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn endpoints_mut(&self) -> RwLockWriteGuard<'_, Endpoints> {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time for one exchange: a share of the total, so that one hung node leaves enough for all the others.
    pub(crate) fn attempt_limit(&self) -> Duration {
        let nodes = self.endpoints().all().take(SHARES_MAX).count();
        self.limits.attempt_timeout.min(self.limits.total_timeout / (nodes as u32 + 1))
    }

    /// Time for the first exchange of a round, after which others are asked as well: `patience` where there
    /// are others.
    pub(super) fn first_limit(&self, patience: Duration) -> Duration {
        let limit = self.attempt_limit();
        if self.endpoints().all().nth(1).is_some() { limit.min(patience) } else { limit }
    }

    /// Keeps in mind whether a node answered.
    pub(crate) fn note(&self, node: &Endpoint, failure: Option<&Failure>) {
        let suspect = self.endpoints().is_suspect(node);
        match failure {
            None if suspect => self.endpoints_mut().mark_up(node),
            // A connection that broke may have been an old one: the next attempt will tell.
            None | Some(Failure::Broken(_)) => {}
            Some(failure @ (Failure::NotSent(_) | Failure::Silent(_))) => {
                self.endpoints_mut().mark_down(node, failure, Instant::now());
            }
        }
    }

    /// Takes note of the cluster to which a node says that it belongs; the first that one of our nodes names is ours.
    ///
    /// # Errors
    /// The end of the attempt, if it is another one: nothing that the node says is believed, whatever it is.
    pub(crate) fn admit(&self, node: &Endpoint, named: Option<&str>) -> Result<(), Again> {
        let Some(named) = named else { return Ok(()) };
        let own = match self.id() {
            Some(own) => own,
            // Somebody may ask for the health of any node at all.
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

    /// As [`Cluster::admit`], of an answer that holds data: it must name the cluster.
    ///
    /// # Errors
    /// The same also for a node that belongs to no cluster yet, and knows of no data.
    pub(crate) fn admit_data(&self, node: &Endpoint, named: Option<&str>) -> Result<(), Again> {
        self.admit(node, named)?;
        named.map(drop).ok_or_else(|| {
            let detail = format!("{node} does not report a cluster, so it may not belong to one yet");
            Again::not_sent(Reason::NoLeader, detail)
        })
    }

    /// True where nobody is worth waiting for: all nodes belong to another cluster, or for long enough there was no connection
    /// to any.
    pub(crate) fn is_hopeless(&self, deadline: &Deadline) -> bool {
        let endpoints = self.endpoints();
        endpoints.are_all_strangers()
            || (deadline.elapsed() >= self.limits.unreachable_timeout && endpoints.nobody_connects())
    }

    /// The error when no further attempt is made: where no node answered, it names all of them.
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
            Verdict::Done(_) | Verdict::Missing => self.admit_data(node, named.as_deref()),
            Verdict::Redirect(_) | Verdict::Refused(_) | Verdict::Again(_) => self.admit(node, named.as_deref()),
        };
        match (admitted, verdict) {
            (Ok(()), verdict) => verdict,
            // A write that was carried out is one whoever did so.
            (Err(again), Verdict::Done(_)) => Verdict::Again(Again { applied: may_have(kind), ..again }),
            (Err(again), _) => Verdict::Again(again),
        }
    }
}
