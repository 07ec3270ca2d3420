//! Outcomes of writes, however they were sent.

use super::one_node::{OneNode, Unanswered};
use kvclient::api::ErrorReply;
use kvclient::{Applied, Error, Item};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Outcome of a write.
pub(super) enum Fate<T> {
    /// It is applied, and this is the reply.
    Done(T),
    /// Its condition did not hold for this item.
    ConditionFailed(Option<Item>),
    /// It is not applied and never will be.
    Refused,
    /// It may be applied, now or later.
    Unknown,
}

impl<T> Fate<T> {
    pub(super) fn map<U>(self, to: impl FnOnce(T) -> U) -> Fate<U> {
        match self {
            Self::Done(reply) => Fate::Done(to(reply)),
            Self::ConditionFailed(current) => Fate::ConditionFailed(current),
            Self::Refused => Fate::Refused,
            Self::Unknown => Fate::Unknown,
        }
    }
}

impl<T> From<Result<T, Error>> for Fate<T> {
    fn from(result: Result<T, Error>) -> Self {
        match result {
            Ok(reply) => Self::Done(reply),
            Err(Error::ConditionFailed { current }) => Self::ConditionFailed(current),
            Err(error) if error.applied() == Applied::No => Self::Refused,
            Err(_) => Self::Unknown,
        }
    }
}

impl<T: DeserializeOwned> Fate<T> {
    /// Sends a write to one node, without a request id, and returns its outcome.
    pub(super) fn of_post(node: &mut OneNode, path: &str, request: &impl Serialize) -> Self {
        let body = serde_json::to_vec(request).expect("requests have an encoding");
        let reply = match node.ask(&format!("POST {path}"), &["content-type: application/json"], &body) {
            Ok(reply) => reply,
            Err(Unanswered::NotSent) => return Self::Refused,
            Err(Unanswered::BrokenOff) => return Self::Unknown,
        };
        if reply.status == 200 {
            return Self::Done(reply.json());
        }
        let ErrorReply { error } = reply.json();
        match error.current {
            Some(current) if reply.status == 412 => Self::ConditionFailed(current),
            _ if error.applied == Applied::No => Self::Refused,
            _ => Self::Unknown,
        }
    }
}
