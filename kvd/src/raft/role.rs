//! The role of a node, with the state that only that role has.

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

/// The name of a role, for use outside of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoleName {
    /// Replicates a leader's entries, or waits for a leader.
    Follower,
    /// Asks voters whether they would vote for it.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Appends entries and replicates them.
    Leader,
}

/// Waits for a leader, or follows one.
#[derive(Debug)]
pub(super) struct Follower {
    /// The leader of this term, once heard, until the connection to it is lost.
    pub(super) leader: Option<NodeId>,
    /// Time at which that leader was last heard.
    pub(super) heard: Instant,
    /// Time at which to campaign unless a leader is heard before.
    pub(super) election_deadline: Instant,
    /// The connection to the leader was lost, hence the early deadline.
    pub(super) leader_lost: bool,
    /// Up to here our log is known to match the leader's. Entries beyond may conflict with it, so nothing beyond may be
    /// committed or acknowledged.
    pub(super) matched: LogIndex,
    /// The match index last acknowledged.
    pub(super) acked: LogIndex,
    /// The highest round of leadership confirmation received.
    pub(super) round: u64,
    /// The highest commit index received from the leader.
    pub(super) leader_commit: LogIndex,
    /// Reads for which the leader is asked for a read index.
    pub(super) reads: ForwardedReads,
}

/// The answers to a RequestVote or PreVote sent to all voters.
#[derive(Debug)]
pub(super) struct Ballot {
    /// Identifies the request.
    pub(super) id: BallotId,
    /// The end of the log that the request claims: index and term of its last entry. While the ballot is open the log
    /// ends there; see [`Raft::install`](super::core::Raft::install).
    pub(super) claimed: (LogIndex, Term),
    /// Voters that said yes, and when. Keyed by voter: a duplicated answer counts once.
    pub(super) granted: BTreeMap<NodeId, Instant>,
    /// Time at which to give up and ask again.
    pub(super) election_deadline: Instant,
    /// The campaign began because the connection to the leader was lost. Other voters are about to notice the same, so
    /// it asks again soon.
    pub(super) leader_lost: bool,
}

/// Leads, for this term only (paper Figure 2, volatile state on leaders).
#[derive(Debug)]
pub(super) struct Leader {
    /// Replication progress of every other member.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// Answers to this round or a later one were given after the last time for which the leader stood still.
    pub(super) awake_round: u64,
    /// The end of the log at that time.
    pub(super) awake_index: LogIndex,
    /// Measured by the clock, so that a leader that stood still is heard as soon as it runs again.
    pub(super) next_heartbeat: Instant,
    /// The present cluster time; see [`super::cluster_time`].
    pub(super) time: ClusterTime,
    /// The leader was removed and has begun to transfer leadership.
    pub(super) is_leaving: bool,
    /// Index of the no-op that opened the term.
    pub(super) first_index: LogIndex,
    pub(super) reads: LeaderReads,
    /// Messages for the bulk lane, with entries that were read back from disk.
    pub(super) fetched: Vec<(NodeId, Message)>,
    /// The leadership transfer in progress, if any.
    pub(super) transfer: Option<Transfer>,
    /// Time before which a leader with a stuck disk does not try to transfer leadership again.
    pub(super) next_escape: Instant,
}

/// A leadership transfer in progress, at the leader.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    pub(super) give_up_at: Instant,
    /// The target has been told to campaign. It is told again with every heartbeat.
    pub(super) told: bool,
}
