//! One cluster, as all operations of a client know it.

use super::endpoints::Endpoints;
use super::lane::Lanes;
use super::retry::Limits;
use crate::endpoint::Endpoint;
use crate::transport::Failure;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Nodes that share the total time at most, lest the attempts of a large cluster be too short.
const SHARES_MAX: usize = 7;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) limits: Limits,
    pub(crate) lanes: Lanes,
    endpoints: RwLock<Endpoints>,
}

impl Cluster {
    /// A cluster of which the given endpoints are known.
    pub(crate) fn new(endpoints: Vec<Endpoint>, limits: Limits, lanes: Lanes) -> Self {
        Self { limits, lanes, endpoints: RwLock::new(Endpoints::new(endpoints)) }
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
            Some(Failure::NotSent(_) | Failure::Silent(_)) => self.endpoints_mut().mark_down(node, Instant::now()),
        }
    }
}
