//! The time for which a lease can be counted on.
//!
//! The cluster counts the time of a lease by the clock of its leader, from when it applies a keepalive. The holder
//! counts by its own, from before it sent the request, and only four fifths of the time: so it stops counting on the
//! lease before the cluster ends it, even if its clock is 20 % slower. A lease that was once reported as lost stays
//! lost, whatever answer comes later: the caller may have acted on the report.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Part of its time that is left when a lease is renewed.
const RENEWED_AFTER: f64 = 1.0 / 3.0;

/// Part of its time after which a holder no longer counts on a lease.
const COUNTED_ON_FOR: f64 = 4.0 / 5.0;

/// Part of its time by which a lease may be renewed early, together with others.
const EARLY: f64 = 1.0 / 12.0;

/// Part of its time after which a renewal that failed is tried again.
const RETRIED_AFTER: f64 = 1.0 / 20.0;

/// Longest wait before a renewal that failed is tried again.
const RETRIED_AFTER_MAX: Duration = Duration::from_millis(500);

/// Time after which a moment counts as never. A year is far beyond any wait.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time of one lease, shared by its holder and the keeper.
#[derive(Debug)]
pub(super) struct Term {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    ttl: Duration,
    /// A moment before the last answered request was sent.
    renewed: Instant,
    /// The next request is not sent before this time.
    next: Instant,
    is_lost: bool,
}

impl State {
    fn lost_at(&self) -> Instant {
        self.renewed + self.ttl.mul_f64(COUNTED_ON_FOR)
    }

    /// Returns whether the lease is lost, and records a loss, which is final.
    fn look(&mut self, now: Instant) -> bool {
        self.is_lost |= now >= self.lost_at();
        self.is_lost
    }
}

