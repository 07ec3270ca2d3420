//! The time of a recording.

use crate::linearizability::Moment;
use std::time::Instant;

/// One clock for all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Returns a clock that starts now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the microseconds since the recording began.
    pub(super) fn now(self) -> Moment {
        self.0.elapsed().as_micros().try_into().expect("a test does not take centuries")
    }
}
