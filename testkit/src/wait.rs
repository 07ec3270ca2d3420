//! Waiting for a state instead of a while.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine, short enough for a test that hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(5);

/// Looks until there is something to see, and fails after [`DEADLINE`].
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        thread::sleep(POLL);
    }
}
