//! The simulator is measured by the defects it finds: each known mutant is enabled and must be caught.
//!
//!     cargo test --release -p kvd --features mutants --test mutants -- --nocapture
//!
//! prints the invariant that caught each, and the number of seeds it took. A mutant that is not caught shows a gap in
//! the simulator.

#[path = "simulator/sim/mod.rs"]
mod sim;

use kvd::mutants::{Mutant, put_back};
use sim::Failure;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Number of seeds within which a mutant is caught.
const SEEDS_MAX: u64 = 2_000;

/// Seeds that caught the mutants which take longest to catch, tried before all others. Any change to what a run draws
/// invalidates them; then the hunt goes through all seeds, which takes minutes.
const TRIED_FIRST: &[(Mutant, u64)] = &[
    (Mutant::TransferSkipsLogCheck, 1_801),
    (Mutant::StaleAckAccepted, 1_557),
    (Mutant::FoundersFixedAtOnce, 1_276),
    (Mutant::TakesAnyLevel, 686),
    (Mutant::LevelAboveOwn, 616),
    (Mutant::FreedNotKept, 548),
    (Mutant::ReadIdsFromZero, 346),
    (Mutant::AbsenceCounts, 332),
    (Mutant::CandidateKeepsBallot, 330),
    (Mutant::PresenceOverAbsence, 249),
    (Mutant::PlaceGetsAhead, 193),
    (Mutant::JoinsBelowLevel, 181),
    (Mutant::TransferNeverGivenUp, 177),
    (Mutant::DoubledVoteCounts, 177),
    (Mutant::SilenceIsPresence, 173),
    (Mutant::DataNotExpected, 165),
    (Mutant::DoneWithoutRound, 154),
    (Mutant::SyncRetried, 138),
    (Mutant::PriorTermByCount, 72),
    (Mutant::MarksPileUp, 72),
    (Mutant::HistoryClaimed, 65),
    (Mutant::LevelOfTheDead, 58),
    (Mutant::NoCheckQuorum, 56),
    (Mutant::StuckDiskLeads, 51),
    (Mutant::DiskNeverStuck, 51),
    (Mutant::RemovalWithoutQuorumCheck, 44),
    (Mutant::PauseCounts, 43),
    (Mutant::TimeOfAnyLeader, 40),
    (Mutant::ReadWithoutRound, 40),
    (Mutant::OldRoundAccepted, 40),
    (Mutant::OneVoterDecides, 32),
    (Mutant::DivergedGoesOn, 32),
    (Mutant::WindowNotFreed, 28),
    (Mutant::NameResolvedAnew, 27),
    (Mutant::CutTimeKept, 27),
    (Mutant::TimeNotMarked, 23),
    (Mutant::HeartbeatBehindBulk, 22),
    (Mutant::ReplaceByVoter, 21),
    (Mutant::PreVoteIgnoresTerm, 20),
    (Mutant::RemovedIdAddedAgain, 18),
    (Mutant::LevelByVoters, 18),
    (Mutant::IdentityBeforeLog, 18),
    (Mutant::CorruptionCut, 18),
    (Mutant::TwoChanges, 17),
    (Mutant::OldQuorumOnly, 17),
    (Mutant::MemoryNotPassedOn, 15),
    (Mutant::HeartbeatCommitsMore, 14),
    (Mutant::PreVoteDespiteLeader, 12),
    (Mutant::WallClock, 10),
    (Mutant::ReturningFounds, 10),
    (Mutant::NoNoop, 9),
    (Mutant::ExpiryIgnoresRenewal, 9),
];

/// Mutants that only scripts and unit tests catch. [`Mutant::HeartbeatWaitsForDisk`] only delays reads, among the
/// things that runs check. The others need an order of events that runs draw too rarely, or a part that runs do not
/// have:
/// - [`Mutant::FollowsWithoutDisk`]: a removal while the disk of a remaining member hangs, in a cluster that needs it
/// - [`Mutant::FoundersForgotten`]: the first founder loses its disk while another one writes down the list of founders
/// - [`Mutant::RestartUnnoticed`]: a founder restarts between two answers, and forgets what it has told another node
/// - [`Mutant::StrangersUnheard`]: members that joined dial founders without data; in runs only forming nodes dial
const BY_SCRIPTS_ONLY: &[Mutant] = &[
    Mutant::HeartbeatWaitsForDisk,
    Mutant::FollowsWithoutDisk,
    Mutant::FoundersForgotten,
    Mutant::RestartUnnoticed,
    Mutant::StrangersUnheard,
];

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

/// Hunts every mutant, on as many threads as there are processors: each mutant has its own switch.
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
