//! The clock that a replica is given: milliseconds since the replica started, unaffected by changes of the wall clock.

use crate::raft::Instant;
use tokio::time;

/// Counts the time of one replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: time::Instant,
}

impl Clock {
    /// Begins at zero now.
    pub(super) fn start() -> Self {
        Self { started: time::Instant::now() }
    }

    pub(super) fn now(self) -> Instant {
        self.at(time::Instant::now())
    }

    /// Converts a moment of the runtime. Zero if it was before the start.
    pub(super) fn at(self, moment: time::Instant) -> Instant {
        let since = moment.saturating_duration_since(self.started);
        Instant(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
