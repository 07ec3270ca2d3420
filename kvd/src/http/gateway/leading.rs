//! Questions that only a leader answers, their answers, and the way to a leader that is another node.

use super::super::error::ApiError;
use crate::kv::Outcome;
use crate::node::MemberChange;
use bytes::Bytes;
use kvclient::api::{LeaderReply, MembersReply, NodeUrl};
use std::fmt;
use std::pin::Pin;
use tokio::time::Instant;

/// A question to whoever leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Replicate and apply this command, encoded: see [`super::Request::Write`].
    Write(Bytes),
    /// Change the members.
    ChangeMembers(MemberChange),
    /// Hand leadership over, to the node of this name or to the most up-to-date voter.
    HandOver(Option<String>),
}

impl Question {
    /// End of a sentence: advice on an outcome that is not known.
    pub(super) fn when_unknown(&self) -> &'static str {
        match self {
            Self::Write(_) => "it may still be applied: repeat the write with the same `request`, or read the key",
            Self::ChangeMembers(_) => {
                "the change may still happen: check `GET /members`, or repeat the request, which is safe"
            }
            Self::HandOver(_) => "leadership may still be transferred: see `GET /leader`",
        }
    }
}

/// The answer of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The outcome of applying the command.
    Written(Outcome),
    /// The members as they are then.
    Members(MembersReply),
    /// The new leader.
    Leader(LeaderReply),
}

/// An answer, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// The term of the node that answered, then.
    pub term: u64,
}

/// Why another node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unforwarded {
    /// The question did not reach it: nothing has changed. The sentence says why.
    NotSent(String),
    /// It may have reached it, and the answer will not come. The sentence says why.
    Lost(String),
    /// It answered with an error.
    Refused(ApiError),
    /// It is of a version that answers clients alone.
    TooOld,
}

/// The answer that is to come from another node.
pub type Forwarding<'a> = Pin<Box<dyn Future<Output = Result<Answered, Unforwarded>> + Send + 'a>>;

/// Asks other nodes.
pub trait Forward: fmt::Debug + Send + Sync {
    /// Asks this node, until the deadline. It answers itself or not at all: nothing is sent on twice.
    fn forward(&self, to: &NodeUrl, question: Question, deadline: Instant) -> Forwarding<'_>;
}
