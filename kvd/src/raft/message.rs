//! What nodes say to each other: the RPCs of paper Figure 2 as one-way messages, with PreVote
//! (thesis §9.6), ReadIndex (thesis §6.4) and leadership transfer (thesis §3.10).
//!
//! Messages may be lost, doubled, delayed and reordered at will. Each carries the term of its sender.

use super::entry::Entry;
use super::types::{LogIndex, Term};
use serde::{Deserialize, Serialize};

/// A message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The sender's term when it spoke.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

/// Names a question for pre-votes; the sender chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotId(pub u64);

/// What a message says. New kinds go to the end: the order is part of the format between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Asks whether a vote would be granted in the term after the sender's. Promises nothing and
    /// changes nothing at the receiver.
    PreVote {
        /// Tells this question from the sender's others.
        ballot: BallotId,
        /// Index of the sender's last entry.
        last_log_index: LogIndex,
        /// Term of the sender's last entry.
        last_log_term: Term,
    },
    /// Answers [`Body::PreVote`].
    PreVoteResponse {
        /// The question. A late answer to an earlier one counts for nothing: who gave it may hear a leader by now.
        ballot: BallotId,
        /// The term that the question was asked in.
        asked_in: Term,
        /// Whether the vote would be granted.
        granted: bool,
    },
    /// Asks for a vote in the sender's term.
    RequestVote {
        /// Index of the sender's last entry.
        last_log_index: LogIndex,
        /// Term of the sender's last entry.
        last_log_term: Term,
        /// The leader hands over to the sender, so that voters listen though they hear the leader (thesis §3.10).
        transfer: bool,
    },
    /// Answers [`Body::RequestVote`].
    RequestVoteResponse {
        /// Whether the vote was granted. If so, it is on the voter's disk.
        granted: bool,
    },
    /// Replicates entries; without any it is a heartbeat, or a probe for where the logs agree.
    AppendEntries {
        /// Index of the entry before the first one sent.
        prev_log_index: LogIndex,
        /// Term of that entry.
        prev_log_term: Term,
        /// The entries that follow it; may be empty.
        entries: Vec<Entry>,
        /// How far the leader has committed.
        leader_commit: LogIndex,
        /// The leader's latest round of confirming that it still leads (thesis §6.4).
        round: u64,
    },
    /// Answers [`Body::AppendEntries`]: the logs agree at `prev_log_index`.
    AppendAccepted {
        /// Up to here the sender's log is the leader's, and on the sender's disk.
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
        /// Names the question and the reads it was first sent for; no other question has this name, not
        /// even one by a later life of the sender.
        read: ReadId,
    },
    /// Answers [`Body::ReadIndex`].
    ReadIndexResponse {
        /// The question.
        read: ReadId,
        /// Reads that began before the question was sent are linearizable once this is applied.
        read_index: LogIndex,
    },
    /// The leader hands over: the receiver has its whole log, and is to campaign at once (thesis §3.10).
    TimeoutNow,
}

/// Names one question for a read index. Drawn at random at start and counted up from there, so that
/// a late answer to an earlier life of the same node confirms nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReadId(pub u64);
