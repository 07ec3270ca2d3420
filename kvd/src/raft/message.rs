//! Messages between nodes: the RPCs of paper Figure 2 as one-way messages, with PreVote (thesis §9.6), ReadIndex
//! (thesis §6.4) and leadership transfer (thesis §3.10).
//!
//! Messages may be lost, duplicated, delayed and reordered. Each carries the term of its sender.

use super::entry::Entry;
use super::types::{ClusterTime, LogIndex, Term};
use serde::{Deserialize, Serialize};

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender's term when it sent the message.
    pub term: Term,
    /// The content.
    pub body: Body,
}

/// Identifies a PreVote request; chosen by the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotId(pub u64);

/// Content of a message. New kinds go to the end: the order is part of the format between nodes. The fields that are
/// skipped are not part of it; frames carry them apart, to nodes that know them (`peer::frame`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Asks whether a vote would be granted in the term after the sender's. Promises nothing and
    /// changes nothing at the receiver.
    PreVote {
        /// Distinguishes this request from the sender's other ones.
        ballot: BallotId,
        /// Index of the sender's last entry.
        last_log_index: LogIndex,
        /// Term of the sender's last entry.
        last_log_term: Term,
    },
    /// Answers [`Body::PreVote`].
    PreVoteResponse {
        /// The request. A late answer to an earlier one is ignored: the node that gave it may hear a leader by now.
        ballot: BallotId,
        /// The term in which the request was sent.
        asked_in: Term,
        /// True if the vote would be granted.
        granted: bool,
    },
    /// Asks for a vote in the sender's term.
    RequestVote {
        /// Index of the sender's last entry.
        last_log_index: LogIndex,
        /// Term of the sender's last entry.
        last_log_term: Term,
        /// The leader transfers leadership to the sender, so voters consider the request even if they hear the leader
        /// (thesis §3.10).
        transfer: bool,
    },
    /// Answers [`Body::RequestVote`].
    RequestVoteResponse {
        /// True if the vote was granted. It is then on the voter's disk.
        granted: bool,
    },
    /// Replicates entries. Without entries it is a heartbeat, or a probe for where the logs agree.
    AppendEntries {
        /// Index of the entry before the first one sent.
        prev_log_index: LogIndex,
        /// Term of that entry.
        prev_log_term: Term,
        /// The entries that follow it; may be empty.
        entries: Vec<Entry>,
        /// The leader's commit index.
        leader_commit: LogIndex,
        /// The leader's latest round of confirming that it still leads (thesis §6.4).
        round: u64,
        /// The leader's cluster time, at least that of its entries. `None` between nodes of which one does not know it.
        #[serde(skip)]
        time: Option<ClusterTime>,
    },
    /// Answers [`Body::AppendEntries`]: the logs agree at `prev_log_index`.
    AppendAccepted {
        /// Up to here the sender has the leader's log on its disk.
        match_index: LogIndex,
        /// The highest round received from this leader.
        round: u64,
    },
    /// Answers [`Body::AppendEntries`]: the logs do not agree at `prev_log_index`.
    AppendRejected {
        /// The index that did not match.
        prev_log_index: LogIndex,
        /// The highest index at or below it that may match, judged by its term.
        hint_index: LogIndex,
        /// Term of the entry there.
        hint_term: Term,
        /// The highest round received from this leader.
        round: u64,
    },
    /// Asks the leader for a read index on behalf of all reads that wait at the sender.
    ReadIndex {
        /// Identifies the request and the reads for which it was first sent. No other request has this id, not even one
        /// by a later incarnation of the sender.
        read: ReadId,
    },
    /// Answers [`Body::ReadIndex`].
    ReadIndexResponse {
        /// The request.
        read: ReadId,
        /// Reads that began before the question was sent are linearizable once this is applied.
        read_index: LogIndex,
        /// The leader's cluster time when it took the read index. `None` between nodes of which one does not know it.
        #[serde(skip)]
        time: Option<ClusterTime>,
    },
    /// The leader transfers leadership: the receiver has its whole log and must campaign at once (thesis §3.10).
    TimeoutNow,
}

/// Identifies one ReadIndex request. Ids start at a random number and count up, so that a late answer to an earlier
/// incarnation of the same node confirms nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReadId(pub u64);
