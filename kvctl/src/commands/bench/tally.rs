//! Results of the clients: how many requests were answered, how fast, and which failed.

use crate::exit;
use hdrhistogram::Histogram;
use kvclient::Error;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Results of the clients.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) sets: Series,
    pub(super) gets: Series,
    /// Measured time of the slowest client, its last answer included.
    pub(super) time: Duration,
    /// The last error, during the warm-up or the measurement.
    pub(super) last_error: Option<Error>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.sets.add(&other.sets);
        self.gets.add(&other.gets);
        self.time = self.time.max(other.time);
        self.last_error = other.last_error.or(self.last_error.take());
    }
}

/// Results of the requests of one kind.
pub(super) struct Series {
    /// Latencies of the requests that succeeded, in microseconds with three significant digits.
    latencies_us: Histogram<u64>,
    errors: BTreeMap<&'static str, u64>,
    /// Successes per second, summed over the clients. A client that waits long for its last answer lowers only its own
    /// rate.
    per_second: f64,
}

impl Default for Series {
    fn default() -> Self {
        let latencies_us = Histogram::new(3).expect("three digits are within what a histogram takes");
        Self { latencies_us, errors: BTreeMap::new(), per_second: 0.0 }
    }
}

impl Series {
    pub(super) fn answered(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies_us.record(us).expect("a growing histogram has room");
    }

    pub(super) fn failed(&mut self, error: &Error) {
        *self.errors.entry(exit::code(error)).or_default() += 1;
    }

    /// Requests that succeeded.
    pub(super) fn count(&self) -> u64 {
        self.latencies_us.len()
    }

    /// Sets the time over which one client made all these requests.
    pub(super) fn over(&mut self, time: Duration) {
        self.per_second = self.count() as f64 / time.as_secs_f64().max(f64::EPSILON);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.latencies_us.add(&other.latencies_us).expect("a growing histogram has room");
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.per_second += other.per_second;
    }

    pub(super) fn summary(&self, operation: &'static str) -> Summary {
        let at = |quantile| self.latencies_us.value_at_quantile(quantile);
        Summary {
            operation,
            per_second: (self.per_second * 10.0).round() / 10.0,
            count: self.count(),
            errors: self.errors.clone(),
            latency_us: Latencies {
                mean: self.latencies_us.mean().round() as u64,
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p99_9: at(0.999),
                max: self.latencies_us.max(),
            },
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) operation: &'static str,
    pub(super) per_second: f64,
    /// Requests that succeeded.
    pub(super) count: u64,
    /// Requests that failed, by kind.
    pub(super) errors: BTreeMap<&'static str, u64>,
    /// Latencies of the requests that succeeded.
    pub(super) latency_us: Latencies,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Latencies {
    pub(super) mean: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p99_9: u64,
    pub(super) max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(latencies_ms: impl Iterator<Item = u64>, time: Duration) -> Series {
        let mut series = Series::default();
        latencies_ms.for_each(|ms| series.answered(Duration::from_millis(ms)));
        series.over(time);
        series
    }

    /// Returns whether two latencies are equal to the three digits that a histogram keeps.
    fn close(found: u64, expected: u64) -> bool {
        found.abs_diff(expected) * 1000 <= expected
    }

    #[test]
    fn percentiles_are_those_of_all_clients_together() {
        let mut all = Series::default();
        all.add(&series(1..=500, Duration::from_secs(2)));
        all.add(&series(501..=1000, Duration::from_secs(5)));
        let summary = all.summary("set");
        assert_eq!(summary.count, 1000);
        let Latencies { mean, p50, p90, p99, p99_9, max } = summary.latency_us;
        for (found, ms) in [(p50, 500), (p90, 900), (p99, 990), (p99_9, 999), (max, 1000)] {
            assert!(close(found, ms * 1000), "{found} µs, not {ms} ms");
        }
        assert!(close(mean, 500_500), "{mean}");
    }

    #[test]
    fn a_client_that_waits_for_its_last_answer_slows_down_nobody_else() {
        let mut all = Series::default();
        all.add(&series(std::iter::repeat_n(1, 100), Duration::from_secs(1)));
        all.add(&series(std::iter::repeat_n(1, 100), Duration::from_secs(5)));
        assert!((all.summary("set").per_second - 120.0).abs() < 0.01);
    }
}