impl Term {
    /// Creates the time of a lease. `sent` is before the request that granted or renewed it.
    pub(super) fn new(sent: Instant, ttl: Duration) -> Self {
        let ttl = ttl.min(FAR);
        let state = State { ttl, renewed: sent, next: sent + ttl.mul_f64(RENEWED_AFTER), is_lost: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the lease is lost.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.state().look(now)
    }

    /// Returns the time at which it will be lost if it is not renewed.
    pub(super) fn lost_at(&self) -> Instant {
        self.state().lost_at()
    }

    /// Returns the time at which it is to be renewed.
    pub(super) fn next(&self) -> Instant {
        self.state().next
    }

    /// Returns whether it is renewed along with another one.
    pub(super) fn goes_along(&self, now: Instant) -> bool {
        let state = self.state();
        state.next <= now + state.ttl.mul_f64(EARLY)
    }

    /// Records that the lease was renewed by a request sent at `sent`.
    pub(super) fn renew(&self, sent: Instant, ttl: Duration, now: Instant) {
        let mut state = self.state();
        if state.look(now) {
            return;
        }
        state.ttl = ttl.min(FAR);
        state.renewed = sent;
        state.next = sent + state.ttl.mul_f64(RENEWED_AFTER);
    }

    /// Records that a renewal failed, and plans another one soon.
    pub(super) fn retry(&self, now: Instant) {
        let mut state = self.state();
        state.next = now + state.ttl.mul_f64(RETRIED_AFTER).min(RETRIED_AFTER_MAX);
    }

    /// Records that the lease has ended, or is no longer kept alive.
    pub(super) fn lose(&self) {
        self.state().is_lost = true;
        self.changed.notify_all();
    }

    /// Waits until it is lost, until `by` at the latest. Returns whether it is lost.
    fn wait(&self, by: Option<Instant>) -> bool {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            if state.look(now) {
                return true;
            }
            if by.is_some_and(|by| now >= by) {
                return false;
            }
            let until = by.map_or(state.lost_at(), |by| by.min(state.lost_at()));
            let waited = self.changed.wait_timeout(state, until.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Reports the loss of a lease to threads other than the holder's. From [`Lease::loss`](super::Lease::loss).
///
/// ```
/// # use kvclient::Client;
/// use std::thread;
/// use std::time::Duration;
///
/// # let cluster = testkit::DocCluster::take_turn();
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let lease = client.grant_lease(Duration::from_secs(10))?;
/// let loss = lease.loss();
/// let guard = thread::spawn(move || {
///     loss.wait();
///     println!("stop working: the lease is gone");
/// });
/// lease.revoke()?;
/// guard.join().expect("it does not panic");
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct LeaseLoss {
    term: Arc<Term>,
}

impl LeaseLoss {
    pub(super) fn of(term: Arc<Term>) -> Self {
        Self { term }
    }

    /// Returns whether the lease is lost, by this process's clock. Once true, it stays true.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lease = Client::connect(endpoints)?.grant_lease(Duration::from_secs(10))?;
    /// let loss = lease.loss();
    /// assert!(!loss.is_lost());
    /// drop(lease);
    /// assert!(loss.is_lost());
    /// # anyhow::Ok(())
    /// ```
    pub fn is_lost(&self) -> bool {
        self.term.is_lost(Instant::now())
    }

    /// Waits until the lease is lost, or has been given up.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lease = Client::connect(endpoints)?.grant_lease(Duration::from_secs(10))?;
    /// let loss = lease.loss();
    /// lease.revoke()?;
    /// loss.wait();
    /// # anyhow::Ok(())
    /// ```
    pub fn wait(&self) {
        self.term.wait(None);
    }

    /// Waits until the lease is lost, for `patience` at most. Returns whether it is.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let lease = Client::connect(endpoints)?.grant_lease(Duration::from_secs(10))?;
    /// assert!(!lease.loss().wait_for(Duration::from_millis(10)));
    /// # anyhow::Ok(())
    /// ```
    pub fn wait_for(&self, patience: Duration) -> bool {
        self.term.wait(Some(Instant::now() + patience.min(FAR)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[test]
    fn a_lease_is_counted_on_for_four_fifths_of_its_time_from_before_the_request() {
        let sent = Instant::now();
        let term = Term::new(sent, TTL);
        assert_eq!((term.lost_at(), term.next()), (sent + TTL * 4 / 5, sent + TTL / 3));
        let answered = sent + Duration::from_secs(15);
        term.renew(sent + Duration::from_secs(10), TTL, answered);
        assert_eq!(term.lost_at(), sent + Duration::from_secs(34));
        assert!(!term.is_lost(sent + Duration::from_secs(33)) && term.is_lost(sent + Duration::from_secs(34)));
    }

    #[test]
    fn what_was_counted_lost_stays_lost() {
        let sent = Instant::now();
        for is_told in [false, true] {
            let term = Term::new(sent, TTL);
            if is_told {
                term.lose();
            }
            assert!(term.is_lost(sent + TTL));
            term.renew(sent + TTL, TTL, sent + TTL);
            assert!(term.is_lost(sent));
        }
        let term = Term::new(sent, TTL);
        term.renew(sent, TTL, sent + TTL);
        assert!(term.is_lost(sent), "the answer came too late");
    }

    #[test]
    fn leases_of_about_the_same_time_are_renewed_together_and_failures_soon_again() {
        let sent = Instant::now();
        let (term, other) = (Term::new(sent, TTL), Term::new(sent + TTL / 24, TTL));
        assert!(other.goes_along(term.next()) && !other.goes_along(sent));
        term.retry(sent);
        assert_eq!(term.next(), sent + RETRIED_AFTER_MAX);
        assert_eq!(term.lost_at(), sent + TTL * 4 / 5, "a failure changes nothing of that");
    }

    #[test]
    fn a_wait_ends_with_the_loss_or_with_its_own_time() {
        let term = Arc::new(Term::new(Instant::now(), Duration::from_millis(50)));
        let loss = LeaseLoss::of(Arc::clone(&term));
        loss.wait();
        assert!(loss.is_lost() && loss.wait_for(Duration::ZERO));

        let term = Arc::new(Term::new(Instant::now(), Duration::MAX));
        let loss = LeaseLoss::of(Arc::clone(&term));
        assert!(!loss.wait_for(Duration::from_millis(1)));
        let waiting = std::thread::spawn(move || loss.wait());
        term.lose();
        waiting.join().unwrap();
    }
}
