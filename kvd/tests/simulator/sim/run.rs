//! One run, from a seed to its end, and the report if it fails.

use super::coverage::Coverage;
use super::events::Micros;
use super::invariants::{Checked, Violation};
use super::panics::{self, Panic};
use super::trace::Trace;
use super::world::World;
use std::fmt::{self, Display, Formatter};
use std::panic::AssertUnwindSafe;

/// Results of a successful run.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) events: u64,
    /// Simulated time in microseconds.
    pub(crate) time: Micros,
    /// Hash over all events: the same for the same seed.
    pub(crate) hash: u64,
    pub(crate) coverage: Coverage,
}

/// A run that showed a defect.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    /// Number of the event after which it showed.
    pub(crate) event: u64,
    pub(crate) violation: Violation,
    /// Events that led to it.
    pub(crate) trace: Vec<String>,
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let Self { seed, event, violation: Violation { invariant, what }, .. } = self;
        writeln!(f, "{invariant}: {what}")?;
        write!(
            f,
            "seed {seed}, event {event}; replay with: cargo run --release -p kvd --example simulate -- --seeds {seed}"
        )
    }
}

/// Runs a seed to its end. A failed run is run a second time, to record the events that led to the failure.
pub(crate) fn run(seed: u64) -> Result<Summary, Box<Failure>> {
    match attempt(seed, None) {
        Ok(world) => Ok(summary_of(&world)),
        Err(Failed { event, violation, .. }) => {
            let trace = match attempt(seed, Some(event)) {
                Ok(_) => {
                    vec!["(the second run of this seed went well, so something in it is not deterministic)".into()]
                }
                Err(again) if (again.event, &again.violation) == (event, &violation) => again.lines,
                Err(again) => vec![format!(
                    "(the second run of this seed failed otherwise, so something in it is not deterministic: {:?})",
                    again.violation
                )],
            };
            Err(Box::new(Failure { seed, event, violation, trace }))
        }
    }
}

fn summary_of(world: &World) -> Summary {
    let (events, hash) = (world.trace.events(), world.trace.hash());
    Summary { events, time: world.now, hash, coverage: world.coverage.clone() }
}

struct Failed {
    event: u64,
    violation: Violation,
    lines: Vec<String>,
}

fn attempt(seed: u64, fails_at: Option<u64>) -> Result<World, Failed> {
    let mut world = World::new(seed, Trace::new(fails_at));
    // A panic is a finding like any other; afterwards the world is only read.
    let ended = panics::catch(AssertUnwindSafe(|| run_to_end(&mut world)));
    let violation = match ended {
        Ok(Ok(())) => return Ok(world),
        Ok(Err(violation)) => violation,
        Err(Panic { what, in_simulator: false }) => Violation { invariant: "Assertion in the Code", what },
        Err(Panic { what, in_simulator: true }) => Violation { invariant: "Panic of the Simulator", what },
    };
    Err(Failed { event: world.trace.events(), violation, lines: world.trace.into_lines() })
}

fn run_to_end(world: &mut World) -> Checked {
    let chaos = world.plan.chaos_ms * 1_000;
    if world.plan.is_quiet() {
        world.check_undisturbed(chaos)?;
    }
    world.run_until(chaos)?;
    world.end()
}
