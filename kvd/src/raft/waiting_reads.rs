//! Reads that wait for their index, on a leader and on a follower. `reads` decides their outcome.

use super::effects::ReadToken;
use super::message::ReadId;
use super::types::{ClusterTime, Instant, LogIndex, NodeId};

/// Reads on the leader.
#[derive(Debug, Default)]
pub(super) struct LeaderReads {
    /// Reads that wait for the next round.
    pub(super) waiting: Vec<Reader>,
    /// The round in progress.
    pub(super) confirming: Option<Round>,
    /// Number of the latest round in this term. Answers name the latest one that the follower has received.
    pub(super) round: u64,
}

/// A round of heartbeats that confirms the leader.
#[derive(Debug)]
pub(super) struct Round {
    /// Number of the round; answers that name this number or a later one confirm the round.
    pub(super) number: u64,
    pub(super) read_index: LogIndex,
    /// Cluster time when the read index was taken.
    pub(super) time: ClusterTime,
    pub(super) readers: Vec<Reader>,
}

/// A local read or a follower that waits for a read index.
#[derive(Debug)]
pub(super) enum Reader {
    Local(ReadToken),
    Follower(NodeId, ReadId),
}

/// Reads on a follower.
#[derive(Debug, Default)]
pub(super) struct ForwardedReads {
    /// Reads that wait for the next request.
    pub(super) waiting: Vec<ReadToken>,
    /// The request in flight.
    pub(super) asked: Option<Question>,
}

/// A follower's ReadIndex request to its leader.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) read: ReadId,
    pub(super) tokens: Vec<ReadToken>,
    pub(super) asked_at: Instant,
}

impl LeaderReads {
    /// Returns the local reads that wait. Followers ask again by themselves.
    pub(super) fn into_tokens(self) -> Vec<ReadToken> {
        let confirming = self.confirming.into_iter().flat_map(|round| round.readers);
        let local = |reader| match reader {
            Reader::Local(token) => Some(token),
            Reader::Follower(..) => None,
        };
        self.waiting.into_iter().chain(confirming).filter_map(local).collect()
    }
}

impl ForwardedReads {
    pub(super) fn into_tokens(self) -> Vec<ReadToken> {
        let asked = self.asked.into_iter().flat_map(|question| question.tokens);
        self.waiting.into_iter().chain(asked).collect()
    }
}
