//! How an operation finds its way through a cluster that changes.
//!
//! A *write* goes to the leader. Where none is remembered, nodes are asked through `/health` until one
//! names a leader that has not just failed; redirects are followed, within a limit. A *read* goes to the
//! node that served the last one on this lane, then to the others. Between rounds that served nobody there
//! is a wait, and over everything there is one deadline.
//!
//! A node that hangs (its connections stand, and nothing comes) must not use up that deadline: reads and
//! the search for a leader are hedged (see [`crate::hedge`]), and no attempt takes more than its share of
//! the total. A leader that is silent for far longer than it usually takes may be none any more, so the others
//! are asked soon; and a write whose attempt fell silent is sent again under the same request id, to a new
//! leader or, if for a while nobody knows of one, to the same: whichever copy is applied, it is applied once.
//!
//! What an answer means is decided in [`crate::verdict`]; what is known of the nodes is kept in
//! [`crate::endpoints`].

use crate::api::{Applied, Health, LeaderReply, NodeState};
use crate::endpoints::{Endpoint, Endpoints, Leader};
use crate::error::Error;
use crate::hedge::{HEDGE_AFTER, Hedge};
use crate::lane::{Lane, Lanes};
use crate::retry::{Deadline, Limits};
use crate::transport::{Failure, Reply, Transport};
use crate::verdict::{Again, Kind, Reason, Tally, Verdict, judge};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Silence of a leader after which the others are asked whether there is another one: about as long as they take to
/// elect it. At least; a leader that was slow before is given so many times what it took.
const LEADER_SILENCE_MIN: Duration = Duration::from_millis(200);
const LEADER_SILENCE_FACTOR: u32 = 4;

/// As long again, times this, a leader that fell silent is not sent the write once more: each copy costs it work, and
/// may be just what it suffers from.
const SEARCH_FACTOR: u32 = 2;

/// Longest wait between two looks for another leader meanwhile.
const SEARCH_WAIT_MAX: Duration = Duration::from_millis(50);

/// Redirects followed within one attempt. Two are usual right after a change of leader; more means that
/// nodes point at each other.
const REDIRECTS_MAX: u32 = 4;

/// Longest that a node may take to tell its health when a leader is sought: others may answer sooner.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// Nodes that share the total time at most, lest the attempts of a large cluster be too short.
const SHARES_MAX: usize = 7;

/// What asking a node for its health came to.
type Probed = (Endpoint, Result<Health, Again>);

/// What asking a node for something else came to.
struct Read {
    node: Endpoint,
    verdict: Verdict,
    /// How long it took to answer.
    took: Duration,
}

/// A leader that did not take a write.
struct Failed {
    leader: Leader,
    /// Until then it is not asked again unless it leads anew.
    not_before: Instant,
}

impl Failed {
    /// Whether a leader is worth another attempt.
    fn allows(&self, leader: &Leader) -> bool {
        leader.supersedes(&self.leader) || Instant::now() >= self.not_before
    }
}

