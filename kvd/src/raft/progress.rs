//! The leader's view of one follower, and how much it may send to that follower.
//!
//! A follower is first *probed*: one AppendEntries at a time, until the leader finds where the logs agree. Then entries
//! are *pipelined*: sent on without waiting for answers, within a window of messages and bytes. A rejection or a broken
//! connection leads back to probing, which also clears the window, so that messages lost with a connection never fill
//! it.
//!
//! A follower that needs entries from before the log's base is sent a *snapshot*. The caller sends it apart from the
//! messages. Until the follower has the snapshot it gets nothing but heartbeats; then it is probed from the end of the
//! snapshot.

use super::settings::Settings;
use super::types::{Instant, LogIndex, NodeId};
use crate::mutants::{self, Mutant};
use std::collections::VecDeque;

/// A follower's progress as its leader knows it, for status reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerProgress {
    /// The follower.
    pub follower: NodeId,
    /// Match index: up to here the follower has the leader's log on its disk.
    pub match_index: LogIndex,
    /// Index of the next entry to send to the follower.
    pub next_index: LogIndex,
    /// Messages in flight to the follower; `None` while the leader probes for where the logs agree.
    pub in_flight: Option<InFlight>,
    /// Nothing reaches the follower on the bulk lane; see [`Raft::bulk_stalled`](super::Raft::bulk_stalled).
    pub is_bulk_stalled: bool,
}

/// Entries that were sent to a follower and are not acknowledged yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Messages with entries.
    pub messages: usize,
    /// Bytes of these entries.
    pub bytes: usize,
}

/// Replication to one follower, for one term (paper Figure 2, volatile state on leaders).
#[derive(Debug)]
pub(super) struct Progress {
    /// Up to here the follower has our log on its disk.
    pub(super) match_index: LogIndex,
    /// The next entry to send.
    pub(super) next_index: LogIndex,
    pub(super) flow: Flow,
    /// The commit index last sent.
    pub(super) sent_commit: LogIndex,
    /// The round of leadership confirmation last sent, and last acknowledged.
    pub(super) sent_round: u64,
    pub(super) acked_round: u64,
    /// Time since which this leader sends to the follower.
    pub(super) since: Instant,
    /// Time of the follower's last answer in this term, its vote included; `None` before the first.
    pub(super) heard: Option<Instant>,
    /// Time at which the follower's match index last advanced.
    pub(super) advanced: Option<Instant>,
    /// The follower's process was reported gone, and no answer has come since.
    pub(super) is_gone: bool,
    /// A heartbeat is due.
    pub(super) heartbeat_due: bool,
    /// The follower is due to be asked whether the last entries sent have arrived.
    pub(super) check_due: bool,
    /// Time of the last message on the bulk lane, each of which serves as such a check.
    pub(super) checked: Instant,
    /// Nothing reaches the follower on the bulk lane, though it may answer heartbeats.
    pub(super) is_bulk_stalled: bool,
    /// Entries from `next_index` on are being read from disk.
    pub(super) fetching: bool,
    /// The caller was told to send a snapshot and has not reported its result yet. No other snapshot is requested
    /// before that.
    pub(super) is_sending: bool,
    /// The follower has been removed; the leader replicates to it until this time.
    pub(super) leaves_at: Option<Instant>,
}

/// Manner in which entries are sent to a follower.
#[derive(Debug)]
pub(super) enum Flow {
    /// One message at a time.
    Probe {
        /// A probe is in flight; the next heartbeat that is answered triggers a check.
        sent: bool,
        /// Last entry of the probe and the bytes of all its entries. Once the probed index is known to be right, they
        /// are in flight like any others.
        entries: Option<(LogIndex, usize)>,
    },
    /// A snapshot is needed; nothing else is known of where the logs agree.
    Snapshot(SnapshotFlow),
    /// Entries in flight, each message by its last index and its bytes.
    Replicate { in_flight: VecDeque<(LogIndex, usize)>, in_flight_bytes: usize },
}

/// State of a snapshot transfer to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotFlow {
    /// The caller has yet to be told to send one.
    Due,
    /// One is being sent.
    Sending,
    /// Sending has failed; once the follower answers a heartbeat, another snapshot is due.
    Failed,
}

impl Flow {
    /// A probe is due.
    const PROBE: Self = Self::Probe { sent: false, entries: None };
}

impl Progress {
    pub(super) fn new(last_index: LogIndex, now: Instant) -> Self {
        Self {
            match_index: LogIndex(0),
            next_index: last_index.next(),
            flow: Flow::PROBE,
            sent_commit: LogIndex(0),
            sent_round: 0,
            acked_round: 0,
            since: now,
            heard: None,
            advanced: None,
            is_gone: false,
            heartbeat_due: false,
            check_due: false,
            checked: now,
            is_bulk_stalled: false,
            fetching: false,
            is_sending: false,
            leaves_at: None,
        }
    }

    /// Returns the status of `follower`, whose progress this is.
    pub(super) fn of(&self, follower: NodeId) -> FollowerProgress {
        let in_flight = match &self.flow {
            Flow::Probe { .. } | Flow::Snapshot(_) => None,
            Flow::Replicate { in_flight, in_flight_bytes } => {
                Some(InFlight { messages: in_flight.len(), bytes: *in_flight_bytes })
            }
        };
        let Self { match_index, next_index, is_bulk_stalled, .. } = *self;
        FollowerProgress { follower, match_index, next_index, in_flight, is_bulk_stalled }
    }

