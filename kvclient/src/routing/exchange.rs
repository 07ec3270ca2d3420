//! One question to one node, with the redirects that follow from it.

use super::cluster::Cluster;
use super::retry::Deadline;
use super::verdict::{Again, Answer, Kind, Reason, Verdict, judge};
use crate::api::{Applied, Health};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::{Failure, Reply, Target, Transport};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Maximum number of redirects followed within one attempt. Two are usual right after a change of leader; more means
/// that nodes point at each other.
pub(super) const REDIRECTS_MAX: u32 = 4;

impl Cluster {
    /// Asks a node for its health and learns from the answer.
    pub(crate) fn probe(&self, transport: &Transport, node: &Endpoint, limit: Duration) -> Result<Health, Again> {
        // The request names no cluster, since the answer is to say which one the node belongs to.
        let result = transport.get(Target { cluster: None, ..self.target(node, "/health") }, limit);
        self.note(node, result.as_ref().err());
        let named = result.as_ref().ok().and_then(|reply| reply.cluster.clone());
        self.admit(node, named.as_deref())?;
        let unexpected = |detail| Again::not_sent(Reason::Unreachable, format!("{node}: {detail}"));
        match judge(Kind::Read, node, result) {
            Verdict::Done(Answer { body, .. }) => {
                let health: Health =
                    serde_json::from_slice(&body).map_err(|cause| unexpected(format!("no health report: {cause}")))?;
                if named.is_some() && named.as_deref() == self.id() {
                    self.endpoints_mut().learn_members(&health.members);
                }
                Ok(health)
            }
            Verdict::Again(again) => Err(again),
            Verdict::Refused(error) => Err(Again::not_sent(Reason::Unreachable, error.bare())),
            Verdict::Missing { .. } | Verdict::Redirect(_) => Err(unexpected("no health report".into())),
        }
    }

    /// Like [`Cluster::probe`], for a caller who asked for the health itself.
    pub(crate) fn health(&self, transport: &Transport, node: &Endpoint, limit: Duration) -> Result<Health, Error> {
        let deadline = Deadline::after(limit);
        self.probe(transport, node, limit).map_err(|Again { reason, detail, .. }| {
            let after = deadline.elapsed();
            match reason {
                Reason::WrongCluster => Error::WrongCluster { after, detail, write: false },
                _ => Error::Unreachable { after, detail, write: false },
            }
        })
    }

    /// Sends a request to `node` and follows redirects, each within `limit`. Also returns the node that gave the last
    /// answer.
    pub(super) fn follow(
        &self,
        mut node: Endpoint,
        kind: Kind,
        deadline: &Deadline,
        limit: Duration,
        send: impl Fn(&Endpoint, Duration) -> Result<Reply, Failure>,
    ) -> (Endpoint, Verdict) {
        for _ in 0..=REDIRECTS_MAX {
            let Some(limit) = deadline.attempt(limit) else {
                let again = no_time_left(&node);
                return (node, Verdict::Again(again));
            };
            match self.judge(kind, &node, send(&node, limit)) {
                Verdict::Redirect(target) if target != node => node = target,
                verdict => return (node, verdict),
            }
        }
        let verdict = Verdict::Again(in_circles(&node));
        (node, verdict)
    }
}

pub(super) fn no_time_left(node: &Endpoint) -> Again {
    Again::not_sent(Reason::TimeOver, format!("{node}: no time left to ask it"))
}

pub(super) fn in_circles(node: &Endpoint) -> Again {
    Again::not_sent(Reason::NoLeader, format!("{node} redirects in circles"))
}

pub(super) fn decode<T: DeserializeOwned>(kind: Kind, node: &Endpoint, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|cause| Error::Unexpected {
        endpoint: node.to_string(),
        applied: if kind == Kind::Read { Applied::No } else { Applied::Unknown },
        message: format!("the reply is not as documented: {cause}"),
    })
}
