//! Writes: to the leader, and after silence or failure to the next one, under the same request id. If the leader cannot
//! be reached, another node forwards them ([`super::relay`]).

use super::cluster::Cluster;
use super::endpoints::Leader;
use super::exchange::{decode, in_circles};
use super::lane::Lane;
use super::relay::{Relays, is_out_of_reach};
use super::retry::Deadline;
use super::tally::Tally;
use super::verdict::{Answer, Kind, Reason, Verdict};
use crate::api::WriteReply;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::{Post, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Least silence of a leader after which the other nodes are asked for a new one: about as long as an election takes. A
/// leader that was slow before is given a multiple of its earlier time.
pub(super) const LEADER_SILENCE_MIN: Duration = Duration::from_millis(200);
const LEADER_SILENCE_FACTOR: u32 = 4;

/// Factor on that silence. For this much longer a silent leader is not sent the write again: each copy costs it work,
/// and overload may be the cause of its silence.
const SEARCH_FACTOR: u32 = 2;

/// Longest wait between two checks for another leader meanwhile.
const SEARCH_WAIT_MAX: Duration = Duration::from_millis(50);

/// Share of an attempt that a forwarding node gets. Within it, that node reports the outcome.
const RELAY_SHARE: f64 = 0.75;

/// A leader that did not take a write.
struct Failed {
    leader: Leader,
    /// True if it cannot be reached at that address.
    out_of_reach: bool,
    /// It is not asked again before this time, unless it is elected again.
    not_before: Instant,
}

impl Failed {
    /// Returns whether a leader is worth another attempt.
    fn allows(&self, leader: &Leader) -> bool {
        leader.supersedes(&self.leader) || Instant::now() >= self.not_before
    }
}

impl Cluster {
    /// Sends a write to the leader, until it is answered or the time is over. It has a request id, or may be applied
    /// more than once without harm.
    pub(crate) fn write<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &mut Lane,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        self.write_within(lane, path, request, self.limits.total_timeout)
    }

    /// Like [`Cluster::write`], with another limit for the total time.
    pub(crate) fn write_within<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &mut Lane,
        path: &str,
        request: &impl Serialize,
        limit: Duration,
    ) -> Result<T, Error> {
        let silence = LEADER_SILENCE_MIN.max(lane.write_took * LEADER_SILENCE_FACTOR);
        let (reply, took) = self.send_to_leader(lane, (path, None), request, Some(silence), limit)?;
        lane.write_took = took;
        match reply {
            WriteReply::Whole(reply) => Ok(reply),
            WriteReply::NotKept { revision } => Err(Error::ReplyNotKept { revision }),
        }
    }

    /// Like [`Cluster::write`], for a request without an id, which states a desired result. It may take long, and is
    /// not repeated before it has failed. `level` is the newest level of a node that is to be added.
    pub(crate) fn change<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &Lane,
        path: &str,
        level: Option<u32>,
        request: &impl Serialize,
    ) -> Result<T, Error> {
        self.send_to_leader(lane, (path, level), request, None, self.limits.total_timeout).map(|(reply, _)| reply)
    }

    /// `silence`: how long the first attempt may take, if a copy may be sent after it. `limit`: the total time. Returns
    /// the reply, and how long the leader that sent it took.
    fn send_to_leader<T: DeserializeOwned>(
        self: &Arc<Self>,
        lane: &Lane,
        (path, level): (&str, Option<u32>),
        request: &impl Serialize,
        mut silence: Option<Duration>,
        limit: Duration,
    ) -> Result<(T, Duration), Error> {
        let body = serde_json::to_vec(request)
            .map_err(|cause| Error::InvalidRequest { message: format!("cannot be written as JSON: {cause}") })?;
        let deadline = Deadline::after(limit);
        let mut tally = Tally::of(Kind::Write);
        let mut failed: Option<Failed> = None;
        let mut relays = Relays::default();
        for round in 0_u32.. {
            let mut retry_after = None;
            let mut wait_max = Duration::MAX;
            let found = self.find_leader(lane, failed.as_ref().map(|failed| &failed.leader), &deadline);
            let is_out_of_reach_still = |leader: &Leader| {
                failed.as_ref().is_some_and(|failed| failed.out_of_reach && failed.leader.endpoint == leader.endpoint)
            };
            let found = found.map(|leader| match is_out_of_reach_still(&leader) {
                true => {
                    let leader = relays.past(leader, self, lane.start);
                    self.endpoints_mut().set_leader(leader.clone());
                    leader
                }
                false => leader,
            });
            match found {
                Err(again) => tally.add(again),
                Ok(leader) if failed.as_ref().is_some_and(|failed| !failed.allows(&leader)) => {
                    self.endpoints_mut().forget_leader(&leader);
                    wait_max = SEARCH_WAIT_MAX;
                }
                Ok(leader) => {
                    let limit = match silence.take() {
                        Some(silence) if tally.attempts < self.limits.retries && !leader.relays => {
                            self.first_limit(silence)
                        }
                        _ => self.attempt_limit(),
                    };
                    let post = Post { body: &body, level };
                    let relays = leader.relays;
                    let post = |node: &Endpoint, limit| {
                        if !relays {
                            return lane.transport.post(self.target(node, path), &post, limit);
                        }
                        let path = relayed(path, limit);
                        lane.transport.post(Target { redirects: false, ..self.target(node, &path) }, &post, limit)
                    };
                    let sent = Instant::now();
                    let (node, verdict) = self.follow(leader.endpoint.clone(), Kind::Write, &deadline, limit, post);
                    let term = if let Verdict::Done(answer) = &verdict { answer.term } else { None };
                    let leader = self.remember_answer(leader, node, term);
                    match verdict {
                        Verdict::Done(Answer { body, .. }) => {
                            let reply = decode(Kind::Write, &leader.endpoint, &body)?;
                            return Ok((reply, sent.elapsed()));
                        }
                        Verdict::Refused(error) => return Err(tally.refused(error, deadline.elapsed())),
                        Verdict::Missing { .. } | Verdict::Redirect(_) => {
                            tally.add(in_circles(&leader.endpoint));
                            self.endpoints_mut().forget_leader(&leader);
                            failed = Some(Failed { leader, out_of_reach: false, not_before: sent });
                        }
                        Verdict::Again(again) if again.reason == Reason::Overloaded => {
                            retry_after = again.retry_after;
                            tally.add(again);
                            failed = None; // it leads, and wants a pause
                        }
                        Verdict::Again(again) => {
                            let out_of_reach = is_out_of_reach(&leader, &again, self, &deadline);
                            if out_of_reach && !self.endpoints().was_given(&leader.endpoint) {
                                tally.leader_unreached(&leader.endpoint);
                            }
                            tally.add(again);
                            self.endpoints_mut().forget_leader(&leader);
                            let was_silent = sent.elapsed() >= limit && limit < self.attempt_limit();
                            let not_before = if was_silent { Instant::now() + limit * SEARCH_FACTOR } else { sent };
                            failed = Some(Failed { leader, out_of_reach, not_before });
                        }
                    }
                }
            }
            if tally.attempts > self.limits.retries || self.is_hopeless(&deadline) {
                break;
            }
            // The remembered leader may just be out of date, so the first failure is followed up at once.
            if round == 0 && retry_after.is_none() {
                continue;
            }
            let wait = self.limits.backoff.wait_as_asked(round.saturating_sub(1), retry_after, &mut rand::rng());
            if !deadline.sleep(wait.min(wait_max)) {
                break;
            }
        }
        Err(self.give_up(tally, &deadline))
    }

    /// Remembers the node that answered after redirects as the target of further writes. `term` is the one in which it
    /// answered, if it says.
    fn remember_answer(&self, asked: Leader, answered: Endpoint, term: Option<u64>) -> Leader {
        if asked.endpoint == answered {
            return asked;
        }
        let leader = Leader { endpoint: answered, term, relays: false };
        self.endpoints_mut().set_leader(leader.clone());
        leader
    }
}

/// Returns the path of a write that is to be forwarded, with its time limit. So if it is not done within `limit`, the
/// node reports that, and the client need not guess.
fn relayed(path: &str, limit: Duration) -> String {
    format!("{path}?timeout_ms={}", limit.mul_f64(RELAY_SHARE).as_millis().max(1))
}
