//! How long a cluster takes no writes when its leader dies: three real processes under load from
//! eight threads, `kill -9` of the leader twenty times, default timings.
//!
//!     cargo bench -p kvd --bench failover
//!
//! A gap is the longest time between two acknowledged writes, of any of the threads, around a kill.

#[allow(dead_code, unused_imports, reason = "the tests of real clusters use the rest")]
#[path = "../tests/cluster/harness/mod.rs"]
mod harness;

use harness::{Cluster, Load};
use std::time::{Duration, Instant};

const KILLS: usize = 20;
const WRITERS: usize = 8;

/// Writes between two steps, so that each kill meets a cluster at work.
const WRITES_BETWEEN: u64 = 2_000;

fn main() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster.client(), WRITERS);
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        load.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        kills.push(Instant::now());
        cluster[leader].kill();
        load.flow(WRITES_BETWEEN);
        cluster[leader].start();
        cluster.catch_up();
    }
    load.flow(WRITES_BETWEEN);
    let ledger = load.stop();
    cluster.catch_up();
    ledger.check(&cluster.nodes);

    let mut gaps = ledger.gaps(&kills);
    let ms = |gap: &Duration| format!("{:.0}", gap.as_secs_f64() * 1e3);
    let each: Vec<_> = gaps.iter().map(ms).collect();
    gaps.sort_unstable();
    println!("{} writes acknowledged, all of them found on every node", ledger.acknowledged());
    println!("ms without an acknowledged write at each kill: {}", each.join(" "));
    println!("median {} ms, worst {} ms", ms(&gaps[KILLS / 2]), ms(&gaps[KILLS - 1]));
}
