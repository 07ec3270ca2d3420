//! Rates, latencies and memory of lists, transactions, watches and leases, and of large stores and commands: three real
//! processes with default settings, one new cluster for each subject.
//!
//!     cargo bench -p kvd --bench data_model
//!     cargo bench -p kvd --bench data_model -- --quick fan-out leases
//!
//! Every reply and every event is checked: a request that fails, an event that is lost and a change of leader end the
//! program.
//!
//! | file | contents |
//! |---|---|
//! | `cluster` | a cluster that must keep its leader, and the processor time of its nodes |
//! | `clients` | threads that send requests, and the latencies that they saw |
//! | `fill` | stores of many keys |
//! | `events` | the events in the bytes of a stream |
//! | `watchers` | thousands of watchers in one thread |
//! | the others | a subject each |

mod clients;
mod cluster;
mod events;
mod fan_out;
mod fill;
mod idle_watchers;
mod large_commands;
mod large_store;
mod leases;
mod lists;
mod transactions;
mod watchers;

use clap::{Parser, ValueEnum};
use std::time::Duration;

/// Measures a cluster of three nodes on this machine.
#[derive(Parser)]
struct Arguments {
    /// Subjects to measure; all of them if none is named.
    #[arg(value_enum)]
    subjects: Vec<Subject>,

    /// Measure for a shorter time, and a store of 100,000 keys instead of 1,000,000.
    #[arg(long)]
    quick: bool,

    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Subject {
    /// Lists of 1,000 keys.
    Lists,
    /// Transactions of three operations.
    Transactions,
    /// Events of one prefix to many watchers.
    FanOut,
    /// 10,000 watchers that nothing concerns.
    IdleWatchers,
    /// Grants and keepalives; 50,000 leases.
    Leases,
    /// Commands on 100,000 keys, and the time for which others wait.
    LargeCommands,
    /// 1,000,000 keys, and clients that read all of them.
    LargeStore,
}

/// Duration and size of the measurements.
#[derive(Clone, Copy)]
struct Scale {
    /// Duration of one measurement.
    lasts: Duration,
    /// Number of measurements of each of the things that are compared with one another.
    rounds: usize,
    /// Keys of the large store.
    keys: usize,
}

const FULL: Scale = Scale { lasts: Duration::from_secs(10), rounds: 10, keys: 1_000_000 };
const QUICK: Scale = Scale { lasts: Duration::from_secs(3), rounds: 4, keys: 100_000 };

fn main() {
    let Arguments { subjects, quick, bench: _ } = Arguments::parse();
    let scale = if quick { QUICK } else { FULL };
    let all = Subject::value_variants();
    for subject in if subjects.is_empty() { all } else { &subjects } {
        match subject {
            Subject::Lists => lists::measure(scale),
            Subject::Transactions => transactions::measure(scale),
            Subject::FanOut => fan_out::measure(scale),
            Subject::IdleWatchers => idle_watchers::measure(scale),
            Subject::Leases => leases::measure(scale),
            Subject::LargeCommands => large_commands::measure(scale),
            Subject::LargeStore => large_store::measure(scale),
        }
        println!();
    }
}
