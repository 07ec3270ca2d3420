//! Waits and deadlines: exponential backoff with full jitter under one deadline.
//!
//! Full jitter draws each wait evenly between zero and a ceiling that doubles. So callers that failed together, because
//! the leader of all of them died, come back spread out.

use rand::{Rng, RngExt as _};
use std::thread;
use std::time::{Duration, Instant};

/// No attempt begins with less time than this, or than a small part of the total if that is less.
const TIME_TOO_SHORT: Duration = Duration::from_millis(10);

/// Limits of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For one exchange with one node.
    pub(crate) attempt_timeout: Duration,
    /// For the operation, waits included.
    pub(crate) total_timeout: Duration,
    /// An operation ends after this time if there was no connection to any node.
    pub(crate) unreachable_timeout: Duration,
    /// Attempts after the first that failed.
    pub(crate) retries: u32,
    /// Waits between rounds of attempts.
    pub(crate) backoff: Backoff,
}

/// Waits between attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Ceiling of the first wait.
    pub(crate) min: Duration,
    /// Ceiling that is never exceeded.
    pub(crate) max: Duration,
}

impl Backoff {
    /// Returns the longest wait after the `failures`-th failure in a row, counted from zero.
    pub(crate) fn ceiling(self, failures: u32) -> Duration {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        doubled.min(self.max)
    }

    /// Draws a random wait after the `failures`-th failure in a row, counted from zero.
    pub(crate) fn wait(self, failures: u32, random: &mut impl Rng) -> Duration {
        random.random_range(Duration::ZERO..=self.ceiling(failures))
    }

    /// Like [`Backoff::wait`], but no shorter than a node asked for, within the ceiling.
    ///
    /// `Retry-After` counts whole seconds, far longer than a queue takes to drain, so it is respected only up to
    /// [`Backoff::max`].
    pub(crate) fn wait_as_asked(self, failures: u32, asked: Option<Duration>, random: &mut impl Rng) -> Duration {
        let wait = self.wait(failures, random);
        match asked {
            // Between half and all of it, so that callers that were refused together do not come back together.
            Some(asked) => wait.max(random.random_range(asked.min(self.max) / 2..=asked.min(self.max))),
            None => wait,
        }
    }
}

/// The end of one operation, including attempts and waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    started: Instant,
    limit: Duration,
}

impl Deadline {
    /// Creates a deadline `limit` from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self { started: Instant::now(), limit }
    }

    /// Returns how long the operation has been running.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the latest moment at which the operation ends.
    pub(crate) fn moment(&self) -> Instant {
        self.started + self.limit
    }

    /// Returns the time for one attempt, at most `limit`. `None` if the time is over, or so short that sending a write
    /// would only leave its outcome in doubt.
    pub(crate) fn attempt(&self, limit: Duration) -> Option<Duration> {
        let left = self.limit.saturating_sub(self.elapsed());
        (left > TIME_TOO_SHORT.min(self.limit / 32)).then_some(left.min(limit))
    }

    /// Sleeps for `wait`. Returns `false` at once if no time would be left afterwards.
    pub(crate) fn sleep(&self, wait: Duration) -> bool {
        if self.elapsed() + wait >= self.limit {
            return false;
        }
        thread::sleep(wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const BACKOFF: Backoff = Backoff { min: Duration::from_millis(10), max: Duration::from_millis(250) };

    #[test]
    fn ceilings_double_up_to_the_limit_and_every_wait_below_them_occurs() {
        let mut random = StdRng::seed_from_u64(1);
        for (failures, ceiling_ms) in [(0, 10), (1, 20), (2, 40), (4, 160), (5, 250), (31, 250), (32, 250), (9999, 250)]
        {
            let ceiling = Duration::from_millis(ceiling_ms);
            let waits: Vec<_> = (0..1000).map(|_| BACKOFF.wait(failures, &mut random)).collect();
            assert!(waits.iter().all(|wait| *wait <= ceiling), "{failures} failures");
            assert!(waits.iter().any(|wait| *wait < ceiling / 10), "{failures} failures: jitter is full");
            assert!(waits.iter().any(|wait| *wait > ceiling * 9 / 10), "{failures} failures");
        }
    }

    #[test]
    fn a_node_that_asks_for_patience_gets_it_within_the_ceiling() {
        let mut random = StdRng::seed_from_u64(2);
        for _ in 0..1000 {
            let wait = BACKOFF.wait_as_asked(0, Some(Duration::from_secs(3600)), &mut random);
            assert!((BACKOFF.max / 2..=BACKOFF.max).contains(&wait), "{wait:?}");
            let wait = BACKOFF.wait_as_asked(0, Some(Duration::ZERO), &mut random);
            assert!(wait <= BACKOFF.min, "{wait:?}");
        }
    }

    #[test]
    fn a_deadline_bounds_attempts_and_refuses_a_wait_that_would_outlast_it() {
        let deadline = Deadline::after(Duration::from_secs(3600));
        assert_eq!(deadline.attempt(Duration::from_secs(2)), Some(Duration::from_secs(2)));
        assert!(deadline.attempt(Duration::from_secs(7200)).is_some_and(|left| left <= Duration::from_secs(3600)));
        assert!(!deadline.sleep(Duration::from_secs(3600)), "returns at once");

        let over = Deadline::after(Duration::ZERO);
        assert_eq!(over.attempt(Duration::from_secs(2)), None);
    }
}
