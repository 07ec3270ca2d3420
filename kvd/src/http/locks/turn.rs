//! Waiting for one's turn at a lock.
//!
//! The client's node takes a place in the queue, watches the queue in its own store, keeps the lease alive meanwhile, and
//! has the log settle whether the place holds the lock: when it seems to, and when the time is over. All that the leader
//! sees are these short commands, so it may change at any time.
//!
//! # Why nobody loses a lock that was answered as held
//!
//! A waiter that has vanished gives its place up, by a command that may be applied late. If the client chose the lease, it
//! may have asked another node for the same place by then, and that node may have answered that the lock is held. So such
//! a command leaves the lock alone if the place holds it by then: the lock ends with its lease. If this node chose the
//! lease, nobody else knows it before the answer, and the place is given up either way.
//!
//! # Why a client that is gone leaves no lock behind
//!
//! Its request may be dropped at any moment, also while the command that takes the place is on its way. That command runs
//! in a task of its own, and the place is given up only once that task has ended: so never before it is taken.

use super::super::context::Context;
use super::super::convert::to_lease;
use super::super::error::ApiError;
use super::super::gateway::{Asker, Caller, Gateway, check_limits};
use super::super::outcome;
use super::super::streams::StreamPlace;
use super::super::watchers::Watcher;
use super::place::{keys_of, to_place};
use crate::kv::{Command, Holder, LeaseId, Operation, Outcome, Revision, Store};
use bytes::Bytes;
use kvclient::api::{Applied, ErrorCode, LEASE_TTL_MS_MIN, LOCK_TTL_MS_DEFAULT, LockRequest};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::Instrument as _;

/// Time for one command.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(5);

/// Time for which giving up the place of a client that is gone is tried again. After that it ends with its lease.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(60);

/// Time after which a command that cannot be carried out now is tried again.
const TRIED_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A client that wants a lock.
pub(super) struct Turn<'c> {
    context: &'c Context,
    name: String,
    ttl_ms: u64,
    value: Bytes,
    wait: Duration,
    /// Deadline of the request itself, if it sets one.
    by: Option<Instant>,
    place: Place,
    _stream: Option<StreamPlace>,
}

/// The place of a client in the queue. It is given up when dropped, unless the client knows what it needs to know.
struct Place {
    gateway: Gateway,
    name: Bytes,
    lease: LeaseId,
    /// True if this node has chosen the lease, so that nobody else knows it.
    is_own: bool,
    may_be_taken: bool,
    /// The command that takes it, while its answer is awaited.
    taking: Option<Asking>,
}

/// A command whose outcome is awaited. It is carried out even if nobody waits any more.
type Asking = JoinHandle<Result<Outcome, ApiError>>;

/// Answer of the state machine about a place.
enum Answer {
    /// It holds the lock, with this token.
    Holds(Revision),
    /// It waits, and will have this token.
    Waits(Revision),
    /// It does not hold the lock, and was given up or not taken.
    Held(Holder),
    /// There is no such place.
    Lost,
}

/// Reason to look at the queue again.
enum Woken {
    /// It may have changed.
    Changed,
    /// The time to wait is over.
    TimeIsOver,
}

/// State of a place in the store of this node.
enum Seen {
    /// The store has not come to it yet, or another place holds the lock.
    Waits,
    /// It is the first.
    First,
    /// It was there, and is no longer.
    Gone,
}

impl<'c> Turn<'c> {
    /// Prepares for a request. `by` is the deadline of the request itself, if it sets one.
    ///
    /// # Errors
    /// [`ApiError`] if there are too many streams and waits.
    pub(super) fn of(context: &'c Context, asked: LockRequest, by: Option<Instant>) -> Result<Self, ApiError> {
        let LockRequest { name, ttl_ms, wait_ms, value, lease } = asked;
        let place = Place {
            gateway: context.gateway.clone(),
            name: Bytes::from(name.clone()),
            lease: lease.map_or_else(draw, to_lease),
            is_own: lease.is_none(),
            may_be_taken: false,
            taking: None,
        };
        let stream = (wait_ms > 0).then(|| context.streams.begin()).transpose()?;
        let ttl_ms = ttl_ms.unwrap_or(LOCK_TTL_MS_DEFAULT);
        let wait = Duration::from_millis(wait_ms);
        Ok(Self { context, name, ttl_ms, value: value.into(), wait, by, place, _stream: stream })
    }

    /// Waits for the lock. Returns the lease and the token with which it is held.
    ///
    /// # Errors
    /// [`ErrorCode::LockHeld`] when the time is over, and those of a write.
    pub(super) async fn take(mut self) -> Result<(LeaseId, Revision), ApiError> {
        let ended = self.wait_for_turn().await;
        // A client that knows its lease may go on with its place; any other would have it for nothing.
        if ended.is_ok() || !self.place.is_own {
            self.place.may_be_taken = false;
        }
        ended.map(|token| (self.place.lease, token))
    }

