//! What a leader knows of one follower, and how much it may send to it.
//!
//! A follower is first *probed*: one AppendEntries at a time, until the place is found where the logs
//! agree. Then entries are *pipelined*: sent on without waiting for answers, within a
//! window of messages and bytes. A rejection, or word that the connection broke, leads back to
//! probing, which also forgets the window, so that messages lost with a connection never fill it.
//!
//! A follower that needs entries from before the log's base is sent a *snapshot*, beside the messages
//! and by the caller, and nothing but heartbeats until it has that; then it is probed behind it.

use super::settings::Settings;
use super::types::{Instant, LogIndex, NodeId};
use crate::mutants::{self, Mutant};
use std::collections::VecDeque;

/// How far a follower is, as its leader knows: for those who look on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerProgress {
    /// The follower.
    pub follower: NodeId,
    /// Up to here its log is known to be the leader's, on its disk.
    pub match_index: LogIndex,
    /// The next entry to be sent to it.
    pub next_index: LogIndex,
    /// What is on its way to it; `None` while it is probed for where the logs agree.
    pub in_flight: Option<InFlight>,
    /// Nothing gets through to it on the bulk lane; see [`Raft::bulk_stalled`](super::Raft::bulk_stalled).
    pub is_bulk_stalled: bool,
}

/// What was sent to a follower that it has not acknowledged.
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
    /// Up to here the follower's log is known to be ours, on its disk.
    pub(super) match_index: LogIndex,
    /// The next entry to send.
    pub(super) next_index: LogIndex,
    pub(super) flow: Flow,
    /// The commit index last sent.
    pub(super) sent_commit: LogIndex,
    /// The round of leadership confirmation last sent, and last acknowledged.
    pub(super) sent_round: u64,
    pub(super) acked_round: u64,
    /// Since when this leader sends to the follower.
    pub(super) since: Instant,
    /// When the follower last answered in this term, its vote included; `None` until it has.
    pub(super) heard: Option<Instant>,
    /// When it last acknowledged more than before.
    pub(super) advanced: Option<Instant>,
    /// Word has come that its process is gone, and no answer since.
    pub(super) is_gone: bool,
    /// A heartbeat is due.
    pub(super) heartbeat_due: bool,
    /// It is to be asked whether what was sent last has come.
    pub(super) check_due: bool,
    /// When it was asked that last.
    pub(super) checked: Instant,
    /// Nothing gets through to it on the bulk lane, though it may answer heartbeats.
    pub(super) is_bulk_stalled: bool,
    /// Entries from `next_index` on are being read from disk.
    pub(super) fetching: bool,
    /// The caller was told to send a snapshot, and has not said yet what became of it. Another is not asked for before.
    pub(super) is_sending: bool,
    /// It is a member no more, and is fed until then.
    pub(super) leaves_at: Option<Instant>,
}

/// How entries are sent to a follower.
#[derive(Debug)]
pub(super) enum Flow {
    /// One message at a time.
    Probe {
        /// One is on its way; it is asked again with the next heartbeat that is answered.
        sent: bool,
        /// Its last entry and the bytes of all of them. Once the place is known to be right, they are on their way like
        /// any others.
        entries: Option<(LogIndex, usize)>,
    },
    /// A snapshot; nothing else is known of where the logs agree.
    Snapshot(SnapshotFlow),
    /// Entries on their way, each message by its last index and its bytes.
    Replicate { in_flight: VecDeque<(LogIndex, usize)>, in_flight_bytes: usize },
}

/// How far a follower is with its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotFlow {
    /// The caller has yet to be told to send one.
    Due,
    /// One is being sent.
    Sending,
    /// Sending has failed; once the follower answers a heartbeat, it is sent one again.
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

    /// What is known of `follower`, whose progress this is.
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

    /// Starts over from `next_index`: what was on its way no longer counts. A snapshot on its way does: whoever sends
    /// it will say what became of it.
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

    /// The entries that it needs are gone: it needs a snapshot.
    pub(super) fn needs_snapshot(&mut self) {
        if !matches!(self.flow, Flow::Snapshot(_)) {
            self.flow = Flow::Snapshot(if self.is_sending { SnapshotFlow::Sending } else { SnapshotFlow::Due });
            self.fetching = false;
        }
    }

    /// Whether the caller is to be told to send a snapshot, which counts as being sent from here on.
    pub(super) fn take_due_snapshot(&mut self) -> bool {
        let is_due = matches!(self.flow, Flow::Snapshot(SnapshotFlow::Due));
        if is_due {
            self.flow = Flow::Snapshot(SnapshotFlow::Sending);
            self.is_sending = true;
        }
        is_due
    }

    /// It has acknowledged everything that is gone from the log, so it can be fed again. It may have got a snapshot from
    /// another: an earlier leader whose transfer went on.
    pub(super) fn needs_no_snapshot(&mut self) {
        if matches!(self.flow, Flow::Snapshot(_)) {
            self.flow = Flow::PROBE;
        }
    }

    /// Whether it is fed from the log, and not sent a snapshot.
    pub(super) fn is_fed(&self) -> bool {
        !matches!(self.flow, Flow::Snapshot(_))
    }

    /// A snapshot that ends with entry `last` has become the follower's state, or `None`: has not.
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

    /// Whether it has yet to acknowledge something that was sent to it on the bulk lane.
    pub(super) fn owes_answer(&self) -> bool {
        match &self.flow {
            Flow::Probe { sent, .. } => *sent,
            Flow::Snapshot(_) => false,
            Flow::Replicate { in_flight, .. } => !in_flight.is_empty(),
        }
    }

    /// Notes that the follower has everything up to `match_index` on its disk.
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
            // The answer may be one to a heartbeat, which names only what was known before.
            Flow::Probe { .. } if self.match_index.next() < self.next_index => {}
            Flow::Probe { entries, .. } => {
                let in_flight: VecDeque<_> = entries.filter(|(last, _)| *last > self.match_index).into_iter().collect();
                let in_flight_bytes = in_flight.iter().map(|(_, bytes)| bytes).sum();
                if let Some((last, _)) = in_flight.back() {
                    self.next_index = last.next();
                    // They may be lost, and the answer was one to something that came after them.
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

    /// Whether one more message with entries may be sent.
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

    /// Notes that a message was sent, with entries up to `last` of this many bytes if it had any.
    pub(super) fn sent(&mut self, last: Option<(LogIndex, usize)>) {
        match &mut self.flow {
            // While probing it is not known whether the entries fit.
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
