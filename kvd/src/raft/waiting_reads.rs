//! Reads that wait for their index, at a leader and at a follower; what becomes of them is decided in `reads`.

use super::effects::ReadToken;
use super::message::ReadId;
use super::types::{Instant, LogIndex, NodeId};

/// Reads at the leader.
#[derive(Debug, Default)]
pub(super) struct LeaderReads {
    /// They wait for the next round.
    pub(super) waiting: Vec<Reader>,
    /// The round under way.
    pub(super) confirming: Option<Round>,
    /// Number of the latest round in this term. Answers name the latest one they have heard of.
    pub(super) round: u64,
}

/// A round of heartbeats that is to confirm the leader.
#[derive(Debug)]
pub(super) struct Round {
    /// Answers that name it, or a later one, confirm it.
    pub(super) number: u64,
    pub(super) read_index: LogIndex,
    pub(super) readers: Vec<Reader>,
}

/// Who waits for a read index.
#[derive(Debug)]
pub(super) enum Reader {
    Local(ReadToken),
    Follower(NodeId, ReadId),
}

/// Reads at a follower.
#[derive(Debug, Default)]
pub(super) struct ForwardedReads {
    /// They wait for the next question.
    pub(super) waiting: Vec<ReadToken>,
    /// The question under way.
    pub(super) asked: Option<Question>,
}

/// A question of a follower to its leader.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) read: ReadId,
    pub(super) tokens: Vec<ReadToken>,
    pub(super) asked_at: Instant,
}

impl LeaderReads {
    /// The local reads that wait. Followers ask again by themselves.
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
