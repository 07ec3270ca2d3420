//! `kvctl bench`: measures how many requests a cluster answers, and how fast.
//!
//! Each client is a thread that sends its next request when the last is answered (a closed loop), through [`kvclient`]
//! as any Rust program would. So the figures are those that a user gets, retries included, and not the capacity of the
//! daemon alone. A closed loop sends less while the cluster stands still: the longest latencies show how long it stood
//! still, the percentiles do not.
//!
//! [`load`] makes the requests that a [`plan`] asks for, [`tally`] counts them, [`report`] shows the figures.

mod load;
mod plan;
mod report;
mod tally;

use crate::context::Context;
use crate::exit::{self, Exit, Failure};
use crate::{output, units};
use clap::{Args, value_parser};
use plan::{Plan, Workload};
use report::Report;
use std::time::Duration;

/// Time before requests are counted: connections are opened and the leader is found.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measure throughput and latency of the cluster
///
/// Every key is written once, then the load runs for a second of warm-up and for --seconds of measurement. Each client
/// sends its next request when the last is answered. The keys `bench/...` are deleted at the end, also after an
/// interrupt; a second interrupt leaves them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl bench                                      64 clients write for 10 seconds
  kvctl bench --workload get --clients 1           the latency of a single reader
  kvctl bench -o json | jq '.operations[].per_second'

An interrupt ends the bench early: it prints what it has, exit code 130.
Failed requests are listed by kind; the exit code is an error only if none succeeded.")]
pub(crate) struct Bench {
    /// Clients that send at the same time
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=1024))]
    clients: u32,
    /// Seconds to measure
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Requests to send
    #[arg(short, long, value_name = "KIND", default_value = "set")]
    workload: Workload,
    /// Bytes in each value
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = value_parser!(u32).range(0..=16 << 20))]
    value_size: u32,
    /// Keys to spread the requests over, drawn at random
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
}

impl Bench {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let plan = Plan {
            prefix: Plan::new_prefix(),
            workload: self.workload,
            clients: self.clients,
            keys: self.keys,
            value: (b'a'..=b'z').cycle().take(self.value_size as usize).collect(),
            warm_up: WARM_UP,
            measured: Duration::from_secs(self.seconds.into()),
        };
        context.interrupt.notice();
        let ended = measure(&plan, &mut context);
        // If the cluster cannot be reached, there are no keys to remove, or they cannot be removed.
        let unreachable = matches!(exit::of_result(&ended), Exit::Unavailable);
        if !unreachable && let Err(error) = load::clear(&context.client, &plan) {
            output::warn(&format!("some keys {}... were not deleted: {error:#}", plan.prefix));
        }
        ended
    }
}

/// Runs the plan, and shows the results.
fn measure(plan: &Plan, context: &mut Context) -> anyhow::Result<()> {
    load::fill(&context.client, plan, &context.interrupt)?;
    let tally = load::run(&context.client, plan, &context.interrupt)?;
    let interrupted = context.interrupt.noticed();
    if interrupted && tally.time.is_zero() {
        return Err(load::interrupted_early());
    }
    let report = Report::new(plan, &tally, interrupted);
    if context.output.is_json() {
        context.output.json(&report)?;
    } else {
        context.output.line(&report.heading())?;
        context.output.table(&report.table())?;
        for line in report.errors() {
            context.output.line(&line)?;
        }
    }
    match tally.last_error {
        _ if interrupted => {
            let (measured, planned) = (units::short(tally.time), units::short(plan.measured));
            Err(Failure::Interrupted(format!("interrupted after {measured} of {planned}")).into())
        }
        Some(error) if tally.sets.count() + tally.gets.count() == 0 => Err(error.into()),
        _ => Ok(()),
    }
}