    /// Starts probing again from `next_index`: messages in flight no longer count. A snapshot being sent continues: its
    /// sender will report the result.
    pub(super) fn probe_from(&mut self, next_index: LogIndex) {
        if matches!(self.flow, Flow::Snapshot(_)) {
            return;
        }
        self.next_index = next_index.max(self.match_index.next());
        if mutants::is_on(Mutant::WindowNotFreed) && matches!(self.flow, Flow::Replicate { .. }) {
            return;
        }
        self.flow = Flow::PROBE;
        self.fetching = false;
    }

    /// Switches to a snapshot: the entries that the follower needs were compacted.
    pub(super) fn needs_snapshot(&mut self) {
        if !matches!(self.flow, Flow::Snapshot(_)) {
            self.flow = Flow::Snapshot(if self.is_sending { SnapshotFlow::Sending } else { SnapshotFlow::Due });
            self.fetching = false;
        }
    }

    /// Returns true if a snapshot is due. It counts as being sent from here on.
    pub(super) fn take_due_snapshot(&mut self) -> bool {
        let is_due = matches!(self.flow, Flow::Snapshot(SnapshotFlow::Due));
        if is_due {
            self.flow = Flow::Snapshot(SnapshotFlow::Sending);
            self.is_sending = true;
        }
        is_due
    }

    /// Resumes feeding from the log: the follower has acknowledged every entry that was compacted. It may have received
    /// a snapshot from an earlier leader whose transfer continued.
    pub(super) fn needs_no_snapshot(&mut self) {
        if matches!(self.flow, Flow::Snapshot(_)) {
            self.flow = Flow::PROBE;
        }
    }

    /// Returns true if the follower is fed from the log rather than sent a snapshot.
    pub(super) fn is_fed(&self) -> bool {
        !matches!(self.flow, Flow::Snapshot(_))
    }

    /// Takes the result of sending a snapshot: `last` is the last entry of the snapshot that became the follower's
    /// state, or `None` if none did.
    pub(super) fn snapshot_sent(&mut self, last: Option<LogIndex>) {
        self.is_sending = false;
        if !matches!(self.flow, Flow::Snapshot(SnapshotFlow::Sending)) {
            return;
        }
        match last {
            Some(last) => {
                self.next_index = last.max(self.match_index).next();
                self.flow = Flow::PROBE;
            }
            None => self.flow = Flow::Snapshot(SnapshotFlow::Failed),
        }
    }

    /// Sends nothing but heartbeats until the follower answers one.
    pub(super) fn wait_for_answer(&mut self) {
        self.flow = Flow::Probe { sent: true, entries: None };
        self.fetching = false;
    }

    /// Returns true if the follower has yet to acknowledge a message on the bulk lane.
    pub(super) fn owes_answer(&self) -> bool {
        match &self.flow {
            Flow::Probe { sent, .. } => *sent,
            Flow::Snapshot(_) => false,
            Flow::Replicate { in_flight, .. } => !in_flight.is_empty(),
        }
    }

    /// Records that the follower has everything up to `match_index` on its disk.
    pub(super) fn accept(&mut self, match_index: LogIndex) {
        if match_index > self.match_index {
            self.is_bulk_stalled = false;
        }
        self.match_index = self.match_index.max(match_index);
        if self.next_index <= self.match_index {
            self.next_index = self.match_index.next();
            self.fetching = false;
        }
        match &mut self.flow {
            // The answer may be to a heartbeat, which names only the match index known before.
            Flow::Probe { .. } if self.match_index.next() < self.next_index => {}
            Flow::Probe { entries, .. } => {
                let in_flight: VecDeque<_> = entries.filter(|(last, _)| *last > self.match_index).into_iter().collect();
                let in_flight_bytes = in_flight.iter().map(|(_, bytes)| bytes).sum();
                if let Some((last, _)) = in_flight.back() {
                    self.next_index = last.next();
                    // The entries may be lost: the answer may be to a message that came after them.
                    self.check_due = true;
                }
                self.flow = Flow::Replicate { in_flight, in_flight_bytes };
            }
            Flow::Snapshot(snapshot) => {
                if *snapshot == SnapshotFlow::Failed {
                    *snapshot = SnapshotFlow::Due;
                }
            }
            Flow::Replicate { in_flight, in_flight_bytes } => {
                while let Some((last, bytes)) = in_flight.front().copied() {
                    if last > self.match_index {
                        break;
                    }
                    in_flight.pop_front();
                    *in_flight_bytes -= bytes;
                }
            }
        }
    }

    /// Returns true if one more message with entries may be sent.
    pub(super) fn has_room(&self, settings: &Settings) -> bool {
        match &self.flow {
            Flow::Probe { .. } | Flow::Snapshot(_) => false,
            Flow::Replicate { in_flight, in_flight_bytes } => {
                !self.fetching
                    && in_flight.len() < settings.window_messages_max
                    && *in_flight_bytes < settings.window_bytes_max
            }
        }
    }

    /// Records that a message was sent, with entries up to `last` of this many bytes if it had any.
    pub(super) fn sent(&mut self, last: Option<(LogIndex, usize)>) {
        match &mut self.flow {
            // A probe's entries may not fit the follower's log.
            Flow::Probe { sent, entries } => {
                *sent = true;
                *entries = last.or(*entries);
            }
            Flow::Snapshot(_) => {}
            Flow::Replicate { in_flight, in_flight_bytes } => {
                if let Some((last, bytes)) = last {
                    in_flight.push_back((last, bytes));
                    *in_flight_bytes += bytes;
                    self.next_index = last.next();
                    self.fetching = false;
                }
            }
        }
    }
}
