//! How long a cluster takes no writes when its leader dies: three real processes under load from
//! eight threads, `kill -9` of the leader twenty times, default timings.
//!
//!     cargo bench -p kvd --bench failover
//!
//! A gap is the longest time between two acknowledged writes, of any of the threads, around a kill.

#[allow(dead_code, unused_imports, reason = "the tests of real clusters use the rest")]
#[path = "../tests/cluster/harness/mod.rs"]
mod harness;

use harness::{Cluster, kill_leaders};
use std::time::Duration;

const KILLS: usize = 20;
const WRITERS: usize = 8;

/// Writes between two steps, so that each kill meets a cluster at work.
const WRITES_BETWEEN: u64 = 2_000;

fn main() {
    let mut cluster = Cluster::start(3);
    let (ledger, mut gaps) = kill_leaders(&mut cluster, KILLS, WRITERS, WRITES_BETWEEN);
    ledger.check(&cluster.nodes);

    let ms = |gap: &Duration| format!("{:.0}", gap.as_secs_f64() * 1e3);
    let each: Vec<_> = gaps.iter().map(ms).collect();
    gaps.sort_unstable();
    println!("{} writes acknowledged, all of them found on every node", ledger.acknowledged());
    println!("ms without an acknowledged write at each kill: {}", each.join(" "));
    println!("median {} ms, worst {} ms", ms(&gaps[KILLS / 2]), ms(&gaps[KILLS - 1]));
}
