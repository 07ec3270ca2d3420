//! A short, fixed set of simulator runs; see [`sim`] for how the simulator works. For long runs, use
//!
//!     cargo run --release -p kvd --example simulate -- --seeds 0..100000 --minutes 30

mod sim;

use std::ops::Range;

/// Together with [`RARE`], these seeds cover every kind of fault and event.
const SEEDS: Range<u64> = 0..140;

/// Seeds whose runs contain rare events. Any change to what a run draws makes different runs of them.
const RARE: &[u64] = &[154, 165, 176, 180, 198, 243, 306];

fn run_all(seeds: Range<u64>) -> (u64, u64) {
    let total = sim::run_all(seeds, |_| true).unwrap_or_else(|failure| panic!("{failure}"));
    (total.events, total.hash)
}

#[test]
fn a_cluster_stays_correct_under_every_fault() {
    let total = sim::run_all(SEEDS.chain(RARE.iter().copied()), |_| true).unwrap_or_else(|failure| panic!("{failure}"));
    println!("{total}");
    assert!(total.missing().is_empty(), "nothing is proved about: {:?}", total.missing());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run_all(100..105), run_all(100..105));
    assert_ne!(run_all(100..101), run_all(101..102), "the hash of a run says something");
}
