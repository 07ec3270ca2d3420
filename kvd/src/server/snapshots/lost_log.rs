//! Log that cannot be read any more, though everything in it has been applied: it goes, behind a snapshot.
//!
//! Nobody reads the log of a running node but followers that are behind, through their leader. What has been applied
//! memory holds, so bit rot there loses nothing: a snapshot takes the place of the log up to the end of the damaged
//! segment, and is what those followers are sent. Whole segments go, so that nothing damaged is left for the next start
//! to refuse; the log goes on in a new one first, if the damaged one is the last.
//!
//! What has yet to be applied is in memory as well, but no snapshot may have it: there the node stops, and the next start
//! says what to do.

use crate::raft::LogIndex;
use crate::storage::{Lost, WalReader};
use std::time::Duration;
use tokio::time::Instant;

/// Segments go once the log says durably that they are committed, which takes another write. It is looked at so often.
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// What has yet to go of the log.
#[derive(Debug)]
pub(super) struct LostLog {
    /// Number of the last damaged segment; all before it go as well.
    segment: u64,
    /// When it is tried again to let it go.
    next_try: Instant,
}

impl LostLog {
    /// This much cannot be read. `None` if some of it may not have been applied.
    pub(super) fn of(lost: Lost, applied: LogIndex) -> Option<Self> {
        (lost.through <= applied).then(|| Self { segment: lost.segment, next_try: Instant::now() })
    }

    /// Number of the last damaged segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Takes in another one. Whether that is news.
    pub(super) fn add(&mut self, other: &Self) -> bool {
        let is_news = other.segment > self.segment;
        self.segment = self.segment.max(other.segment);
        is_news
    }

    /// Whether there is no such log any more.
    pub(super) fn is_gone(&self, log: &WalReader) -> bool {
        !log.has_segment(self.segment)
    }

    /// Up to where the log has to go, if this snapshot has all of that.
    pub(super) fn within(&self, snapshot: LogIndex, log: &WalReader) -> Option<LogIndex> {
        log.last_before_next_segment(self.segment).filter(|last| *last <= snapshot)
    }

    /// Whether a snapshot of what is applied would have all that has to go, and the newest one does not.
    pub(super) fn needs_snapshot(&self, newest: LogIndex, applied: LogIndex, log: &WalReader) -> bool {
        let last = log.last_before_next_segment(self.segment);
        last.is_some_and(|last| newest < last && last <= applied)
    }

    /// Whether it is time to let it go.
    pub(super) fn is_due(&mut self, snapshot: LogIndex, log: &WalReader) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next_try && self.within(snapshot, log).is_some();
        if is_due {
            self.next_try = now + TRIED_EVERY;
        }
        is_due
    }
}
