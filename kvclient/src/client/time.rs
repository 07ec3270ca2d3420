//! Conversion of times for the API.

use std::time::Duration;

/// Returns a time in whole milliseconds.
pub(super) fn to_ms(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