    async fn wait_for_turn(&mut self) -> Result<Revision, ApiError> {
        let until = self.by_now().min(Instant::now() + self.wait);
        // Joined first, so that no change of the queue is missed.
        let position = self.context.gateway.with_store(Store::revision);
        let watcher = self.context.watchers.join(keys_of(&self.name), position);
        loop {
            let token = match self.enter(until).await? {
                Answer::Holds(token) => return Ok(token),
                Answer::Waits(token) => token,
                Answer::Held(holder) => return Err(held(holder)),
                Answer::Lost => continue,
            };
            if !self.wait_until_first(&watcher, token, until).await? {
                continue;
            }
            match self.settle(until).await? {
                Answer::Holds(token) => return Ok(token),
                Answer::Held(holder) => return Err(held(holder)),
                Answer::Waits(_) | Answer::Lost => {}
            }
        }
    }

    /// The deadline of the request, or one that never comes.
    fn by_now(&self) -> Instant {
        self.by.unwrap_or_else(|| Instant::now() + self.wait + COMMAND_TIME_MAX)
    }

    /// Waits until the place is to be settled: it is the first, or the time is over. Keeps its lease alive meanwhile.
    /// Returns false if the place is gone.
    async fn wait_until_first(&mut self, watcher: &Watcher, token: Revision, until: Instant) -> Result<bool, ApiError> {
        let mut renew_at = Instant::now() + self.renew_time();
        loop {
            // Whatever comes after this wakes the watcher again.
            watcher.take();
            match self.look(token) {
                Seen::First => return Ok(true),
                Seen::Gone => return Ok(false),
                Seen::Waits => {}
            }
            let woken = tokio::select! {
                biased;
                () = self.context.gateway.stops() => return Err(self.not_settled("this node is stopping")),
                () = sleep_until(until) => Woken::TimeIsOver,
                () = watcher.woken() => Woken::Changed,
                () = sleep_until(renew_at) => {
                    // A lease that is gone is seen in the queue.
                    let renewed = self.ask(Operation::KeepAlive { leases: vec![self.place.lease] }).await;
                    renew_at = Instant::now() + if renewed.is_ok() { self.renew_time() } else { TRIED_AGAIN_AFTER };
                    Woken::Changed
                }
            };
            if matches!(woken, Woken::TimeIsOver) {
                return Ok(true);
            }
        }
    }

    /// Time after which the lease is renewed. It may live for another time than the request says: its client may have
    /// granted it before. As long as this node does not know the lease, it may be of the shortest.
    fn renew_time(&self) -> Duration {
        let ttl_ms = self.context.gateway.with_store(|store| Some(store.lease(self.place.lease, None)?.0.ttl_ms));
        Duration::from_millis(ttl_ms.unwrap_or(LEASE_TTL_MS_MIN) / 3)
    }

    fn look(&self, token: Revision) -> Seen {
        self.context.gateway.with_store(|store| {
            let mut places = store.places(&self.place.name);
            match places.next() {
                // One before the token is an earlier place of the same lease: this node is behind.
                Some(first) if first.lease == self.place.lease && first.token >= token => Seen::First,
                _ if store.revision() < token || store.has_place(&self.place.name, self.place.lease) => Seen::Waits,
                _ => Seen::Gone,
            }
        })
    }

    /// Takes the place, or takes it up again. After `until` it is not taken if it would have to wait.
    async fn enter(&mut self, until: Instant) -> Result<Answer, ApiError> {
        loop {
            let Place { name, lease, .. } = &self.place;
            let waits = Instant::now() < until;
            let (name, lease, ttl_ms, value) = (name.clone(), Some(*lease), self.ttl_ms, self.value.clone());
            let operation = Operation::TakePlace { name, lease, ttl_ms, value, waits };
            match self.ask_again(operation, until).await? {
                // The lease of an earlier place is ending.
                Outcome::LeaseNotFound { .. } if self.place.is_own => self.place.lease = draw(),
                outcome => return self.answer(outcome),
            }
        }
    }

    /// Has the log decide whether the place holds the lock. If it does not, it is given up.
    async fn settle(&mut self, until: Instant) -> Result<Answer, ApiError> {
        let Place { name, lease, .. } = &self.place;
        let outcome = self.ask_again(Operation::SettlePlace { name: name.clone(), lease: *lease }, until).await?;
        self.answer(outcome)
    }

    fn answer(&mut self, outcome: Outcome) -> Result<Answer, ApiError> {
        Ok(match outcome {
            Outcome::LockTaken { token, .. } => Answer::Holds(token),
            Outcome::PlaceTaken { token, .. } => Answer::Waits(token),
            Outcome::LockHeld { holder } => {
                self.place.may_be_taken = false;
                Answer::Held(holder)
            }
            Outcome::PlaceLost => Answer::Lost,
            refusal => {
                self.place.may_be_taken = false;
                return Err(outcome::refused(refusal));
            }
        })
    }

