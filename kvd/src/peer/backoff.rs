//! Pauses between attempts to reach another node.

use rand::RngExt;
use std::time::Duration;

/// Pauses that double, with jitter, so that nodes that lost each other at the same moment do not all dial at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    last: Option<Duration>,
}

impl Backoff {
    /// Returns pauses from `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, last: None }
    }

    /// Returns the pause before the next attempt: at least half of its nominal length.
    pub fn next_pause(&mut self) -> Duration {
        let next = self.last.map_or(self.min, |last| (last * 2).min(self.max));
        self.last = Some(next);
        jittered(next)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

/// Returns a random part of a pause, at least half of it.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_success() {
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(100));
        let mut backoff = Backoff::new(min, max);
        for turn_ms in [20, 40, 80, 100, 100] {
            let (turn, pause) = (Duration::from_millis(turn_ms), backoff.next_pause());
            assert!(turn / 2 <= pause && pause <= turn, "{pause:?} of {turn:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= min);
    }
}
