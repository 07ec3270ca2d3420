//! What a node is, with the state that only that role has.

use super::message::{BallotId, Message};
use super::progress::Progress;
use super::types::{ClusterTime, Instant, LogIndex, NodeId, Term};
use super::waiting_reads::{ForwardedReads, LeaderReads};
use std::collections::BTreeMap;

/// The role of a node in its term (paper §5.1, Figure 4).
#[derive(Debug)]
pub(super) enum Role {
    Follower(Follower),
    /// Asks whether it could win an election, in its old term (thesis §9.6).
    PreCandidate(Ballot),
    Candidate(Ballot),
    Leader(Leader),
}

/// A role as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleName {
    /// Replicates what a leader orders, or waits for one.
    Follower,
    /// Asks whether it would be voted for.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Orders entries and replicates them.
    Leader,
}

/// Waits for a leader, or follows one.
#[derive(Debug)]
pub(super) struct Follower {
    /// The leader of this term, once heard, until the connection to it is lost.
    pub(super) leader: Option<NodeId>,
    /// When that leader was last heard.
    pub(super) heard: Instant,
    /// When to campaign if nothing is heard until then.
    pub(super) election_deadline: Instant,
    /// The connection to the leader was lost, hence the early deadline.
    pub(super) leader_lost: bool,
    /// Up to here our log is known to be the leader's. What lies beyond may conflict with it, so
    /// nothing beyond may be committed or acknowledged.
    pub(super) matched: LogIndex,
    /// The match index last acknowledged.
    pub(super) acked: LogIndex,
    /// The highest round of leadership confirmation received.
    pub(super) round: u64,
    /// How far the leader has committed, as far as it has said.
    pub(super) leader_commit: LogIndex,
    /// Reads whose index the leader is asked for.
    pub(super) reads: ForwardedReads,
}

/// Answers to a question put to all voters.
#[derive(Debug)]
pub(super) struct Ballot {
    /// Names the question.
    pub(super) id: BallotId,
    /// The end of the log that the question claims: index and term of its last entry. While the ballot is open the log
    /// ends there; see [`Raft::install`](super::core::Raft::install).
    pub(super) claimed: (LogIndex, Term),
    /// Who said yes, and when. Keyed by voter: a doubled answer counts once.
    pub(super) granted: BTreeMap<NodeId, Instant>,
    /// When to give up and ask again.
    pub(super) election_deadline: Instant,
    /// The campaign began because the connection to the leader was lost, so that others are about to
    /// notice the same: it asks again soon.
    pub(super) leader_lost: bool,
}

/// Leads, for this term only (paper Figure 2, volatile state on leaders).
#[derive(Debug)]
pub(super) struct Leader {
    /// Every other member.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// Answers to this round, or a later one, are from after the last time for which the leader stood still.
    pub(super) awake_round: u64,
    /// The end of the log at that time.
    pub(super) awake_index: LogIndex,
    /// By the clock, so that a leader that was away is heard as soon as it is back.
    pub(super) next_heartbeat: Instant,
    /// Cluster time and local time when elected; see [`Leader::cluster_time`].
    pub(super) elected_cluster_time: ClusterTime,
    pub(super) elected_at: Instant,
    /// It is no member any more, and has begun to hand over.
    pub(super) is_leaving: bool,
    /// The no-op that opened the term.
    pub(super) first_index: LogIndex,
    pub(super) reads: LeaderReads,
    /// Messages for the bulk lane with entries that have been read back from disk.
    pub(super) fetched: Vec<(NodeId, Message)>,
    /// The hand-over to another node, while one is under way.
    pub(super) transfer: Option<Transfer>,
    /// With a stuck disk it does not try to hand over again before this.
    pub(super) next_escape: Instant,
}

/// A transfer under way, at the leader.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    pub(super) give_up_at: Instant,
    /// The target has been told to campaign. Every heartbeat it is told again.
    pub(super) told: bool,
}

impl Leader {
    /// The time for an entry appended at `now`: that of the newest entry found when elected, plus the
    /// time since. Never goes backward, since an elected leader has every committed entry.
    pub(super) fn cluster_time(&self, now: Instant) -> ClusterTime {
        ClusterTime(self.elected_cluster_time.0.saturating_add(now.ms_since(self.elected_at)))
    }
}