    /// Carries a command out, which may be applied several times. It is tried again until `until` where a leader is
    /// missing or does not answer.
    async fn ask_again(&mut self, operation: Operation, until: Instant) -> Result<Outcome, ApiError> {
        loop {
            let asked = match operation {
                Operation::TakePlace { .. } => self.ask_for_place(operation.clone()).await,
                _ => self.ask(operation.clone()).await,
            };
            let error = match asked {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            let passes = matches!(error.code(), ErrorCode::NoLeader | ErrorCode::Timeout | ErrorCode::Overloaded);
            if !passes || Instant::now() + TRIED_AGAIN_AFTER >= until {
                return Err(if self.place.may_be_taken { self.not_settled(error.sentence()) } else { error });
            }
            tokio::select! {
                () = self.context.gateway.stops() => return Err(self.not_settled("this node is stopping")),
                () = sleep(TRIED_AGAIN_AFTER) => {}
            }
        }
    }

    async fn ask(&self, operation: Operation) -> Result<Outcome, ApiError> {
        let deadline = self.by_now().min(Instant::now() + COMMAND_TIME_MAX);
        ask(self.context.gateway.clone(), operation, deadline).await
    }

    /// The same for the command that takes the place.
    async fn ask_for_place(&mut self, operation: Operation) -> Result<Outcome, ApiError> {
        let deadline = self.by_now().min(Instant::now() + COMMAND_TIME_MAX);
        let asking = ask(self.context.gateway.clone(), operation, deadline).in_current_span();
        let taken = Place::taken(self.place.taking.insert(tokio::spawn(asking))).await;
        self.place.taking = None;
        self.place.may_be_taken |= may_be_taken(&taken);
        taken
    }

    /// The error where the place may have been taken, and nobody knows whether it holds the lock.
    fn not_settled(&self, why: &str) -> ApiError {
        let lease = self.place.lease;
        let then = if self.place.is_own {
            "your place in the queue is given up, at the latest with its lease: try again".to_owned()
        } else {
            format!("your place in the queue may still be there: ask again with the lease {lease}, which takes it up")
        };
        ApiError::outcome_unknown(format!("the lock could not be settled ({why}); {then}"))
    }
}

/// Draws an id from those that the store could have chosen.
fn draw() -> LeaseId {
    LeaseId::new(rand::random_range(1..=i64::MAX.unsigned_abs())).expect("it is not zero")
}

/// Returns true if a place may be there after this answer to the command that takes it.
fn may_be_taken(answer: &Result<Outcome, ApiError>) -> bool {
    answer.as_ref().map_or_else(|error| error.applied() != Applied::No, |_| true)
}

async fn ask(gateway: Gateway, operation: Operation, deadline: Instant) -> Result<Outcome, ApiError> {
    let command = Command { operation, request: None };
    let encoded = command.encode();
    check_limits(&command, encoded.len(), gateway.limits)?;
    // The wait is this node's, so the commands are, too: the client is not sent to the leader.
    let asker = Asker { caller: Caller::Client { redirects: false }, deadline };
    gateway.write(&asker, "", encoded).await.map(|answered| answered.value)
}

/// The error for a client whose time is over while another holds the lock.
fn held(holder: Holder) -> ApiError {
    ApiError::lock_held(to_place(holder, None))
}

impl Place {
    /// Waits for the answer to the command that takes it.
    async fn taken(taking: &mut Asking) -> Result<Outcome, ApiError> {
        taking.await.unwrap_or_else(|_| Err(ApiError::outcome_unknown("internal error: see the log of this node")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self { gateway, name, lease, is_own, may_be_taken: is_taken, taking } = self;
        let Ok(runtime) = Handle::try_current() else { return };
        let (is_taken, taking) = (*is_taken, taking.take());
        if !is_taken && taking.is_none() {
            return;
        }
        let leaving = leave(gateway.clone(), name.clone(), *lease, *is_own);
        let leaving = async move {
            let is_taken = match taking {
                Some(mut taking) => may_be_taken(&Self::taken(&mut taking).await) || is_taken,
                None => is_taken,
            };
            if is_taken {
                leaving.await;
            }
        };
        runtime.spawn(leaving.in_current_span());
    }
}

/// Gives up a place whose client is gone.
async fn leave(gateway: Gateway, name: Bytes, lease: LeaseId, even_held: bool) {
    let give_up_at = Instant::now() + LEAVE_TIME_MAX;
    loop {
        let operation = Operation::LeavePlace { name: name.clone(), lease, even_held };
        let left = ask(gateway.clone(), operation, Instant::now() + COMMAND_TIME_MAX).await;
        if left.is_ok() || gateway.check_lives().is_err() || Instant::now() > give_up_at {
            return;
        }
        sleep(TRIED_AGAIN_AFTER).await;
    }
}
