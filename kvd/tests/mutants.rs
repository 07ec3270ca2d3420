//! The simulator is measured by the defects it finds: each known mutant is put back and must be caught.
//!
//!     cargo test --release -p kvd --features mutants --test mutants -- --nocapture
//!
//! prints by which invariant each was caught, and after how many seeds. A mutant that stays green shows a hole in the
//! simulator.

#[path = "simulator/sim/mod.rs"]
mod sim;

use kvd::mutants::{Mutant, put_back};
use sim::Failure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A mutant is caught within as many.
const SEEDS_MAX: u64 = 2_000;

/// Seeds that caught the mutants which take longest to catch, tried before all others: any change of what a run draws
/// makes others of them, and then the hunt goes through all, which takes minutes.
const TRIED_FIRST: &[(Mutant, u64)] = &[
    (Mutant::DoubledVoteCounts, 1_516),
    (Mutant::TransferSkipsLogCheck, 1_181),
    (Mutant::PriorTermByCount, 712),
    (Mutant::ReadIdsFromZero, 382),
    (Mutant::DoneWithoutRound, 332),
    (Mutant::SyncRetried, 329),
    (Mutant::DeadBulkLaneLeads, 215),
    (Mutant::CandidateKeepsBallot, 101),
    (Mutant::RemovalWithoutQuorumCheck, 93),
    (Mutant::SilenceIsPresence, 93),
    (Mutant::NoCheckQuorum, 81),
    (Mutant::TransferNeverGivenUp, 80),
    (Mutant::StaleAckAccepted, 73),
    (Mutant::OldRoundAccepted, 72),
    (Mutant::WallClock, 72),
    (Mutant::ReadWithoutRound, 63),
    (Mutant::RemovedIdAddedAgain, 54),
    (Mutant::PreVoteIgnoresTerm, 45),
    (Mutant::AbsenceCounts, 35),
    (Mutant::HeartbeatBehindBulk, 22),
    (Mutant::ReplaceByVoter, 17),
    (Mutant::WindowNotFreed, 12),
    (Mutant::OneVoterDecides, 11),
    (Mutant::DivergedGoesOn, 11),
    (Mutant::StuckDiskLeads, 9),
    (Mutant::DiskNeverStuck, 9),
    (Mutant::PreVoteDespiteLeader, 8),
];

/// Put back, these are shown by scripts and unit tests only. [`Mutant::HeartbeatWaitsForDisk`] delays reads and nothing else
/// that runs judge; for [`Mutant::NameResolvedAnew`] a change has to be overtaken by another leader's and the name by a new
/// node, which runs draw too rarely.
const BY_SCRIPTS_ONLY: &[Mutant] = &[Mutant::HeartbeatWaitsForDisk, Mutant::NameResolvedAnew];

#[test]
fn every_mutant_is_caught() {
    let caught = hunt_all();
    println!("{:<52} {:>6}  caught by", "mutant", "seeds");
    for (mutant, failure) in &caught {
        let (seeds, by) = match failure {
            Some(failure) => (failure.seed + 1, failure.violation.invariant),
            None => (SEEDS_MAX, "nothing"),
        };
        println!("{:<52} {seeds:>6}  {by}", mutant.name());
    }
    let missed: Vec<&str> = caught.iter().filter(|(_, failure)| failure.is_none()).map(|(m, _)| m.name()).collect();
    assert!(missed.is_empty(), "not caught within {SEEDS_MAX} seeds: {missed:?}");
}

/// Hunts every mutant, on as many threads as there are processors: each has a switch of its own.
fn hunt_all() -> Vec<(Mutant, Option<Box<Failure>>)> {
    let next = AtomicUsize::new(0);
    let hunted: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|mutant| !BY_SCRIPTS_ONLY.contains(mutant)).collect();
    let hunt = || {
        let mut caught = Vec::new();
        while let Some(mutant) = hunted.get(next.fetch_add(1, Ordering::Relaxed)) {
            put_back(Some(*mutant));
            let first = TRIED_FIRST.iter().find(|(known, _)| known == mutant).map(|(_, seed)| *seed);
            caught.push((*mutant, sim::run_all(first.into_iter().chain(0..SEEDS_MAX), |_| true).err()));
        }
        caught
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut caught: Vec<_> = thread::scope(|scope| {
        let hunters: Vec<_> = (0..processors).map(|_| scope.spawn(hunt)).collect();
        hunters.into_iter().flat_map(|hunter| hunter.join().expect("hunters do not panic")).collect()
    });
    caught.sort_by_key(|(mutant, _)| *mutant as usize);
    caught
}
