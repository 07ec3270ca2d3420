//! The simulator is measured by the defects it finds: each known mutant is put back and must be caught.
//!
//!     cargo test --release -p kvd --features mutants --test mutants -- --nocapture
//!
//! prints by which invariant each was caught, and after how many seeds. A mutant that stays green shows a hole in the
//! simulator.

#[allow(dead_code)] // the rest of it is for scripts
#[path = "support/notation.rs"]
mod notation;
#[path = "simulator/sim/mod.rs"]
mod sim;

use kvd::mutants::{Mutant, put_back};
use std::panic;

/// A mutant is caught within as many.
const SEEDS_MAX: u64 = 2_000;

#[test]
fn every_mutant_is_caught() {
    // Assertions in the code find some of them, and their messages are those of the failures.
    panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    println!("{:<52} {:>6}  caught by", "mutant", "seeds");
    for mutant in Mutant::ALL {
        put_back(Some(*mutant));
        let caught = sim::run_all(0..SEEDS_MAX, |_| true).err();
        put_back(None);
        match caught {
            Some(failure) => {
                println!("{:<52} {:>6}  {}", mutant.name(), failure.seed + 1, failure.violation.invariant);
            }
            None => missed.push(mutant.name()),
        }
    }
    // The panics of the test itself are for people again.
    drop(panic::take_hook());
    assert!(missed.is_empty(), "not caught within {SEEDS_MAX} seeds: {missed:?}");
}
