//! Runs the simulator for as long as you like.
//!
//!     cargo run --release -p kvd --example simulate -- --seeds 0..100000 --minutes 30
//!
//! Each seed is a separate run: a cluster, its clients, and a mix of faults. A run that shows a defect ends the program
//! with the trace that led to it and the line that replays it.

#[path = "../tests/simulator/sim/mod.rs"]
mod sim;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Number of runs from which it is a failure if some kind of fault or event never occurs: they prove less than they
/// seem to.
const SEEDS_THAT_COVER_ALL: u64 = 150;

/// Whole clusters from one seed, under every fault they claim to survive.
#[derive(Parser)]
struct Options {
    /// Seeds to run: `7` or `0..100000`.
    #[arg(long, value_parser = seeds, default_value = "0..100000")]
    seeds: Range<u64>,
    /// Stop after this many minutes, whatever seeds are left.
    #[arg(long)]
    minutes: Option<u64>,
    /// Put a defect back to see it found: a name of `kvd::mutants::Mutant`, such as `QuorumOfHalf`.
    #[cfg(feature = "mutants")]
    #[arg(long, value_parser = mutant)]
    mutant: Option<kvd::mutants::Mutant>,
}

#[cfg(feature = "mutants")]
fn mutant(name: &str) -> Result<kvd::mutants::Mutant, String> {
    let all = kvd::mutants::Mutant::ALL;
    let found = all.iter().find(|mutant| format!("{mutant:?}") == name);
    found.copied().ok_or_else(|| format!("there is no '{name}' among {all:?}"))
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("'{text}' is no seed: {error}"));
    match text.split_once("..") {
        None => number(text).map(|seed| seed..seed + 1),
        Some((first, end)) => {
            let seeds = number(first)?..number(end)?;
            if seeds.is_empty() { Err("there are no seeds in this range".into()) } else { Ok(seeds) }
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    #[cfg(feature = "mutants")]
    kvd::mutants::put_back(options.mutant);
    let template = "{wide_bar} {human_pos}/{human_len} seeds  {msg}  {elapsed}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("a template");
    let bar = ProgressBar::new(options.seeds.end - options.seeds.start).with_style(style);
    let began = Instant::now();
    let time_max = options.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let ended = sim::run_all(options.seeds, |total| {
        let rate = total.events as f64 / began.elapsed().as_secs_f64();
        bar.set_message(format!("{rate:.0} events/s"));
        bar.set_position(total.seeds);
        time_max.is_none_or(|time_max| began.elapsed() < time_max)
    });
    match ended {
        Ok(total) => {
            bar.finish_and_clear();
            let seconds = began.elapsed().as_secs_f64();
            print!("{total}");
            println!("all correct, in {seconds:.0} s: {:.0} events a second", total.events as f64 / seconds);
            // A handful of runs need not cover every kind.
            if total.seeds < SEEDS_THAT_COVER_ALL || total.missing().is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(failure) => {
            bar.abandon();
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}
