//! A limit on standing still: a transfer may take as long as it needs while something of it moves.
//!
//! The code that runs a transfer notes each move, and stops when [`StallWatch::stalled`] completes. A limit on the
//! total time could not tell a large snapshot on a slow link from a receiver that is paused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Longest time in which nothing of a transfer moves, at its sender or at its receiver. After that the transfer ends,
/// and its resources are freed. Several times as long as a lost packet, a slow sync or a busy machine may delay it.
pub(super) const STALL_MAX: Duration = Duration::from_secs(5);

/// Remembers when something last moved.
#[derive(Debug)]
pub(super) struct StallWatch {
    /// [`STALL_MAX`], except in tests.
    limit: Duration,
    moved_at: Mutex<Instant>,
}

impl StallWatch {
    /// Starts with a move.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, moved_at: Mutex::new(Instant::now()) }
    }

    /// Notes a move.
    pub(super) fn moved(&self) {
        *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Completes once nothing has moved for as long as the limit.
    pub(super) async fn stalled(&self) {
        loop {
            let until = *self.moved_at.lock().unwrap_or_else(PoisonError::into_inner) + self.limit;
            if Instant::now() >= until {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test]
    async fn whatever_moves_goes_on_and_whatever_stands_still_ends_after_one_limit() {
        let limit = Duration::from_millis(400);
        let (watch, began) = (StallWatch::new(limit), Instant::now());
        let move_on = async {
            while began.elapsed() < 3 * limit {
                sleep(limit / 20).await;
                watch.moved();
            }
        };
        tokio::select! {
            () = watch.stalled() => panic!("it moved"),
            () = move_on => {}
        }
        let still_since = Instant::now();
        watch.stalled().await;
        assert!(still_since.elapsed() > limit / 2, "{:?}", still_since.elapsed());
    }
}
