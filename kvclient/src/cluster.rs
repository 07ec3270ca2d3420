//! How an operation finds its way through a cluster that changes.
//!
//! A *write* goes to the leader. Where none is remembered, nodes are asked through `/health` until one
//! names a leader that has not just failed; redirects are followed, within a limit. A *read* goes to the
//! node that served the last one on this lane, then to the others in turn. Between rounds that served
//! nobody there is a wait, and over everything there is one deadline.
//!
//! What an answer means is decided in [`crate::verdict`]; what is known of the nodes is kept in
//! [`crate::endpoints`].

use crate::api::{Applied, Health, NodeState};
use crate::endpoints::{Endpoint, Endpoints, Leader};
use crate::error::Error;
use crate::lane::{Lane, Lanes};
use crate::retry::{Deadline, Limits};
use crate::transport::{Failure, Reply, Transport};
use crate::verdict::{Again, Kind, Reason, Tally, Verdict, judge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Redirects followed within one attempt. Two are usual right after a change of leader; more means that
/// nodes point at each other.
const REDIRECTS_MAX: u32 = 4;

/// Longest that a node may take to tell its health when a leader is sought: others may answer sooner.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// The way to one cluster: shared by all clones of a client, and by its watches.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) limits: Limits,
    pub(crate) lanes: Lanes,
    endpoints: RwLock<Endpoints>,
}

impl Cluster {
    /// A cluster of which the given endpoints are known.
    pub(crate) fn new(endpoints: Vec<Endpoint>, limits: Limits) -> Self {
        Self { limits, lanes: Lanes::new(), endpoints: RwLock::new(Endpoints::new(endpoints)) }
    }

    // A thread that panicked while it held this lock left at worst an outdated list of nodes behind.
    pub(crate) fn endpoints(&self) -> RwLockReadGuard<'_, Endpoints> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn endpoints_mut(&self) -> RwLockWriteGuard<'_, Endpoints> {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `path` from any node; `None` where there is no such key.
    pub(crate) fn read<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let mut lane = self.lanes.borrow();
        let deadline = Deadline::after(self.limits.total_timeout);
        let mut tally = Tally::default();
        for round in 0.. {
            let mut tried = Vec::new();
            let mut retry_after = None;
            while let Some(node) = self.node_for_read(&lane, &tried) {
                let (node, verdict) = self.read_once(&lane, node, path, &deadline);
                tried.push(node.clone());
                match verdict {
                    Verdict::Done(body) => {
                        lane.reads_from = Some(node.clone());
                        return decode(Kind::Read, &node, &body).map(Some);
                    }
                    Verdict::Missing => {
                        lane.reads_from = Some(node);
                        return Ok(None);
                    }
                    Verdict::Refused(error) => return Err(tally.refused(error, deadline.elapsed())),
                    Verdict::Redirect(_) => tally.add(in_circles(&node)),
                    Verdict::Again(again) => {
                        retry_after = again.retry_after.filter(|_| again.reason == Reason::Overloaded);
                        tally.add(again);
                    }
                }
                lane.reads_from = None;
                if tally.attempts > self.limits.retries || deadline.attempt(Duration::MAX).is_none() {
                    return Err(tally.give_up(deadline.elapsed()));
                }
            }
            if !deadline.sleep(self.limits.backoff.wait_as_asked(round, retry_after, &mut rand::rng())) {
                break;
            }
        }
        Err(tally.give_up(deadline.elapsed()))
    }

    fn node_for_read(&self, lane: &Lane, tried: &[Endpoint]) -> Option<Endpoint> {
        let endpoints = self.endpoints();
        let remembered = lane.reads_from.as_ref().filter(|node| !endpoints.is_suspect(node) && !tried.contains(node));
        remembered.or_else(|| endpoints.next(lane.number, tried, Instant::now())).cloned()
    }

