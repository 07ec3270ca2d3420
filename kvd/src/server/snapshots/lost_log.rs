//! Log that can no longer be read, though all of it has been applied: it is removed once a snapshot covers it.
//!
//! Only followers that are behind read the log of a running node, through their leader. Everything applied is in
//! memory, so bit rot in that log loses nothing: a snapshot replaces the log up to the end of the damaged segment, and
//! is sent to those followers. Whole segments are removed, so that no damage is left for the next start to refuse. If
//! the damaged segment is the last, the log first continues in a new one.
//!
//! Entries that have not been applied yet are in memory as well, but a snapshot may not contain them. In that case the
//! node stops, and the next start says what to do.

use crate::raft::LogIndex;
use crate::storage::{Lost, WalReader};
use std::time::Duration;
use tokio::time::Instant;

/// Interval between attempts to remove the segments. They can be removed once the log says durably that they are
/// committed, which takes another write.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// Log that has yet to be removed.
#[derive(Debug)]
pub(super) struct LostLog {
    /// Number of the last damaged segment. All segments before it are removed as well.
    segment: u64,
    /// Time of the next attempt to remove it.
    next_try: Instant,
}

impl LostLog {
    /// Returns the log to remove for what cannot be read. `None` if some of it may not have been applied.
    pub(super) fn of(lost: Lost, applied: LogIndex) -> Option<Self> {
        (lost.through <= applied).then(|| Self { segment: lost.segment, next_try: Instant::now() })
    }

    /// Number of the last damaged segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Adds another one. Returns whether that was news.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        let is_news = other.segment > self.segment;
        self.segment = self.segment.max(other.segment);
        is_news
    }

    /// Returns whether all of it has been removed.
    pub(super) fn is_gone(&self, log: &WalReader) -> bool {
        !log.has_segment(self.segment)
    }

    /// Returns the index up to which the log has to be removed, if this snapshot covers all of that.
    pub(super) fn within(&self, snapshot: LogIndex, log: &WalReader) -> Option<LogIndex> {
        log.last_before_next_segment(self.segment).filter(|last| *last <= snapshot)
    }

    /// Returns whether a snapshot of what is applied would cover everything that has to be removed, while the newest
    /// one does not.
    pub(super) fn needs_snapshot(&self, newest: LogIndex, applied: LogIndex, log: &WalReader) -> bool {
        let last = log.last_before_next_segment(self.segment);
        last.is_some_and(|last| newest < last && last <= applied)
    }

    /// Returns whether it is time to remove it.
    pub(super) fn is_due(&mut self, snapshot: LogIndex, log: &WalReader) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next_try && self.within(snapshot, log).is_some();
        if is_due {
            self.next_try = now + TRIED_EVERY;
        }
        is_due
    }
}
