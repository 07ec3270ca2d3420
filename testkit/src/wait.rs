//! Waiting for a state instead of a fixed time.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine, short enough for a test that hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Pause between two checks.
const POLL: Duration = Duration::from_millis(5);

/// Polls until `look` returns a value, and fails after [`DEADLINE`].
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
