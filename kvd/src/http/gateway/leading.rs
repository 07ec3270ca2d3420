//! Questions that only a leader answers, their answers, and how to ask a leader that is another node.

use super::super::error::ApiError;
use crate::kv::Outcome;
use crate::node::MemberChange;
use bytes::Bytes;
use kvclient::api::{LeaderReply, MembersReply, NodeUrl};
use std::fmt;
use std::pin::Pin;
use tokio::time::Instant;

/// A question to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Replicate and apply this command, encoded: see [`super::Request::Write`].
    Write(Bytes),
    /// Change the members.
    ChangeMembers(MemberChange),
    /// Transfer leadership to the node of this name, or to the most up-to-date voter.
    LeadershipTransfer(Option<String>),
}

impl Question {
    /// Returns the advice for an unknown outcome, as the end of a sentence.
    pub(super) fn when_unknown(&self) -> &'static str {
        match self {
            Self::Write(_) => "it may still be applied: repeat the write with the same `request`, or read the key",
            Self::ChangeMembers(_) => {
                "the change may still happen: check `GET /members`, or repeat the request, which is safe"
            }
            Self::LeadershipTransfer(_) => "leadership may still be transferred: see `GET /leader`",
        }
    }
}

/// The answer of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The outcome of applying the command.
    Written(Outcome),
    /// The members after the change.
    Members(MembersReply),
    /// The new leader.
    Leader(LeaderReply),
}

/// An answer, and the term of the node that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Term of the answering node at that moment.
    pub term: u64,
}

/// Reason why another node did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unforwarded {
    /// The question did not reach the node: nothing has changed. The sentence says why.
    NotSent(String),
    /// The question may have reached the node, but no answer will come. The sentence says why.
    Lost(String),
    /// The node answered with an error.
    Refused(ApiError),
    /// The node runs a version that answers only clients.
    TooOld,
}

/// The pending answer of another node.
pub type Forwarding<'a> = Pin<Box<dyn Future<Output = Result<Answered, Unforwarded>> + Send + 'a>>;

/// Asks other nodes.
pub trait Forward: fmt::Debug + Send + Sync {
    /// Asks the node `to`, until the deadline. That node answers itself or not at all: it forwards nothing.
    fn forward(&self, to: &NodeUrl, question: Question, deadline: Instant) -> Forwarding<'_>;
}