/// The way to one cluster: shared by all clones of a client, and by its watches.
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
    fn first_limit(&self, patience: Duration) -> Duration {
        let limit = self.attempt_limit();
        if self.endpoints().all().nth(1).is_some() { limit.min(patience) } else { limit }
    }

    /// Reads `path` from any node; `None` where there is no such key.
    ///
    /// One node is asked on this thread. Only where it fails or is silent for longer than its answers took
    /// before are the others asked, hedged, and it again from the second round on.
    pub(crate) fn read<T: DeserializeOwned>(self: &Arc<Self>, path: &str) -> Result<Option<T>, Error> {
        let mut lane = self.lanes.borrow();
        let deadline = Deadline::after(self.limits.total_timeout);
        let mut tally = Tally::of(Kind::Read);
        for round in 0.. {
            let mut retry_after = None;
            let attempts = self.limits.retries.saturating_add(1).saturating_sub(tally.attempts);
            let first = (round == 0).then(|| self.read_alone(&lane, path, &deadline, attempts > 1)).flatten();
            let others = self.read_hedged(&lane, path, deadline, first.as_ref().map(|read| &read.node), attempts);
            for Read { node, verdict, took } in first.into_iter().chain(others) {
                match verdict {
                    Verdict::Done(body) => {
                        lane.reads_from = Some(node.clone());
                        lane.read_took = took;
                        return decode(Kind::Read, &node, &body).map(Some);
                    }
                    Verdict::Missing => {
                        lane.reads_from = Some(node);
                        lane.read_took = took;
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

    /// Asks the first node, on this thread and over the connections of this lane.
    fn read_alone(&self, lane: &Lane, path: &str, deadline: &Deadline, may_ask_others: bool) -> Option<Read> {
        let node = self.node_for_read(lane.reads_from.as_ref(), lane.start, &[])?;
        let patience = HEDGE_AFTER.max(lane.read_took * 2);
        let limit = if may_ask_others { self.first_limit(patience) } else { self.attempt_limit() };
        Some(self.read_once(&lane.transport, node, path, deadline, limit))
    }

    /// Asks the others one after another, up to so many `attempts` in this round.
    fn read_hedged(
        self: &Arc<Self>,
        lane: &Lane,
        path: &str,
        deadline: Deadline,
        first: Option<&Endpoint>,
        attempts: u32,
    ) -> impl Iterator<Item = Read> + use<> {
        let mut tried: Vec<Endpoint> = first.into_iter().cloned().collect();
        let alone = tried.len();
        let (cluster, preferred, start) = (Arc::clone(self), lane.reads_from.clone(), lane.start);
        let next = move |asked: &[Endpoint]| {
            tried.truncate(alone);
            tried.extend_from_slice(asked);
            let left = tried.len() < usize::try_from(attempts).unwrap_or(usize::MAX);
            left.then(|| cluster.node_for_read(preferred.as_ref(), start, &tried)).flatten()
        };
        let (cluster, path) = (Arc::clone(self), path.to_owned());
        Hedge::new(next, deadline.moment(), move |node| {
            cluster.read_once(&Transport::new(), node.clone(), &path, &deadline, cluster.attempt_limit())
        })
    }

    fn node_for_read(&self, preferred: Option<&Endpoint>, start: usize, tried: &[Endpoint]) -> Option<Endpoint> {
        let endpoints = self.endpoints();
        let preferred = preferred.filter(|node| !endpoints.is_suspect(node) && !tried.contains(node));
        preferred.or_else(|| endpoints.next(start, tried, Instant::now())).cloned()
    }

    /// One attempt at a read, which learns the members on the way where they are not known yet. Each exchange
    /// may take `limit`.
    fn read_once(
        &self,
        transport: &Transport,
        node: Endpoint,
        path: &str,
        deadline: &Deadline,
        limit: Duration,
    ) -> Read {
        let began = Instant::now();
        let members_known = self.endpoints().members_known();
        let probed = match deadline.attempt(limit) {
            Some(limit) if !members_known => self.probe(transport, &node, limit).map(drop),
            _ => Ok(()),
        };
        let (node, verdict) = match probed {
            Ok(()) => self.follow(node, Kind::Read, deadline, limit, |node, limit| transport.get(node, path, limit)),
            Err(again) => (node, Verdict::Again(again)),
        };
        Read { node, verdict, took: began.elapsed() }
    }

    /// Sends a write that has a request id to the leader, until it is answered or the time is over.
    pub(crate) fn write<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &mut Lane,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        let silence = LEADER_SILENCE_MIN.max(lane.write_took * LEADER_SILENCE_FACTOR);
        let (reply, took) = self.send_to_leader(lane, path, request, Some(silence))?;
        lane.write_took = took;
        Ok(reply)
    }

    /// The same for a request without one, which says what is to be in the end. It may take long, and is not repeated
    /// before it has failed.
    pub(crate) fn change<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &Lane,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        self.send_to_leader(lane, path, request, None).map(|(reply, _)| reply)
    }

    /// `silence`: how long the first attempt may take, if a copy may be sent after it. Returns how long the leader took
    /// that answered, beside what it said.
    fn send_to_leader<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &Lane,
        path: &str,
        request: &impl Serialize,
        mut silence: Option<Duration>,
    ) -> Result<(T, Duration), Error> {
        let body = serde_json::to_vec(request)
            .map_err(|cause| Error::InvalidRequest { message: format!("cannot be written as JSON: {cause}") })?;
        let deadline = Deadline::after(self.limits.total_timeout);
        let mut tally = Tally::of(Kind::Write);
        let mut failed: Option<Failed> = None;
        for round in 0_u32.. {
            let mut retry_after = None;
            let mut wait_max = Duration::MAX;
            match self.find_leader(lane, failed.as_ref().map(|failed| &failed.leader), &deadline) {
                Err(again) => tally.add(again),
                Ok(leader) if failed.as_ref().is_some_and(|failed| !failed.allows(&leader)) => {
                    self.endpoints_mut().forget_leader(&leader);
                    wait_max = SEARCH_WAIT_MAX;
                }
                Ok(leader) => {
                    let limit = match silence.take() {
                        Some(silence) if tally.attempts < self.limits.retries => self.first_limit(silence),
                        _ => self.attempt_limit(),
                    };
                    let post = |node: &Endpoint, limit| lane.transport.post(node, path, &body, limit);
                    let sent = Instant::now();
                    let (node, verdict) = self.follow(leader.endpoint.clone(), Kind::Write, &deadline, limit, post);
                    let leader = self.remember_answer(leader, node);
                    match verdict {
                        Verdict::Done(body) => {
                            let reply = decode(Kind::Write, &leader.endpoint, &body)?;
                            return Ok((reply, sent.elapsed()));
                        }
                        Verdict::Refused(error) => return Err(tally.refused(error, deadline.elapsed())),
                        Verdict::Missing | Verdict::Redirect(_) => {
                            tally.add(in_circles(&leader.endpoint));
                            self.endpoints_mut().forget_leader(&leader);
                            failed = Some(Failed { leader, not_before: sent });
                        }
                        Verdict::Again(again) if again.reason == Reason::Overloaded => {
                            retry_after = again.retry_after;
                            tally.add(again);
                            failed = None; // it leads, and wants a pause
                        }
                        Verdict::Again(again) => {
                            tally.add(again);
                            self.endpoints_mut().forget_leader(&leader);
                            let was_silent = sent.elapsed() >= limit && limit < self.attempt_limit();
                            let not_before = if was_silent { Instant::now() + limit * SEARCH_FACTOR } else { sent };
                            failed = Some(Failed { leader, not_before });
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
            if !deadline.sleep(wait.min(wait_max)) {
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

    /// Someone said who leads by now.
    pub(crate) fn learn_leader(&self, leader: &LeaderReply) {
        if let Ok(endpoint) = Endpoint::parse(&leader.url) {
            self.endpoints_mut().set_leader(Leader { endpoint, term: Some(leader.term) });
        }
    }

    /// The leader that is remembered, or else the one that the nodes name; not one that `failed` unless
    /// nobody knows better.
    fn find_leader(
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
        let others = self.probe_hedged(lane, deadline, first.as_ref().map(|(node, _)| node), failed);
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
                Err(again) => silence = Some(again),
            }
        }
        match (doubtful, answered, silence) {
            (Some(leader), _, _) => {
                self.endpoints_mut().set_leader(leader.clone());
                Ok(leader)
            }
            (None, Some(node), _) => Err(not_sent(Reason::NoLeader, format!("{node} knows no leader"))),
            // A probe only reads: whatever became of it, the write was not sent.
            (None, None, Some(silence)) => Err(not_sent(silence.reason, silence.detail)),
            (None, None, None) => Err(not_sent(Reason::TimeOver, "no time left to look for a leader".into())),
        }
    }

    /// Asks one node for its health, on this thread and over the connections of this lane.
    fn probe_alone(&self, lane: &Lane, deadline: &Deadline) -> Option<Probed> {
        let node = self.endpoints().next(lane.start, &[], Instant::now())?.clone();
        let limit = deadline.attempt(self.first_limit(HEDGE_AFTER).min(PROBE_MAX))?;
        let answer = self.probe(&lane.transport, &node, limit);
        Some((node, answer))
    }

    /// Asks the others for their health, one after another.
    fn probe_hedged(
        self: &Arc<Self>,
        lane: &Lane,
        deadline: &Deadline,
        first: Option<&Endpoint>,
        failed: Option<&Leader>,
    ) -> impl Iterator<Item = Probed> + use<> {
        let mut tried: Vec<Endpoint> = first.into_iter().cloned().collect();
        let alone = tried.len();
        let (cluster, start) = (Arc::clone(self), lane.start);
        let next = move |asked: &[Endpoint]| {
            tried.truncate(alone);
            tried.extend_from_slice(asked);
            cluster.endpoints().next(start, &tried, Instant::now()).cloned()
        };
        let (cluster, deadline) = (Arc::clone(self), *deadline);
        let failed = failed.map(|leader| leader.endpoint.clone());
        Hedge::new(next, deadline.moment(), move |node: &Endpoint| {
            // Who did not take the write will hardly say more if waited for longer.
            let limit_max = if failed.as_ref() == Some(node) { HEDGE_AFTER } else { PROBE_MAX };
            let answer = match deadline.attempt(cluster.attempt_limit().min(limit_max)) {
                Some(limit) => cluster.probe(&Transport::new(), node, limit),
                None => Err(no_time_left(node)),
            };
            (node.clone(), answer)
        })
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
            Verdict::Refused(error) => Err(not_sent(Reason::Unreachable, error.bare())),
            Verdict::Missing | Verdict::Redirect(_) => Err(unexpected("no health report".into())),
        }
    }

    /// As [`Cluster::probe`], for a caller who asked for just this.
    pub(crate) fn health(&self, transport: &Transport, node: &Endpoint, limit: Duration) -> Result<Health, Error> {
        let deadline = Deadline::after(limit);
        self.probe(transport, node, limit).map_err(|again| Error::Unreachable {
            after: deadline.elapsed(),
            detail: again.detail,
            write: false,
        })
    }

    /// Sends a request to `node` and follows redirects, each within `limit`; says which node gave the last
    /// answer.
    fn follow(
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
            let result = send(&node, limit);
            self.note(&node, result.as_ref().err());
            match judge(kind, &node, result) {
                Verdict::Redirect(target) if target != node => node = target,
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

fn no_time_left(node: &Endpoint) -> Again {
    not_sent(Reason::TimeOver, format!("{node}: no time left to ask it"))
}

fn in_circles(node: &Endpoint) -> Again {
    not_sent(Reason::NoLeader, format!("{node} redirects in circles"))
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
