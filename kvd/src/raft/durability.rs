//! Holds promises back until they are durable, and chooses the next write to disk.
//!
//! Two rules keep every promise (thesis §3.8, paper Figure 2 "updated on stable storage before
//! responding"):
//!
//! 1. No message leaves in a term before that term and the vote in it are on disk. So a vote is never
//!    announced before it is durable, and no node answers in a term that a crash would make it forget.
//!    A candidate's vote for itself counts by the same rule: it is a held answer from itself to itself.
//! 2. An acknowledgement names at most the durable index. A heartbeat that arrives during a slow write
//!    is answered at once, but with what is on disk by then.
//!
//! One write is in progress at a time. Changes made meanwhile go into the next one, so that slow disks get larger
//! writes and nothing else waits for them.

use super::effects::{LogRestart, LogWrite, WriteId};
use super::entry::{HardState, Record};
use super::log::Log;
use super::message::{Body, Message};
use super::types::{LogBase, LogIndex, NodeId};
use crate::mutants::{self, Mutant};

/// State that is on disk, being written, or waiting to be written, and the messages that wait for it.
#[derive(Debug)]
pub(super) struct Durability {
    /// Number of changes of term and vote so far, and the number of the change that is on disk.
    hard_state_version: u64,
    hard_state_written: u64,
    hard_state_durable: u64,
    /// The next entry to write.
    next_index: LogIndex,
    /// Entries written from here on are void, and the disk has yet to be told.
    truncate_from: Option<LogIndex>,
    /// The log restarts after a snapshot, and the disk has yet to be told.
    restart: Option<LogBase>,
    commit_written: LogIndex,
    under_way: Option<UnderWay>,
    last_write: WriteId,
    /// Messages that wait until this version of term and vote is durable.
    held: Vec<(u64, NodeId, Message)>,
    /// Messages that may leave.
    pub(super) ready: Vec<(NodeId, Message)>,
}

#[derive(Debug)]
struct UnderWay {
    id: WriteId,
    /// Duration of the write so far, not counting time in which this process stood still.
    lasted_ms: u64,
    hard_state_version: u64,
    /// The last entry in it that has not been truncated since.
    last_index: LogIndex,
}

