//! Number of leader changes on an overloaded machine: three real processes under load from eight threads, with default
//! timings, next to threads that never rest.
//!
//!     cargo bench -p kvd --bench starved
//!     cargo bench -p kvd --bench starved -- --seconds 300
//!
//! Nothing fails here, so each new term is an unwanted change of leader. A node that got no processor time knows that,
//! and does not take its own absence for that of its leader.

use clap::Parser;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, Load};

/// Threads that compute all the time, for each core.
const BUSY_PER_CORE: [usize; 4] = [0, 2, 4, 8];

const WRITERS: usize = 8;

#[derive(Parser)]
struct Arguments {
    /// Duration of the measurement for each row.
    #[arg(long, default_value_t = 60)]
    seconds: u64,

    /// Set by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let Arguments { seconds, bench: _ } = Arguments::parse();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("{:>12} {:>6} {:>8} {:>16} {:>8}", "busy threads", "cores", "writes/s", "leader changes", "failed");
    for per_core in BUSY_PER_CORE {
        run(per_core * cores, cores, Duration::from_secs(seconds));
    }
}

fn run(busy: usize, cores: usize, lasts: Duration) {
    let cluster = Cluster::start(3);
    let load = Load::start(&cluster.client(), WRITERS);
    load.flow(1_000);
    let before = newest_term(&cluster);
    let ends = AtomicBool::new(false);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        thread::sleep(lasts);
        ends.store(true, Ordering::Relaxed);
    });
    let took = began.elapsed().as_secs_f64();
    let changes = newest_term(&cluster) - before;
    let ledger = load.stop();
    cluster.catch_up();
    ledger.check(&cluster.nodes);
    let rate = ledger.acknowledged() as f64 / took;
    let per_minute = changes as f64 / took * 60.0;
    println!("{busy:>12} {cores:>6} {rate:>8.0} {per_minute:>9.1} / min {:>8}", ledger.failed());
}

/// The newest term of any node.
fn newest_term(cluster: &Cluster) -> u64 {
    let terms = cluster.nodes.iter().filter_map(|node| node.health()).map(|health| health.term);
    terms.max().expect("a node answers")
}