    /// One attempt at a read, which learns the members on the way where they are not known yet.
    fn read_once(&self, lane: &Lane, node: Endpoint, path: &str, deadline: &Deadline) -> (Endpoint, Verdict) {
        let members_known = self.endpoints().members_known();
        if !members_known
            && let Some(limit) = deadline.attempt(self.limits.attempt_timeout)
            && let Err(again) = self.probe(&lane.transport, &node, limit)
        {
            return (node, Verdict::Again(again));
        }
        self.follow(node, Kind::Read, deadline, |node, limit| lane.transport.get(node, path, limit))
    }

    /// Sends a write to the leader, until it is answered or the time is over.
    pub(crate) fn write<T: DeserializeOwned>(
        &self,
        lane: &Lane,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request)
            .map_err(|cause| Error::InvalidRequest { message: format!("cannot be written as JSON: {cause}") })?;
        let deadline = Deadline::after(self.limits.total_timeout);
        let mut tally = Tally::default();
        let mut failed: Option<Leader> = None;
        for round in 0_u32.. {
            let mut retry_after = None;
            match self.find_leader(lane, failed.as_ref(), &deadline) {
                Err(again) => tally.add(again),
                Ok(leader) => {
                    let post = |node: &Endpoint, limit| lane.transport.post(node, path, &body, limit);
                    let (node, verdict) = self.follow(leader.endpoint.clone(), Kind::Write, &deadline, post);
                    let leader = self.remember_answer(leader, node);
                    match verdict {
                        Verdict::Done(body) => return decode(Kind::Write, &leader.endpoint, &body),
                        Verdict::Refused(error) => return Err(tally.refused(error, deadline.elapsed())),
                        Verdict::Missing | Verdict::Redirect(_) => tally.add(in_circles(&leader.endpoint)),
                        Verdict::Again(again) if again.reason == Reason::Overloaded => {
                            retry_after = again.retry_after;
                            tally.add(again);
                            failed = None; // it leads, and wants a pause
                        }
                        Verdict::Again(again) => {
                            tally.add(again);
                            self.endpoints_mut().forget_leader(&leader);
                            failed = Some(leader);
                        }
                    }
                }
            }
            if tally.attempts > self.limits.retries {
                break;
            }
            // The remembered leader may just be out of date, so the first failure is looked into at once.
            if round == 0 && retry_after.is_none() {
                continue;
            }
            let wait = self.limits.backoff.wait_as_asked(round.saturating_sub(1), retry_after, &mut rand::rng());
            if !deadline.sleep(wait) {
                break;
            }
        }
        Err(tally.give_up(deadline.elapsed()))
    }

    /// After redirects, the node that answered is where writes go from now on.
    fn remember_answer(&self, asked: Leader, answered: Endpoint) -> Leader {
        if asked.endpoint == answered {
            return asked;
        }
        let leader = Leader { endpoint: answered, term: None };
        self.endpoints_mut().set_leader(leader.clone());
        leader
    }

    /// The leader that is remembered, or else the one that the nodes name; not one that `failed` unless
    /// nobody knows better.
    fn find_leader(&self, lane: &Lane, failed: Option<&Leader>, deadline: &Deadline) -> Result<Leader, Again> {
        let trusted = |leader: &Leader| failed.is_none_or(|failed| leader.supersedes(failed));
        if let Some(leader) = self.endpoints().leader().filter(|leader| trusted(leader)) {
            return Ok(leader.clone());
        }
        let mut doubtful: Option<Leader> = None;
        let mut silence: Option<Again> = None;
        let mut answered = None;
        let mut tried = Vec::new();
        loop {
            let next = self.endpoints().next(lane.number, &tried, Instant::now()).cloned();
            let limit = deadline.attempt(self.limits.attempt_timeout.min(PROBE_MAX));
            let (Some(node), Some(limit)) = (next, limit) else { break };
            match self.probe(&lane.transport, &node, limit) {
                Ok(health) => match leader_named(&node, &health) {
                    Some(leader) if trusted(&leader) => {
                        self.endpoints_mut().set_leader(leader.clone());
                        return Ok(leader);
                    }
                    Some(leader) if doubtful.as_ref().is_none_or(|other| other.term < leader.term) => {
                        doubtful = Some(leader);
                    }
                    Some(_) => {}
                    None => answered = Some(node.clone()),
                },
                Err(again) => silence = Some(again),
            }
            tried.push(node);
        }
        match (doubtful, answered, silence) {
            (Some(leader), _, _) => {
                self.endpoints_mut().set_leader(leader.clone());
                Ok(leader)
            }
            (None, Some(node), _) => Err(not_sent(Reason::NoLeader, format!("{node} knows no leader"))),
            // A probe only reads: whatever became of it, the write was not sent.
            (None, None, Some(silence)) => Err(not_sent(silence.reason, silence.detail)),
            (None, None, None) => Err(not_sent(Reason::Unreachable, "no time left to look for a leader".into())),
        }
    }

    /// Asks a node for its health and learns from the answer.
    pub(crate) fn probe(&self, transport: &Transport, node: &Endpoint, limit: Duration) -> Result<Health, Again> {
        let result = transport.get(node, "/health", limit);
        self.note(node, result.as_ref().err());
        let unexpected = |detail| not_sent(Reason::Unreachable, format!("{node}: {detail}"));
        match judge(Kind::Read, node, result) {
            Verdict::Done(body) => {
                let health: Health =
                    serde_json::from_slice(&body).map_err(|cause| unexpected(format!("no health report: {cause}")))?;
                self.endpoints_mut().learn_members(&health.members);
                Ok(health)
            }
            Verdict::Again(again) => Err(again),
            Verdict::Refused(error) => Err(unexpected(error.to_string())),
            Verdict::Missing | Verdict::Redirect(_) => Err(unexpected("no health report".into())),
        }
    }

    /// As [`Cluster::probe`], for a caller who asked for just this.
    pub(crate) fn health(&self, transport: &Transport, node: &Endpoint, limit: Duration) -> Result<Health, Error> {
        let deadline = Deadline::after(limit);
        self.probe(transport, node, limit)
            .map_err(|again| Error::Unreachable { after: deadline.elapsed(), detail: again.detail })
    }

    /// Sends a request to `node` and follows redirects; says which node gave the last answer.
    fn follow(
        &self,
        mut node: Endpoint,
        kind: Kind,
        deadline: &Deadline,
        send: impl Fn(&Endpoint, Duration) -> Result<Reply, Failure>,
    ) -> (Endpoint, Verdict) {
        for _ in 0..=REDIRECTS_MAX {
            let Some(limit) = deadline.attempt(self.limits.attempt_timeout) else {
                let again = not_sent(Reason::NoLeader, format!("{node}: no time left to ask it"));
                return (node, Verdict::Again(again));
            };
            let result = send(&node, limit);
            self.note(&node, result.as_ref().err());
            match judge(kind, &node, result) {
                Verdict::Redirect(Some(target)) if target != node => node = target,
                verdict => return (node, verdict),
            }
        }
        let verdict = Verdict::Again(in_circles(&node));
        (node, verdict)
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

/// The leader according to a node's health: by preference the way that node itself was reached.
fn leader_named(node: &Endpoint, health: &Health) -> Option<Leader> {
    let endpoint = if health.state == NodeState::Leader {
        node.clone()
    } else {
        Endpoint::parse(&health.leader.as_ref()?.url).ok()?
    };
    Some(Leader { endpoint, term: Some(health.term) })
}

fn in_circles(node: &Endpoint) -> Again {
    not_sent(Reason::NoLeader, format!("{node} and others redirect to each other"))
}

/// An attempt that ended before the request reached a node that would carry it out.
fn not_sent(reason: Reason, detail: String) -> Again {
    Again { reason, detail, applied: Applied::No, retry_after: None }
}

fn decode<T: DeserializeOwned>(kind: Kind, node: &Endpoint, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|cause| Error::Unexpected {
        endpoint: node.to_string(),
        applied: if kind == Kind::Read { Applied::No } else { Applied::Unknown },
        message: format!("the reply is not as documented: {cause}"),
    })
}

#[cfg(test)]
mod tests;