impl Durability {
    /// Creates the state at start: everything in `log` was read from the disk, so it is durable.
    pub(super) fn restored(log: &Log) -> Self {
        Self {
            hard_state_version: 0,
            hard_state_written: 0,
            hard_state_durable: 0,
            next_index: log.last_index().next(),
            truncate_from: None,
            restart: None,
            commit_written: log.commit_index(),
            under_way: None,
            last_write: WriteId(0),
            held: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Records a change of term or vote: nothing more is sent until it is on disk.
    pub(super) fn hard_state_changed(&mut self) {
        self.hard_state_version += 1;
    }

    /// Releases a message of the current term at once if that term and the vote in it are durable, or if `is_early` is
    /// set; otherwise as soon as they are.
    pub(super) fn send(&mut self, to: NodeId, message: Message, is_early: bool) {
        if self.hard_state_version == self.hard_state_durable || is_early {
            self.ready.push((to, message));
        } else {
            self.held.retain(|(_, held_to, held)| !(*held_to == to && supersedes(&message, held)));
            self.held.push((self.hard_state_version, to, message));
        }
    }

    /// Records that entries from `from` on are void.
    pub(super) fn truncated(&mut self, from: LogIndex) {
        if from < self.next_index {
            self.next_index = from;
            let earlier = self.truncate_from.unwrap_or(from);
            self.truncate_from = Some(earlier.min(from));
        }
        // The write in progress may still put entries on disk that are void by now. It does not make the new entries at
        // the same indexes durable.
        if let Some(under_way) = &mut self.under_way {
            under_way.last_index = under_way.last_index.min(from.previous());
        }
    }

    /// Records that the log restarts after a durable snapshot: all entries are void, including those of the write in
    /// progress.
    pub(super) fn restarted(&mut self, base: LogBase) {
        self.restart = Some(base);
        self.truncate_from = None;
        self.next_index = base.index.next();
        self.commit_written = base.index;
        if let Some(under_way) = &mut self.under_way {
            under_way.last_index = under_way.last_index.min(base.index);
        }
    }

    /// Returns how long a write has been in progress, and the last entry in it that has not been truncated since.
    pub(super) fn write_under_way(&self) -> Option<(u64, LogIndex)> {
        self.under_way.as_ref().map(|under_way| (under_way.lasted_ms, under_way.last_index))
    }

    /// Adds time to the write in progress. This node was running in that time, so it would have heard of the end of the
    /// write.
    pub(super) fn wait_for_disk(&mut self, step_ms: u64) {
        if let Some(under_way) = &mut self.under_way {
            under_way.lasted_ms += step_ms;
        }
    }

    /// Returns true if there is something to write, even if a write is in progress.
    fn has_unwritten(&self, log: &Log) -> bool {
        self.hard_state_written < self.hard_state_version
            || self.truncate_from.is_some()
            || self.restart.is_some()
            || self.next_index <= log.last_index()
    }

    /// Returns the next write, with at most about `bytes_max` bytes of entries, unless one is in progress or there is
    /// nothing to write.
    pub(super) fn next_write(&mut self, hard_state: HardState, log: &Log, bytes_max: usize) -> Option<LogWrite> {
        if self.under_way.is_some() || !self.has_unwritten(log) {
            return None;
        }
        let from = self.next_index;
        let entries = log.entries_from(from, bytes_max);
        let entries = entries.expect("entries that are not durable stay in memory");
        let last_index = entries.last().map_or(from.previous(), |entry| entry.index);

        let restart = self.restart.take().map(|base| LogRestart { base, hard_state });
        let mut records = Vec::with_capacity(entries.len() + 3);
        if self.hard_state_written < self.hard_state_version {
            let vote = hard_state.vote.filter(|_| !mutants::is_on(Mutant::VoteNotSaved));
            records.push(Record::HardState(HardState { vote, ..hard_state }));
        }
        records.extend(self.truncate_from.take().map(|from| Record::Truncate { from }));
        records.extend(entries.into_iter().map(Record::Entry));
        // The commit hint never runs ahead of the entries on this disk.
        let commit = log.commit_index().min(last_index);
        if commit > self.commit_written {
            records.push(Record::Commit(commit));
            self.commit_written = commit;
        }

        let id = WriteId(self.last_write.0 + 1);
        self.last_write = id;
        self.next_index = last_index.next();
        self.hard_state_written = self.hard_state_version;
        self.under_way = Some(UnderWay { id, lasted_ms: 0, hard_state_version: self.hard_state_version, last_index });
        Some(LogWrite { id, restart, records })
    }

    /// Records that the write `id` is on disk. Returns the last entry in it that has not been truncated since, and the
    /// messages that waited for it.
    pub(super) fn written(&mut self, id: WriteId) -> (LogIndex, Vec<(NodeId, Message)>) {
        let Some(under_way) = self.under_way.take() else {
            panic!("write {} reported durable, but none is under way", id.0);
        };
        assert!(under_way.id == id, "write {} reported durable while {} is under way", id.0, under_way.id.0);
        let durable = under_way.hard_state_version;
        self.hard_state_durable = durable;
        let (released, held) = std::mem::take(&mut self.held).into_iter().partition(|held| held.0 <= durable);
        self.held = held;
        let released: Vec<(u64, NodeId, Message)> = released;
        (under_way.last_index, released.into_iter().map(|(_, to, message)| (to, message)).collect())
    }
}

/// Returns true if a message says all that an earlier one says, which goes to the same node and waits for the disk.
/// Messages that repeat, such as answers to heartbeats, must not pile up while the disk is stuck.
fn supersedes(message: &Message, earlier: &Message) -> bool {
    match (&message.body, &earlier.body) {
        (Body::AppendAccepted { .. }, Body::AppendAccepted { .. })
        | (Body::AppendRejected { .. }, Body::AppendRejected { .. }) => message.term == earlier.term,
        (Body::PreVote { .. }, Body::PreVote { .. }) | (Body::PreVoteResponse { .. }, Body::PreVoteResponse { .. }) => {
            true
        }
        (Body::ReadIndex { read }, Body::ReadIndex { read: asked }) => read == asked,
        _ => false,
    }
}
