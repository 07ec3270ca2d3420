//! Actions that consensus asks of its caller.

use super::entry::{Entry, HardState, Record};
use super::message::Message;
use super::types::{ClusterTime, LogBase, LogIndex, NodeId, Term};

/// Actions to take after some calls. The caller may take them in any order, and in parallel.
///
/// Nothing in here promises an unfinished write: a vote or an append acknowledgement stays inside
/// until [`super::Raft::written`] reports its write durable (thesis §3.8).
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Small messages for the prompt lane: heartbeats, votes, rounds of reads, and all answers. They keep the leader in
    /// office and must never queue behind bulk.
    pub send: Vec<(NodeId, Message)>,
    /// Messages for the bulk lane, a separate ordered stream to each node: entries, and checks of whether they have
    /// arrived. They run beside the leader's own write (thesis §10.2.1).
    pub bulk: Vec<(NodeId, Message)>,
    /// The next write to the log. At most one write is in progress at a time.
    pub write: Option<LogWrite>,
    /// Newly committed entries, in log order. If [`super::Raft::has_unapplied`], more follow at once.
    pub apply: Vec<Entry>,
    /// Reads that have a read index, or that will not get one.
    pub reads: Vec<ReadOutcome>,
    /// Entries to read back from disk for a follower, answered by [`super::Raft::fetched`].
    pub fetch: Vec<Fetch>,
    /// Followers to send a snapshot to, answered by [`super::Raft::snapshot_sent`].
    pub snapshots: Vec<SendSnapshot>,
}

/// One write to the log: first the log restarts, if `restart` is set; then all records become durable together, or
/// none. Report [`super::Raft::written`] once the write is durable; if it fails, stop the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogWrite {
    /// Identifies the write.
    pub id: WriteId,
    /// If set, the log first restarts: all its entries are void.
    pub restart: Option<LogRestart>,
    /// Records to write, in this order.
    pub records: Vec<Record>,
}

/// A log that restarts after a durable snapshot (paper Figure 13, step 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRestart {
    /// The last entry of the snapshot.
    pub base: LogBase,
    /// Term and vote.
    pub hard_state: HardState,
}

/// Identifies one write of one incarnation of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// Identifies one read; chosen by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// Result of asking for a read index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// The read.
    pub token: ReadToken,
    /// The read may be served once this index is applied (thesis §6.4); `None` if leadership was lost first, so that
    /// the read has to be requested again.
    pub read_index: Option<LogIndex>,
    /// The leader's cluster time when it took the read index; `None` without a read index, or if the leader is of a
    /// version that does not tell it.
    pub time: Option<ClusterTime>,
}

/// Entries that a follower needs and that are no longer in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The follower.
    pub to: NodeId,
    /// The leader's term; pass it back with the answer.
    pub term: Term,
    /// The first entry.
    pub from: LogIndex,
    /// The last entry at most.
    pub through: LogIndex,
    /// Approximate limit on the bytes of these entries; at least one entry is read.
    pub bytes_max: usize,
}

/// A request to send a follower the newest snapshot, because the entries that it needs were compacted (paper §7). The
/// snapshot is sent apart from the messages, so that it delays none of them. No other is requested until its result is
/// known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendSnapshot {
    /// The follower.
    pub to: NodeId,
    /// The leader's term; pass it back with the answer.
    pub term: Term,
}
