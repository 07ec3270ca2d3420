//! Consensus under random faults: clusters of one, three and five nodes, each run from a seed.
//!
//! Messages are lost, doubled and reordered; links break; nodes crash between any two of their actions
//! and come back with what their disk had; clocks run apart; commands and reads arrive at any node.
//! Raft's safety properties are checked after every step (`support/invariants.rs`). Then the faults
//! stop, for all nodes or for a bare majority, and the cluster must serve again within a bound.
//!
//! The same seed gives the same run. A failure prints its seed; to see that run alone,
//!
//!     RAFT_SEED=7 cargo test -p kvd --test raft_random
//!
//! and `RAFT_SEEDS=10000` runs more of them.

#[path = "support/chaos.rs"]
mod chaos;
#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/machine.rs"]
mod machine;

use chaos::{Chaos, Coverage};

/// Runs per cluster size unless told otherwise: some seconds in a debug build.
const SEEDS: u64 = 150;

/// Random steps of a run.
const STEPS: usize = 6_000;

#[test]
fn a_cluster_of_one_keeps_its_promises() {
    let coverage = run_seeds(1);
    coverage.require(&["elections", "commits", "crashes", "writes lost", "reads at the leader"]);
}

#[test]
fn a_cluster_of_three_keeps_its_promises() {
    run_seeds(3).require_all();
}

#[test]
fn a_cluster_of_five_keeps_its_promises() {
    run_seeds(5).require_all();
}

fn run_seeds(nodes: u64) -> Coverage {
    let mut coverage = Coverage::default();
    match setting("RAFT_SEED") {
        Some(seed) => run(nodes, seed, &mut coverage),
        None => (0..setting("RAFT_SEEDS").unwrap_or(SEEDS)).for_each(|seed| run(nodes, seed, &mut coverage)),
    }
    println!("{nodes} nodes: {coverage}");
    coverage
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

fn run(nodes: u64, seed: u64, coverage: &mut Coverage) {
    let _named = NameOnPanic { nodes, seed };
    let mut chaos = Chaos::new(nodes, seed, coverage);
    for _ in 0..STEPS {
        chaos.step();
    }
    chaos.recover();
}

/// Says which run it was when one fails.
struct NameOnPanic {
    nodes: u64,
    seed: u64,
}

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} nodes: replay with RAFT_SEED={}", self.nodes, self.seed);
        }
    }
}
