//! Measures how long clients were without a leader, with repeated reads that need one.
//!
//! The nodes' own reports of their leader come too late for this. A follower names its dead leader until its election
//! timeout is over, and clients wait all that time.

use kvclient::Client;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two reads. A time without a leader is reported too short by at most this.
const PAUSE: Duration = Duration::from_millis(50);

/// Number of reads that are remembered: more than there are between a change and the moment at which the watch reports
/// it.
const KEPT: usize = 1024;

/// Longest wait for the first read that a new leader answers.
const PATIENCE: Duration = Duration::from_secs(3);

/// The key that is read. It need not exist.
const KEY: &str = "kvctl/watch-leader";

/// Repeated reads, one after the other.
pub(super) struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answered: Mutex<VecDeque<Read>>,
    more: Condvar,
}

/// A read that was eventually answered.
#[derive(Clone, Copy)]
struct Read {
    began: Instant,
    answered: Instant,
}

impl Pulse {
    /// Starts reading on a thread of its own, for as long as the process runs.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(client: Client) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let reads = Arc::clone(&shared);
        thread::Builder::new().name("pulse".into()).spawn(move || {
            // If a read fails, its wait continues with the next one: a user would still be waiting.
            let mut waiting_since = None;
            loop {
                let began = *waiting_since.get_or_insert_with(Instant::now);
                if client.get(KEY).is_ok() {
                    reads.answered(Read { began, answered: Instant::now() });
                    waiting_since = None;
                }
                thread::sleep(PAUSE);
            }
        })?;
        Ok(Self { shared })
    }

    /// Returns the longest duration of the reads that were answered after `since`, including the next one to be
    /// answered. None if none is answered soon.
    pub(super) fn longest(&self, since: Instant) -> Option<Duration> {
        let asked = Instant::now();
        let lacks = |reads: &mut VecDeque<Read>| reads.back().is_none_or(|last| last.answered < asked);
        let reads = self.shared.reads();
        let (reads, waited) =
            self.shared.more.wait_timeout_while(reads, PATIENCE, lacks).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() { None } else { longest(reads.iter(), since) }
    }
}

impl Shared {
    fn reads(&self) -> MutexGuard<'_, VecDeque<Read>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, read: Read) {
        let mut reads = self.reads();
        if reads.len() == KEPT {
            reads.pop_front();
        }
        reads.push_back(read);
        self.more.notify_all();
    }
}

fn longest<'a>(reads: impl Iterator<Item = &'a Read>, since: Instant) -> Option<Duration> {
    let after = reads.filter(|read| read.answered >= since);
    after.map(|read| read.answered.saturating_duration_since(read.began)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_read_counts_of_those_that_ended_after_the_leader_was_doubted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let reads = [(0, 900), (950, 952), (1_000, 2_100), (2_150, 2_151)]
            .map(|(began, answered)| Read { began: at(began), answered: at(answered) });
        for (since, expected) in [(0, Some(1_100)), (1_900, Some(1_100)), (2_120, Some(1)), (2_200, None)] {
            assert_eq!(longest(reads.iter(), at(since)), expected.map(Duration::from_millis), "{since}");
        }
    }
}
