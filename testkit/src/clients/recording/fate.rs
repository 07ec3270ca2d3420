//! Outcomes of writes, however they were sent.

use crate::http::Connection;
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

/// Sends writes to one node, leader or not, as `curl` does: without a request id, and without asking for redirects, so
/// that a follower forwards them.
pub(super) struct OneNode {
    url: String,
    connection: Option<Connection>,
}

impl OneNode {
    pub(super) fn new(url: String) -> Self {
        Self { url, connection: None }
    }

    pub(super) fn post<T: DeserializeOwned>(&mut self, path: &str, request: &impl Serialize) -> Fate<T> {
        let body = serde_json::to_vec(request).expect("requests have an encoding");
        let Ok(mut connection) = self.connection.take().map_or_else(|| Connection::open(&self.url), Ok) else {
            return Fate::Refused;
        };
        let json = ["content-type: application/json"];
        let sent = connection.send(&format!("POST {path}"), &json, &body);
        let Ok(reply) = sent.and_then(|()| connection.receive()) else { return Fate::Unknown };
        self.connection = Some(connection);
        if reply.status == 200 {
            return Fate::Done(reply.json());
        }
        let ErrorReply { error } = reply.json();
        match error.current {
            Some(current) if reply.status == 412 => Fate::ConditionFailed(current),
            _ if error.applied == Applied::No => Fate::Refused,
            _ => Fate::Unknown,
        }
    }
}
