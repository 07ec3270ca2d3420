//! Results of many runs.

use super::coverage::Coverage;
use super::run::{Failure, Summary, run};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// Results of all successful runs.
#[derive(Debug, Default)]
pub(crate) struct Total {
    pub(crate) seeds: u64,
    pub(crate) events: u64,
    /// Hash over all events of all runs.
    pub(crate) hash: u64,
    simulated: Duration,
    coverage: Coverage,
}

/// Runs one seed after the other, until one fails or `go_on` returns false.
pub(crate) fn run_all(
    seeds: impl IntoIterator<Item = u64>,
    mut go_on: impl FnMut(&Total) -> bool,
) -> Result<Total, Box<Failure>> {
    let mut total = Total::default();
    for seed in seeds {
        total.add(&run(seed)?);
        if !go_on(&total) {
            break;
        }
    }
    Ok(total)
}

impl Total {
    fn add(&mut self, Summary { events, time, hash, coverage }: &Summary) {
        self.seeds += 1;
        self.events += events;
        self.hash = self.hash.rotate_left(1) ^ hash;
        self.simulated += Duration::from_micros(*time);
        self.coverage += coverage;
    }

    /// Returns the names of all kinds that never happened: these runs prove nothing about them.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        self.coverage.missing()
    }
}

impl Display for Total {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seeds, events, hash, simulated, coverage } = self;
        let hours = simulated.as_secs_f64() / 3600.0;
        writeln!(f, "{coverage}")?;
        writeln!(f, "{seeds} seeds, {events} events, {hours:.2} hours simulated, hash {hash:016x}")?;
        let missing = self.missing();
        if !missing.is_empty() {
            writeln!(f, "never happened, so nothing is proved about it: {}", missing.join(", "))?;
        }
        Ok(())
    }
}
