//! Errors of requests. Each kind of failure has a code, a promise and a sentence, all defined here.
//!
//! The statuses belong to the codes ([`ErrorCode::status`]), so that daemon and clients cannot disagree about them.
//! Some codes always add headers: see [`ApiError::into_response`].

use super::reply;
use crate::kv::{Forgotten, InvalidCommand, LeaseId, Revision};
use kvclient::api::{Applied, ErrorBody, ErrorCode, ErrorReply, Item, LockPlace, NodeUrl};
use std::borrow::Cow;
use warp::http::header::{ACCEPT_ENCODING, ALLOW, CONNECTION, LOCATION, RETRY_AFTER};
use warp::http::{HeaderMap, HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

/// Reason why a request was not carried out. Rendered as the JSON error of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: ErrorCode,
    /// The event, its meaning for the data, and the remedy.
    sentence: Cow<'static, str>,
    applied: Applied,
    detail: Detail,
}

/// Details of an error beside its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Detail {
    None,
    /// Methods allowed for the path.
    Allow(&'static str),
    /// Supported encodings of a body.
    Accepts(&'static str),
    /// The leader, and the URL of the same request there.
    Leader {
        leader: NodeUrl,
        location: String,
    },
    /// Closes the connection, which is one too many, whatever is requested on it.
    Closes,
    /// Revision of the store in which the key or lease was missing.
    Revision(Revision),
    /// The oldest revision that the node keeps.
    OldestRevision(Revision),
    /// The holder of a lock.
    Holder(Box<LockPlace>),
}

impl ApiError {
    /// An error that promises that nothing was changed, as nearly all do.
    pub(super) fn new(code: ErrorCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { code, sentence: sentence.into(), applied: Applied::No, detail: Detail::None }
    }

    /// The request breaks a rule of the API. The sentence says which rule, and what to send instead.
    pub(super) fn invalid(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, sentence)
    }

    /// The body did not arrive in time. The rest of it is not awaited.
    pub(super) fn body_too_slow() -> Self {
        Self::invalid("the body did not arrive in time: send it again")
    }

    /// The body is larger than any request needs. It is not read to its end.
    pub(super) fn body_too_large(bytes_max: usize) -> Self {
        let sentence = format!("this body may have at most {bytes_max} bytes (see --max-value-bytes of kvd)");
        Self::new(ErrorCode::TooLarge, sentence)
    }

    /// The body has an encoding that this node does not decode. It is not read.
    pub(super) fn unsupported_encoding(encoding: &str) -> Self {
        let sentence = format!(
            "the body has the Content-Encoding {encoding:?}, which kvd does not decode, so nothing was stored: send it as it \
             is, without that header"
        );
        Self { detail: Detail::Accepts("identity"), ..Self::new(ErrorCode::UnsupportedEncoding, sentence) }
    }

    /// A value is larger than this node accepts.
    pub(super) fn value_too_large(bytes_max: usize) -> Self {
        let sentence = format!("a value may have at most {bytes_max} bytes (see --max-value-bytes of kvd)");
        Self::new(ErrorCode::TooLarge, sentence)
    }

    /// A transaction is larger than this node accepts.
    pub(super) fn txn_too_large(bytes: usize, bytes_max: usize) -> Self {
        let sentence = format!(
            "the transaction takes {bytes} bytes, and at most {bytes_max} are allowed (see --max-txn-bytes of kvd): \
             split it"
        );
        Self::new(ErrorCode::TooLarge, sentence)
    }

    /// Large bodies of other requests use all the memory reserved for bodies.
    pub(super) fn bodies_too_many() -> Self {
        Self::overloaded("too many large requests are in flight: try again shortly")
    }

    /// Large replies to other requests use all the memory reserved for replies.
    pub(super) fn replies_too_many() -> Self {
        Self::overloaded("too many large replies are in flight: try again shortly")
    }

    /// Too many things are under way; the sentence says which. Nothing was begun.
    pub(crate) fn overloaded(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Overloaded, sentence)
    }

    /// The leader's store is full.
    pub(super) fn store_full() -> Self {
        Self::new(
            ErrorCode::StoreFull,
            "the store is full, and nothing was written: delete keys, or raise --max-store-bytes on all nodes. What adds \
             nothing (deletes, keepalives, shorter values) still works",
        )
    }

    /// There are more connections than the node serves.
    pub(super) fn crowded() -> Self {
        let sentence = "this node has too many connections: try again shortly, or ask another one";
        Self { detail: Detail::Closes, ..Self::overloaded(sentence) }
    }

    /// The request comes from a web page of another origin.
    pub(super) fn forbidden_origin() -> Self {
        Self::new(
            ErrorCode::ForbiddenOrigin,
            "requests from web pages of another origin are not allowed: use curl, kvctl or a client library",
        )
    }

    /// The request comes from a browser, for a host name that could belong to anyone.
    pub(super) fn forbidden_host() -> Self {
        Self::new(
            ErrorCode::ForbiddenHost,
            "browsers must address this node by an IP address, localhost, or a name in --advertise-client-url",
        )
    }

    /// The key does not exist in the store at this revision.
    pub(super) fn key_not_found(revision: Revision) -> Self {
        let sentence = "key not found";
        Self { detail: Detail::Revision(revision), ..Self::new(ErrorCode::KeyNotFound, sentence) }
    }

    /// The lease does not exist, or is ending, in the store at this revision.
    pub(super) fn lease_not_found(lease: LeaseId, revision: Option<Revision>) -> Self {
        let sentence = format!("there is no lease {lease}: it has ended, or was never granted");
        let detail = revision.map_or(Detail::None, Detail::Revision);
        Self { detail, ..Self::new(ErrorCode::LeaseNotFound, sentence) }
    }

    /// The node no longer keeps the revision that the request names.
    pub(super) fn compacted(forgotten: Forgotten) -> Self {
        let oldest = forgotten.oldest;
        let sentence = format!(
            "this revision is no longer kept; the oldest is {oldest}: begin anew without a revision, or set a larger \
             --history-bytes on kvd"
        );
        Self { detail: Detail::OldestRevision(oldest), ..Self::new(ErrorCode::Compacted, sentence) }
    }

    /// No node has reached the revision `asked`. This node's store is at `reached`.
    pub(super) fn future_revision(asked: Revision, reached: Revision) -> Self {
        let sentence =
            format!("revision {asked} is yet to come, the store is at {reached}: use a revision from a reply");
        Self::new(ErrorCode::FutureRevision, sentence)
    }

    /// Another client holds the lock, and the time to wait is over.
    pub(super) fn lock_held(holder: LockPlace) -> Self {
        let sentence = "another holds the lock, see `holder`: try again later, or wait longer with `wait_ms`";
        Self { detail: Detail::Holder(Box::new(holder)), ..Self::new(ErrorCode::LockHeld, sentence) }
    }

    /// The path does not exist.
    pub(super) fn path_not_found() -> Self {
        Self::new(
            ErrorCode::NotFound,
            "no such endpoint; available: POST /set, POST /delete, POST /txn, GET /get, GET /list, GET /history, \
             GET /watch, POST /lock, POST /unlock, GET /lock, POST /lease/grant, GET /leases, GET /health, GET /members, GET /leader, GET /snapshot",
        )
    }

    /// The path does not allow the method. `allow` lists the allowed ones; `None` if another part of the daemon answers
    /// the path.
    pub(super) fn method_not_allowed(allow: Option<&'static str>) -> Self {
        let methods = allow.unwrap_or("another method");
        let sentence = format!("method not allowed; use {methods}");
        let detail = allow.map_or(Detail::None, Detail::Allow);
        Self { detail, ..Self::new(ErrorCode::MethodNotAllowed, sentence) }
    }

    /// Another node leads, and answers this request at `location`.
    pub(super) fn not_leader(leader: NodeUrl, location: String) -> Self {
        let sentence = format!("{} is the leader: send the request there", leader.id);
        Self { detail: Detail::Leader { leader, location }, ..Self::new(ErrorCode::NotLeader, sentence) }
    }

    /// No node can answer at the moment, and nothing was changed. The sentence says why.
    pub(super) fn no_leader(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NoLeader, sentence)
    }

    /// A leader is known, but something prevents this node from doing its part. The sentence says what.
    pub(super) fn not_ready(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotReady, sentence)
    }

    /// This node's data differs from that of the other nodes.
    pub(super) fn diverged() -> Self {
        Self::new(
            ErrorCode::Diverged,
            "this node's data differs from that of the other nodes, so it no longer serves requests: ask another node, \
             and see this node's log for what to do",
        )
    }

    /// The request was passed on, and its outcome will not become known here.
    pub(super) fn outcome_unknown(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { applied: Applied::Unknown, ..Self::new(ErrorCode::Timeout, sentence) }
    }

    /// A newer request of the same client name has been applied, or the reply to this request is gone.
    pub(super) fn stale_request(newest: u64) -> Self {
        let sentence = format!(
            "this client has already used this or a later seq (the newest is {newest}), and the result of this one is \
             no longer known: use a higher seq for a new write"
        );
        Self { applied: Applied::Unknown, ..Self::new(ErrorCode::StaleRequest, sentence) }
    }

    /// No quorum confirmed a read in time.
    pub(super) fn read_timed_out() -> Self {
        let sentence = "no quorum confirmed the leader in time: try again, or read with consistency=stale";
        Self::new(ErrorCode::Timeout, sentence)
    }

    /// A defect of this node.
    pub(super) fn internal() -> Self {
        Self::new(ErrorCode::Unknown, "internal error: see the log of this node")
    }

    /// The error of another node's answer.
    pub fn from_node(error: ErrorBody) -> Self {
        let ErrorBody { code, message, applied, .. } = error;
        Self { code, sentence: message.into(), applied, detail: Detail::None }
    }

    /// Returns the error's code.
    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the sentence.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Returns the promise: whether the request may still take effect.
    pub(super) fn applied(&self) -> Applied {
        self.applied
    }

    /// Converts the error to its JSON form, for a client or another node.
    pub fn into_body(self) -> ErrorBody {
        let Self { code, sentence, applied, detail } = self;
        let body = ErrorBody::new(code, sentence, applied);
        match detail {
            Detail::Leader { leader, .. } => ErrorBody { leader: Some(leader), ..body },
            Detail::Holder(holder) => ErrorBody { holder: Some(holder), ..body },
            Detail::OldestRevision(oldest) => ErrorBody { oldest_revision: Some(oldest), ..body },
            Detail::None | Detail::Allow(_) | Detail::Accepts(_) | Detail::Closes | Detail::Revision(_) => body,
        }
    }
}

