//! The figures of a bench: rates, percentiles, errors by kind.

use super::plan::{Plan, Workload};
use super::tally::{Series, Summary, Tally};
use crate::output::Table;
use crate::units;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Figures of a bench.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    workload: Workload,
    clients: u32,
    keys: u32,
    value_bytes: usize,
    measured_ms: u64,
    interrupted: bool,
    /// One summary for each kind of request, then one for all of them if there are several.
    operations: Vec<Summary>,
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
            measured_ms: units::ms(tally.time),
            interrupted,
            operations,
        }
    }

    /// Describes the bench, so that the table below still means something when it is found later.
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

    /// Returns a line for each kind of request that failed.
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
    use kvclient::Error;

    #[test]
    fn errors_are_counted_by_kind_and_not_among_the_latencies() {
        let plan = Plan {
            prefix: Plan::new_prefix(),
            workload: Workload::Mixed,
            clients: 2,
            keys: 1000,
            value: vec![0; 256],
            warm_up: Duration::ZERO,
            measured: Duration::from_secs(1),
        };
        let mut tally = Tally { time: Duration::from_millis(1500), ..Tally::default() };
        [1, 1, 2].into_iter().for_each(|ms| tally.sets.answered(Duration::from_millis(ms)));
        tally.sets.over(Duration::from_secs(1));
        for _ in 0..2 {
            tally.sets.failed(&Error::InvalidRequest { message: "why".into() });
        }
        tally.sets.failed(&Error::TooLarge { message: "why".into() });
        let report = Report::new(&plan, &tally, false);
        assert_eq!(report.heading(), "2 clients, 1,000 keys, values of 256 bytes, 1.5 s");
        assert_eq!(report.errors(), ["set failed: 2 invalid_request, 1 too_large"]);
        let lines = "\
REQUEST  PER SECOND  COUNT  ERRORS     MEAN      P50      P90      P99    P99.9      MAX
set               3      3       3  1.33 ms  1.00 ms  2.00 ms  2.00 ms  2.00 ms  2.00 ms
get               0      0       0        -        -        -        -        -        -
all               3      3       3  1.33 ms  1.00 ms  2.00 ms  2.00 ms  2.00 ms  2.00 ms";
        assert_eq!(report.table().to_string(), lines);
        let json = serde_json::to_value(&report).expect("a report is JSON");
        assert_eq!(json["operations"][0]["errors"]["invalid_request"], 2);
        assert_eq!(json["operations"][0]["latency_us"]["p50"], 1000);
    }
}
