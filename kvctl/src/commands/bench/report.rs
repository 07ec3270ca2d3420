//! The figures of a bench: rates, percentiles, errors by kind.

use super::Workload;
use super::load::{Plan, Tally};
use crate::output::Table;
use crate::units;
use hdrhistogram::Histogram;
use kvclient::Error;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the requests of one kind met.
pub(super) struct Series {
    /// Latencies of the requests that succeeded, in microseconds to three digits.
    latencies_us: Histogram<u64>,
    errors: BTreeMap<&'static str, u64>,
    /// Successes a second, summed over the clients: one that waits long for its last answer slows itself down only.
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
        *self.errors.entry(kind(error)).or_default() += 1;
    }

    /// Requests that succeeded.
    pub(super) fn count(&self) -> u64 {
        self.latencies_us.len()
    }

    /// Says over which time one client made all these requests.
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

    fn summary(&self, operation: &'static str) -> Summary {
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

/// The name of an error among the figures.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::NoLeader { .. } => "no_leader",
        Error::Unreachable { .. } => "unreachable",
        Error::OutcomeUnknown { .. } => "outcome_unknown",
        Error::Overloaded { .. } => "overloaded",
        Error::TooLarge { .. } => "too_large",
        Error::Unexpected { .. } => "unexpected",
        _ => "other",
    }
}

/// A bench in figures.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    workload: Workload,
    clients: u32,
    keys: u32,
    value_bytes: usize,
    measured_ms: u64,
    interrupted: bool,
    /// One for each kind of request, then one for all where there are several.
    operations: Vec<Summary>,
}

#[derive(Debug, Serialize)]
struct Summary {
    operation: &'static str,
    per_second: f64,
    /// Requests that succeeded.
    count: u64,
    /// Requests that failed, by kind.
    errors: BTreeMap<&'static str, u64>,
    /// Of the requests that succeeded.
    latency_us: Latencies,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Latencies {
    mean: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, tally: &Tally, interrupted: bool) -> Self {
        let operations = match plan.workload {
            Workload::Set => vec![tally.sets.summary("set")],
            Workload::Get => vec![tally.gets.summary("get")],
            Workload::Mixed => {
                let mut all = Series::default();
                all.add(&tally.sets);
                all.add(&tally.gets);
                vec![tally.sets.summary("set"), tally.gets.summary("get"), all.summary("all")]
            }
        };
        Self {
            workload: plan.workload,
            clients: plan.clients,
            keys: plan.keys,
            value_bytes: plan.value.len(),
            measured_ms: u64::try_from(tally.time.as_millis()).unwrap_or(u64::MAX),
            interrupted,
            operations,
        }
    }

    /// What was measured, so that the table below it means something when it is found again.
    pub(super) fn heading(&self) -> String {
        format!(
            "{} clients, {} keys, values of {} bytes, {}",
            self.clients,
            units::grouped(self.keys.into()),
            self.value_bytes,
            units::short(Duration::from_millis(self.measured_ms))
        )
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new(&[
            "REQUEST",
            "#PER SECOND",
            "#COUNT",
            "#ERRORS",
            "#MEAN",
            "#P50",
            "#P90",
            "#P99",
            "#P99.9",
            "#MAX",
        ]);
        for Summary { operation, per_second, count, errors, latency_us: latency } in &self.operations {
            let time = |us| if *count == 0 { String::new() } else { units::latency(Duration::from_micros(us)) };
            let cells = [
                (*operation).to_owned(),
                units::grouped(per_second.round() as u64),
                units::grouped(*count),
                units::grouped(errors.values().sum()),
                time(latency.mean),
                time(latency.p50),
                time(latency.p90),
                time(latency.p99),
                time(latency.p99_9),
                time(latency.max),
            ];
            table.push(cells, None);
        }
        table
    }

    /// A line for each kind of request that failed.
    pub(super) fn errors(&self) -> Vec<String> {
        let kinds = |errors: &BTreeMap<&str, u64>| {
            errors.iter().map(|(kind, &count)| format!("{} {kind}", units::grouped(count))).collect::<Vec<_>>()
        };
        let failed = self.operations.iter().filter(|summary| summary.operation != "all" && !summary.errors.is_empty());
        failed.map(|summary| format!("{} failed: {}", summary.operation, kinds(&summary.errors).join(", "))).collect()
    }
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

    /// Whether two latencies are the same to the three digits that a histogram keeps.
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

    #[test]
    fn errors_are_counted_by_kind_and_not_among_the_latencies() {
        let plan = Plan {
            workload: Workload::Mixed,
            clients: 2,
            keys: 1000,
            value: vec![0; 256],
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(1),
        };
        let mut tally = Tally { time: Duration::from_millis(1500), ..Tally::default() };
        tally.sets = series([1, 1, 2].into_iter(), Duration::from_secs(1));
        for _ in 0..2 {
            tally.sets.failed(&Error::InvalidRequest { message: "why".into() });
        }
        tally.sets.failed(&Error::TooLarge { message: "why".into() });
        let report = Report::new(&plan, &tally, false);
        assert_eq!(report.heading(), "2 clients, 1,000 keys, values of 256 bytes, 1.5 s");
        assert_eq!(report.errors(), ["set failed: 2 other, 1 too_large"]);
        let lines = "\
REQUEST  PER SECOND  COUNT  ERRORS     MEAN      P50      P90      P99    P99.9      MAX
set               3      3       3  1.33 ms  1.00 ms  2.00 ms  2.00 ms  2.00 ms  2.00 ms
get               0      0       0        -        -        -        -        -        -
all               3      3       3  1.33 ms  1.00 ms  2.00 ms  2.00 ms  2.00 ms  2.00 ms";
        assert_eq!(report.table().to_string(), lines);
        let json = serde_json::to_value(&report).expect("a report is JSON");
        assert_eq!(json["operations"][0]["errors"]["other"], 2);
        assert_eq!(json["operations"][0]["latency_us"]["p50"], 1000);
    }
}