impl From<InvalidCommand> for ApiError {
    fn from(error: InvalidCommand) -> Self {
        let code = match error {
            InvalidCommand::TooManyOperations | InvalidCommand::TooManyLeases { .. } => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl Reply for ApiError {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        if matches!(self.code, ErrorCode::Overloaded | ErrorCode::NoLeader | ErrorCode::NotReady) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        match &self.detail {
            Detail::None | Detail::OldestRevision(_) | Detail::Holder(_) => {}
            Detail::Allow(methods) => drop(headers.insert(ALLOW, HeaderValue::from_static(methods))),
            Detail::Accepts(encodings) => {
                drop(headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encodings)));
            }
            // Only a member with an unprintable URL lacks this header; the body has the URL anyway.
            Detail::Leader { location, .. } => {
                headers.extend(HeaderValue::try_from(location).ok().map(|location| (LOCATION, location)));
            }
            Detail::Closes => drop(headers.insert(CONNECTION, HeaderValue::from_static("close"))),
            Detail::Revision(revision) => drop(headers.insert(&reply::REVISION, (*revision).into())),
        }
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply::json(status, &ErrorReply { error: self.into_body() });
        response.headers_mut().extend(headers);
        response
    }
}

/// The reply to a write whose condition failed. It is the only error that may be large, so it is rendered separately.
pub(super) fn condition_failed(current: Option<Item>) -> ErrorReply {
    let sentence = "condition failed, nothing written; `current` is the key as it is now";
    let body = ApiError::new(ErrorCode::ConditionFailed, sentence).into_body();
    ErrorReply { error: ErrorBody { current: Some(current), ..body } }
}
