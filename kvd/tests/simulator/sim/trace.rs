//! Record of a run: a hash over all events, by which two runs are compared, and the last events in the notation of the
//! scripts, for developers who look for the cause of a failure.
//!
//! Recording everything costs more than the run itself. So a run records no events; a failed run is repeated from its
//! seed, and then the events before the failure are recorded.

use super::events::Micros;
use super::notation;
use kvd::raft::{Message, NodeId};

/// Events recorded before a failure.
const EVENTS_SHOWN: u64 = 9_000_000;

/// Record of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    events: u64,
    hash: u64,
    /// The number of the event that failed, when it is known.
    fails_at: Option<u64>,
    now: Micros,
    lines: Vec<String>,
}

impl Trace {
    /// `fails_at` is the event at which an earlier run of the same seed failed.
    pub(crate) fn new(fails_at: Option<u64>) -> Self {
        Self { events: 0, hash: 0xcbf2_9ce4_8422_2325, fails_at, now: 0, lines: Vec::new() }
    }

    /// Begins the next event; `kind` distinguishes it from others.
    pub(crate) fn event(&mut self, now: Micros, kind: u64) {
        self.events += 1;
        self.now = now;
        self.mix(now);
        self.mix(kind);
    }

    /// Adds a number to the hash.
    pub(crate) fn mix(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Adds a node's event to the hash.
    pub(crate) fn mix_all(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|number| self.mix(*number));
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Records a line, if lines are recorded.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let wanted = self.fails_at.is_some_and(|at| self.events + EVENTS_SHOWN >= at);
        if wanted {
            self.lines.push(format!("{:>10.3} ms  {}", self.now as f64 / 1000.0, line()));
        }
    }

    /// Records the fate of a message; the fate comes first.
    pub(crate) fn message(&mut self, fate: &str, from: NodeId, to: NodeId, message: &Message) {
        self.note(|| format!("{fate}{}", notation::envelope(from, to, message)));
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
