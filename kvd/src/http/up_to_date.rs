//! Bound on the age of this node's state: derived from the last read index that the leader confirmed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The latest moment up to which this node is known to have applied everything that was committed.
#[derive(Debug)]
pub(super) struct UpToDate {
    origin: Instant,
    /// The moment, in microseconds since the origin; zero for never.
    until_us: AtomicU64,
}

impl UpToDate {
    /// Returns the bound before any confirmation.
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, until_us: AtomicU64::new(0) }
    }

    /// Records that this node has applied everything that a leader reported as committed, in answer to a question at
    /// that moment.
    pub(super) fn confirm(&self, asked: Instant) {
        let us = asked.saturating_duration_since(self.origin).as_micros();
        self.until_us.fetch_max(us.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns true if the state is known to be no older than `age_max`.
    pub(super) fn is_within(&self, age_max: Duration, now: Instant) -> bool {
        let us = self.until_us.load(Ordering::Relaxed);
        let until = Duration::from_micros(us);
        us > 0 && now.saturating_duration_since(self.origin).saturating_sub(until) <= age_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_counts_from_the_latest_question_that_was_answered() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let up_to_date = UpToDate::new(origin);
        assert!(!up_to_date.is_within(Duration::MAX, at(1)), "nothing is known yet");
        up_to_date.confirm(at(10));
        // The answer to an earlier question arrives late.
        up_to_date.confirm(at(5));
        for (age_max_ms, now_ms, expected) in [(0, 10, true), (0, 11, false), (20, 30, true), (20, 31, false)] {
            let found = up_to_date.is_within(Duration::from_millis(age_max_ms), at(now_ms));
            assert_eq!(found, expected, "{age_max_ms} ms at {now_ms} ms");
        }
    }
}
