//! A long uptime compressed into half an hour: three real processes under load at full speed, while nodes are killed,
//! paused, wiped, replaced and restarted, leadership is transferred, and a snapshot is taken every few megabytes of
//! log.
//!
//!     cargo bench -p kvd --bench soak -- --minutes 30
//!
//! The time is divided into rounds. In each round, clients record a history, which must be linearizable, and writers at
//! full speed note their acknowledged writes, which must be on every node at the end. A round is a line of the report:
//! rates, latencies, and the nodes' use of disk and memory, which must not grow from the first third of the rounds to
//! the last.

mod disturbances;
mod load;
mod report;

use clap::Parser;
use disturbances::Disturber;
use load::Writers;
use report::{Report, Round};
use std::time::{Duration, Instant};
use testkit::{Cluster, Recorder};

/// Kills, wipes and replaces the nodes of a cluster under load, and judges what clients saw and what the nodes hold.
#[derive(Debug, Parser)]
struct Args {
    /// Duration of the run.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Time for which a history is recorded before it is judged.
    #[arg(long, default_value_t = 60)]
    round_seconds: u64,
    /// Writers at full speed.
    #[arg(long, default_value_t = 16)]
    writers: usize,
    /// Passed to the nodes: small, so that many snapshots are taken.
    #[arg(long, default_value_t = 4 << 20)]
    snapshot_log_bytes: u64,
    /// Decides what is done to which node when; drawn and printed if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("three nodes, {} writers at full speed, --seed {seed}", args.writers);
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--snapshot-log-bytes", args.snapshot_log_bytes.to_string());
    }
    cluster.start_all();
    cluster.leader();

    let began = Instant::now();
    let (total, per_round) = (Duration::from_secs(args.minutes * 60), Duration::from_secs(args.round_seconds));
    let mut disturber = Disturber::new(seed, args.snapshot_log_bytes);
    let mut writers = Writers::new(args.writers);
    let mut report = Report::default();
    while began.elapsed() < total {
        let number = report.rounds() + 1;
        let recorder = Recorder::start_at(&cluster, &format!("round{number}/"));
        let load = writers.start(cluster.client());
        let (mut round, round_began) = (Round::default(), Instant::now());
        while round_began.elapsed() < per_round {
            let kind = disturber.disturb(&mut cluster, &recorder);
            round.disturbed(kind, load.take_longest_gap());
            round.measure(&cluster);
        }
        let (rest, written) = load.stop();
        round.wrote(round_began.elapsed(), written);
        writers = rest;
        let history = recorder.stop();
        round.recorded(history.to_string());
        history.judge(&cluster);
        writers.check(&cluster);
        report.add(round);
    }
    report.finish();
}
