//! Estimates how long a new write would wait behind the entries that are in the log already.
//!
//! On a slow link large values pile up: each accepted write makes all later ones wait longer. Once they wait longer
//! than the request timeout, none succeeds any longer, and the repeats of clients fill the link with useless data. So a
//! leader measures how fast its log is applied while entries wait, and accepts no more than can be applied in time. A
//! refused client knows at once, and knows that nothing was done.

use crate::raft::Instant;

/// Time over which the rate is measured. Milliseconds.
const MEASURED_MS: u64 = 500;

/// Bytes that are always accepted: with so few, the delay is not due to the bytes. Timeouts handle a stalled quorum.
const ALWAYS_TAKEN_BYTES: usize = 1 << 20;

/// Share of the request timeout that may pass before a write is applied. Percent.
const WAIT_PERCENT: u64 = 60;

/// The rate at which a log is applied.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Time since which entries have waited without a pause, and the bytes applied meanwhile.
    measuring: Option<(Instant, u64)>,
    bytes_per_s: Option<u64>,
}

impl Backlog {
    /// Records that an entry waits to be applied.
    pub(super) fn waits(&mut self, now: Instant) {
        self.measuring.get_or_insert((now, 0));
    }

    /// Records that `bytes` were applied and `waiting_bytes` still wait.
    pub(super) fn applied(&mut self, bytes: usize, waiting_bytes: usize, now: Instant) {
        if let Some((since, applied)) = &mut self.measuring {
            *applied += bytes as u64;
            let lasted_ms = now.ms_since(*since);
            if lasted_ms >= MEASURED_MS {
                let found = *applied * 1_000 / lasted_ms;
                // Large entries are applied in bursts.
                self.bytes_per_s = Some(self.bytes_per_s.map_or(found, |before| (before + found) / 2));
                self.measuring = Some((now, 0));
            }
        }
        if waiting_bytes == 0 {
            self.measuring = None;
        }
    }

    /// Returns true if a write accepted now, behind so many bytes, is likely to be applied within the request timeout.
    pub(super) fn has_room(&self, waiting_bytes: usize, request_timeout_ms: u64) -> bool {
        let Some(bytes_per_s) = self.bytes_per_s.filter(|_| waiting_bytes > ALWAYS_TAKEN_BYTES) else { return true };
        let room_bytes = bytes_per_s * (request_timeout_ms * WAIT_PERCENT / 100) / 1_000;
        waiting_bytes as u64 <= room_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// Applies a value of 1 MiB every 800 ms while eight wait.
    fn slow() -> Backlog {
        let mut backlog = Backlog::default();
        backlog.waits(Instant(0));
        (1..10).for_each(|number| backlog.applied(MIB, 8 * MIB, Instant(number * 800)));
        backlog
    }

    #[test]
    fn no_more_is_taken_than_can_be_applied_in_time() {
        let backlog = slow();
        assert!(backlog.has_room(3 * MIB, 5_000));
        assert!(!backlog.has_room(4 * MIB, 5_000), "it would wait for more than three seconds");
        assert!(backlog.has_room(4 * MIB, 10_000));
    }

    #[test]
    fn small_writes_and_an_unknown_rate_are_always_taken() {
        assert!(slow().has_room(MIB, 1), "little waits");
        assert!(Backlog::default().has_room(64 * MIB, 5_000), "nothing is known yet");
    }

    #[test]
    fn the_rate_follows_and_pauses_are_none_of_it() {
        let mut backlog = slow();
        backlog.applied(MIB, 0, Instant(8_000));
        // An hour later the link is fast.
        backlog.waits(Instant(3_600_000));
        (1..10).for_each(|number| backlog.applied(50 * MIB, MIB, Instant(3_600_000 + number * 500)));
        assert!(backlog.has_room(200 * MIB, 5_000));
    }
}
