//! Waiting for a lock.
//!
//! A node answers once the lock is taken, which may be after an hour. So the request is made on a thread of its own,
//! and meanwhile the node is probed from time to time. If it does not answer the probe, the next node is asked for the
//! same lock with the same lease. That request takes over the place in the queue, or the lock, that the first one may
//! have got.

use crate::api::{Applied, LOCK_WAIT_MS_MAX, LeaseId, LockReply, LockRequest, RevokeReply, RevokeRequest};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::routing::{Again, Answer, Cluster, Deadline, Kind, Reason, Tally, Verdict};
use crate::transport::{Post, Target, Transport};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Silence after which a node is probed.
const DOUBTED_AFTER: Duration = Duration::from_secs(2);

/// Time for the answer to a probe.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// Longest time for giving up the place of a client that stops waiting.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// A client that wants a lock.
pub(super) struct Claim {
    pub(super) cluster: Arc<Cluster>,
    pub(super) name: String,
    pub(super) value: Vec<u8>,
    pub(super) ttl_ms: u64,
    pub(super) lease: LeaseId,
    /// End of the wait. `None` waits without end.
    pub(super) until: Option<Instant>,
    /// True once the wait has ended without the lock. A request that is still on its way then gives up what it gets.
    pub(super) given_up: Arc<AtomicBool>,
}

impl Claim {
    /// Waits for the lock. Returns its token, and the time at which the request that got it was sent.
    ///
    /// # Errors
    /// [`Error::LockHeld`] when the time is over, and those of a write. After an error the place in the queue is given
    /// up.
    pub(super) fn wait(&self) -> Result<(u64, Instant), Error> {
        let waited = self.try_nodes();
        self.given_up.store(waited.is_err(), Ordering::SeqCst);
        if waited.as_ref().is_err_and(|error| !matches!(error, Error::LockHeld { .. } | Error::InvalidRequest { .. })) {
            // There may be a place in the queue.
            leave(&self.cluster, self.lease);
        }
        waited
    }

    fn try_nodes(&self) -> Result<(u64, Instant), Error> {
        let start = self.cluster.lanes.borrow().start;
        let mut tried: Vec<Endpoint> = Vec::new();
        let mut round = 0;
        // The time for failures starts when a node last answered.
        let (mut tally, mut failing) = (Tally::of(Kind::Write), Deadline::after(self.cluster.limits.total_timeout));
        loop {
            let next = self.cluster.endpoints().next(start, &tried, Instant::now()).cloned();
            let Some(node) = next else {
                tried.clear();
                let wait = self.cluster.limits.backoff.wait(round, &mut rand::rng());
                round += 1;
                if self.cluster.is_hopeless(&failing) || !failing.sleep(wait) {
                    return Err(self.cluster.give_up(tally, &failing));
                }
                continue;
            };
            tried.push(node.clone());
            let sent = Instant::now();
            let (verdict, was_there) = self.ask(node);
            if was_there {
                (tried, round) = (Vec::new(), 0);
                failing = Deadline::after(self.cluster.limits.total_timeout);
            }
            match verdict {
                Verdict::Done(Answer { body, .. }) => return Ok((token(&body)?, sent)),
                // The longest wait of one request is over.
                Verdict::Refused(Error::LockHeld { .. }) if self.until.is_none_or(|until| Instant::now() < until) => {}
                Verdict::Refused(error @ Error::LockHeld { .. }) => return Err(error),
                Verdict::Refused(error) => return Err(tally.refused(error, failing.elapsed())),
                Verdict::Again(again) => tally.add(again),
                Verdict::Missing { .. } | Verdict::Redirect(_) => {
                    tally.add(Again::not_sent(Reason::Unreachable, "no answer about the lock".into()));
                }
            }
        }
    }

    /// Asks one node, for as long as it answers probes. Returns the verdict, and whether the node has answered one.
    fn ask(&self, node: Endpoint) -> (Verdict, bool) {
        let asked = self.send(node.clone());
        let answers = match asked {
            Ok(answers) => answers,
            Err(again) => return (Verdict::Again(again), false),
        };
        let mut was_there = false;
        loop {
            match answers.recv_timeout(DOUBTED_AFTER) {
                Ok(verdict) => return (verdict, was_there),
                Err(RecvTimeoutError::Timeout) => match self.cluster.probe(&Transport::new(), &node, PROBE_MAX) {
                    Ok(_) => was_there = true,
                    // It may have the place, or the lock, for this lease. The next request takes that over.
                    Err(again) => {
                        let again = Again { applied: Applied::Unknown, ..again };
                        return (Verdict::Again(again), was_there);
                    }
                },
                Err(RecvTimeoutError::Disconnected) => {
                    let again = Again::not_sent(Reason::Unreachable, format!("{node}: the request broke off"));
                    return (Verdict::Again(again), was_there);
                }
            }
        }
    }

    /// Sends the request on a thread of its own, which ends by itself.
    fn send(&self, node: Endpoint) -> Result<Receiver<Verdict>, Again> {
        let longest = Duration::from_millis(LOCK_WAIT_MS_MAX);
        let left = self.until.map_or(longest, |until| until.saturating_duration_since(Instant::now()).min(longest));
        let request = LockRequest {
            ttl_ms: Some(self.ttl_ms),
            wait_ms: u64::try_from(left.as_millis()).unwrap_or(LOCK_WAIT_MS_MAX),
            value: self.value.clone(),
            lease: Some(self.lease),
            ..LockRequest::new(&self.name)
        };
        let unsent = |cause: &dyn std::fmt::Display| Again::not_sent(Reason::Unreachable, format!("{node}: {cause}"));
        let body = serde_json::to_vec(&request).map_err(|cause| unsent(&cause))?;
        let (cluster, to, lease) = (Arc::clone(&self.cluster), node.clone(), self.lease);
        let given_up = Arc::clone(&self.given_up);
        let (sender, answers) = channel();
        let work = move || {
            let limit = left + cluster.attempt_limit();
            let target: Target<'_> = cluster.target(&to, "/lock");
            let reply = Transport::new().post(target, &Post { body: &body, level: None }, limit);
            let verdict = cluster.judge(Kind::Write, &to, reply);
            if matches!(verdict, Verdict::Done(_)) && given_up.load(Ordering::SeqCst) {
                leave(&cluster, lease);
            }
            // The receiver is gone if another node is asked by now.
            let _ = sender.send(verdict);
        };
        thread::Builder::new().name("kvclient-lock".into()).spawn(work).map_err(|cause| unsent(&cause))?;
        Ok(answers)
    }
}

/// Ends a lease, and with it the place in the queue or the lock. If this fails, it ends by itself.
fn leave(cluster: &Arc<Cluster>, lease: LeaseId) {
    let mut lane = cluster.lanes.borrow();
    let request = RevokeRequest { request: Some(lane.session.next()), ..RevokeRequest::new(lease) };
    let limit = cluster.limits.total_timeout.min(LEAVE_MAX);
    let _ = cluster.write_within::<RevokeReply>(&mut lane, "/lease/revoke", &request, limit);
}

fn token(body: &[u8]) -> Result<u64, Error> {
    let reply: LockReply = serde_json::from_slice(body).map_err(|cause| Error::Unexpected {
        endpoint: "a node".into(),
        applied: Applied::Unknown,
        message: format!("the answer about the lock is not as documented: {cause}"),
    })?;
    Ok(reply.token)
}
