//! What consensus asks of its caller.

use super::entry::{Entry, HardState, Record};
use super::message::Message;
use super::types::{LogBase, LogIndex, NodeId, Term};

/// What is to be done after some calls. The caller may do it in any order, and the parts of it side
/// by side.
///
/// Nothing in here promises an unfinished write: a vote or an append acknowledgement stays inside
/// until [`super::Raft::written`] reports its write durable (thesis §3.8).
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Messages that keep the cluster together, for the prompt lane: heartbeats, votes, rounds of reads, and all answers.
    /// They are small, and must never be behind bulk.
    pub send: Vec<(NodeId, Message)>,
    /// Entries, and what asks whether they have come, for the bulk lane: a stream of their own to each node, in order.
    /// They run beside the leader's own write (thesis §10.2.1).
    pub bulk: Vec<(NodeId, Message)>,
    /// What to write to the log. At most one write is under way at a time.
    pub write: Option<LogWrite>,
    /// Newly committed entries, in log order. If [`super::Raft::has_unapplied`], more follow at once.
    pub apply: Vec<Entry>,
    /// Reads whose read index is known, or will not be.
    pub reads: Vec<ReadOutcome>,
    /// Entries to read back from disk for a follower, answered by [`super::Raft::fetched`].
    pub fetch: Vec<Fetch>,
    /// Followers to send a snapshot to, answered by [`super::Raft::snapshot_sent`].
    pub snapshots: Vec<SendSnapshot>,
}

/// One write to the log: first it begins anew, if it is to; then all records are durable together, or none. Report [`super::Raft::written`] once it is;
/// if it fails, stop the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogWrite {
    /// Names the write.
    pub id: WriteId,
    /// Before anything else the log begins anew: all its entries are void.
    pub restart: Option<LogRestart>,
    /// What to write, in this order.
    pub records: Vec<Record>,
}

/// A log that begins anew after a snapshot, which is durable (paper Figure 13, step 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRestart {
    /// The last entry of the snapshot.
    pub base: LogBase,
    /// Term and vote.
    pub hard_state: HardState,
}

/// Names one write of one life of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// Names one read; the caller chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// How the search for a read index ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The read.
    pub token: ReadToken,
    /// The read may be served once this index is applied (thesis §6.4); `None` if leadership was
    /// lost first, so that the read has to be asked again.
    pub read_index: Option<LogIndex>,
}

/// Entries that a follower needs and that are no longer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The follower.
    pub to: NodeId,
    /// The leader's term, handed back with the answer.
    pub term: Term,
    /// The first entry.
    pub from: LogIndex,
    /// The last entry at most.
    pub through: LogIndex,
    /// About how many bytes at most; at least one entry.
    pub bytes_max: usize,
}

/// A follower needs entries that are gone from the log, and so a snapshot instead (paper §7): the newest one there is. It
/// is sent beside the messages, so that it delays none of them, and no other is asked for until what became of it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendSnapshot {
    /// The follower.
    pub to: NodeId,
    /// The leader's term, handed back with the answer.
    pub term: Term,
}
