//! Judges by the streams of a bulk lane whether anything gets through on it.
//!
//! Heartbeats travel on the other lane, so nothing else tells a leader that its entries reach nobody. A stream on which
//! nothing moves is first dialled anew. If that does not help, the lane is *stalled*. This is reported repeatedly as
//! long as nothing gets through, since the next leader must learn of it as well. It makes no difference how the lane
//! fails: its streams may hang, break, or be refused.
//!
//! The state of the peer is not judged here: while the prompt lane is closed as well, this watch rests.

/// Watch over one bulk lane. All times are milliseconds of one clock, which may be any.
#[derive(Clone, Debug)]
pub struct BulkWatch {
    /// Longest time in which nothing gets through on a healthy lane.
    stall_max_ms: u64,
    trouble: Option<Trouble>,
}

/// State while nothing gets through.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    since_ms: u64,
    /// True if messages were sent and not answered; false if there is merely no stream.
    owes: bool,
    reported_ms: Option<u64>,
}

impl BulkWatch {
    /// Returns the watch for a lane that was never open.
    pub fn new(stall_max_ms: u64) -> Self {
        Self { stall_max_ms, trouble: None }
    }

    /// Records that the prompt lane is closed.
    pub fn peer_gone(&mut self) {
        self.trouble = None;
    }

    /// Records that the prompt lane is open, and this one is not.
    pub fn closed(&mut self, now_ms: u64) {
        self.trouble.get_or_insert(Trouble { since_ms: now_ms, owes: false, reported_ms: None });
    }

    /// Records that a stream is open. That proves nothing if messages got stuck on the stream before.
    pub fn opened(&mut self) {
        self.trouble.take_if(|trouble| !trouble.owes);
    }

    /// Records that the peer has answered a message, or that no answer is owed.
    pub fn got_through(&mut self) {
        self.trouble = None;
    }

    /// Records that a stream was given up because nothing moved on it for `stall_max_ms`.
    pub fn stalled(&mut self, now_ms: u64) {
        self.stuck_since(now_ms.saturating_sub(self.stall_max_ms));
    }

    /// Records that a stream, open since `opened_ms`, broke before any message sent on it was answered.
    pub fn broke_unanswered(&mut self, opened_ms: u64) {
        self.stuck_since(opened_ms);
    }

    fn stuck_since(&mut self, since_ms: u64) {
        self.closed(since_ms);
        if let Some(trouble) = &mut self.trouble {
            trouble.owes = true;
        }
    }

    /// Returns the time to report the lane as stalled, unless something gets through first: half of `stall_max_ms` is
    /// reserved for dialling anew.
    pub fn due_ms(&self) -> Option<u64> {
        let Trouble { since_ms, reported_ms, .. } = self.trouble?;
        let first_ms = since_ms + self.stall_max_ms * 3 / 2;
        Some(reported_ms.map_or(first_ms, |reported_ms| reported_ms + self.stall_max_ms))
    }

    /// Returns whether the lane must be reported as stalled now, and counts the report as made.
    pub fn take_due(&mut self, now_ms: u64) -> bool {
        let is_due = self.due_ms().is_some_and(|due_ms| due_ms <= now_ms);
        if let Some(trouble) = self.trouble.as_mut().filter(|_| is_due) {
            trouble.reported_ms = Some(now_ms);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL_MAX_MS: u64 = 600;

    #[test]
    fn a_stream_that_stands_still_is_reported_unless_dialling_anew_helps() {
        let mut watch = BulkWatch::new(STALL_MAX_MS);
        assert_eq!(watch.due_ms(), None);
        watch.stalled(1_000);
        assert_eq!(watch.due_ms(), Some(1_300));
        watch.opened();
        assert_eq!(watch.due_ms(), Some(1_300), "that it is open says nothing");
        watch.got_through();
        assert_eq!(watch.due_ms(), None);

        watch.stalled(2_000);
        watch.opened();
        watch.stalled(2_650);
        assert!(watch.take_due(2_650));
        assert!(!watch.take_due(2_651));
        assert_eq!(watch.due_ms(), Some(3_250), "whoever leads by then must know");
    }

    #[test]
    fn streams_that_break_or_are_not_accepted_are_no_better() {
        let mut watch = BulkWatch::new(STALL_MAX_MS);
        for opened_ms in [100, 300, 700] {
            watch.closed(opened_ms - 10);
            watch.opened();
            watch.broke_unanswered(opened_ms);
        }
        assert_eq!(watch.due_ms(), Some(1_000));

        let mut watch = BulkWatch::new(STALL_MAX_MS);
        watch.closed(100);
        watch.closed(400);
        assert_eq!(watch.due_ms(), Some(1_000));
        watch.opened();
        assert_eq!(watch.due_ms(), None, "it is open at last, and nothing was sent before");
    }

    #[test]
    fn while_the_peer_is_gone_nothing_is_judged() {
        let mut watch = BulkWatch::new(STALL_MAX_MS);
        watch.stalled(1_000);
        watch.peer_gone();
        assert!(!watch.take_due(9_000));
    }
}
