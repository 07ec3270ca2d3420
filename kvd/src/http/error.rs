//! How a request can fail: each way gets its status, code, promise and sentence, in one `match`.
//!
//! The statuses themselves belong to the codes ([`ErrorCode::status`]), so that daemon and clients
//! cannot disagree about them.

use crate::kv::InvalidCommand;
use crate::node::ReadError;
use kvclient::api::{Applied, ErrorBody, ErrorCode, ErrorReply, Item, NodeUrl};
use std::borrow::Cow;
use warp::http::header::{ALLOW, CONNECTION, HeaderName, LOCATION, RETRY_AFTER};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply, Response};

/// Why a request was not carried out. Rendered as the JSON error of the API.
#[derive(Debug, PartialEq)]
pub(super) enum ApiError {
    /// The request breaks a rule of the API; the sentence says which, and what to send instead.
    InvalidRequest(Cow<'static, str>),
    /// The body did not arrive in time. What is left of it is not waited for.
    BodyTooSlow,
    /// Large bodies of other requests take all the memory there is for them.
    BodiesTooMany,
    /// Large replies to other requests take all the memory there is for them.
    RepliesTooMany,
    /// The body is larger than any request needs. It is not read to its end.
    BodyTooLarge { bytes_max: usize },
    /// A value is larger than this node accepts.
    ValueTooLarge { bytes_max: usize },
    /// A web page of another origin asks.
    ForbiddenOrigin,
    /// A browser asks for a name that may be anyone's.
    ForbiddenHost,
    /// No such key.
    KeyNotFound,
    /// No such member; the sentence says who is.
    MemberNotFound(String),
    /// A node was removed, and cannot be added again under its id.
    WasRemoved(String),
    /// The members cannot be changed like that, or not now; the sentence says why and what to do.
    ChangeRefused(String),
    /// No such path.
    PathNotFound,
    /// The path takes other methods: these, or unknown ones where another part of the daemon answers.
    MethodNotAllowed { allow: Option<&'static str> },
    /// This request or a newer one of the same client name has been applied, and the reply is gone.
    StaleRequest { newest: u64 },
    /// Too much is under way; the sentence says of what. Nothing was begun.
    Overloaded(&'static str),
    /// There are more connections than the node serves.
    Crowded,
    /// Another node leads, and answers this at `location`.
    NotLeader { leader: NodeUrl, location: String },
    /// Nobody can answer at the moment, and nothing was changed; the sentence says why.
    NoLeader(Cow<'static, str>),
    /// Leadership was not handed over; the sentence says why, and who leads.
    NotHandedOver(String),
    /// A leader is known, but something keeps this node from doing its part; the sentence says what.
    NotReady(Cow<'static, str>),
    /// This node holds other data than the others.
    Diverged,
    /// The write has been handed over, and its outcome will not be known here.
    OutcomeUnknown(&'static str),
    /// No quorum confirmed a read in time.
    ReadTimedOut,
    /// A filter of another part of the daemon failed; a defect.
    Internal,
}

impl ApiError {
    pub(super) fn invalid(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidRequest(sentence.into())
    }
}

impl From<InvalidCommand> for ApiError {
    fn from(error: InvalidCommand) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoLeader => {
                Self::NoLeader("no leader is known: try again shortly, or read with consistency=stale".into())
            }
            ReadError::Overloaded => Self::Overloaded("too many reads wait for a quorum: try again shortly"),
            ReadError::TimedOut => Self::ReadTimedOut,
        }
    }
}

impl Reply for ApiError {
    fn into_response(self) -> Response {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        let retry_after = (RETRY_AFTER, HeaderValue::from_static("1"));
        let error = match self {
            Self::InvalidRequest(sentence) => error(ErrorCode::InvalidRequest, sentence),
            Self::BodyTooSlow => {
                error(ErrorCode::InvalidRequest, "the body did not arrive in time: send it again, without pauses")
            }
            Self::BodiesTooMany => {
                headers.push(retry_after);
                error(ErrorCode::Overloaded, "too many large bodies are under way: try again shortly")
            }
            Self::RepliesTooMany => {
                headers.push(retry_after);
                error(ErrorCode::Overloaded, "too many large replies are under way: try again shortly")
            }
            Self::BodyTooLarge { bytes_max } => error(
                ErrorCode::TooLarge,
                format!("this body may have at most {bytes_max} bytes (see --max-value-bytes of kvd)"),
            ),
            Self::ValueTooLarge { bytes_max } => {
                let sentence = format!("a value may have at most {bytes_max} bytes (see --max-value-bytes of kvd)");
                error(ErrorCode::TooLarge, sentence)
            }
            Self::ForbiddenOrigin => error(
                ErrorCode::ForbiddenOrigin,
                "requests from web pages of another origin are refused: use curl, kvctl or a client library",
            ),
            Self::ForbiddenHost => error(
                ErrorCode::ForbiddenOrigin,
                "browsers must ask for this node by an IP address, localhost, or a name that --advertise-client-url gives",
            ),
            Self::KeyNotFound => error(ErrorCode::KeyNotFound, "there is no such key: write it with POST /set"),
            Self::MemberNotFound(sentence) => error(ErrorCode::MemberNotFound, sentence),
            Self::WasRemoved(sentence) => error(ErrorCode::Removed, sentence),
            Self::ChangeRefused(sentence) => error(ErrorCode::ChangeRefused, sentence),
            Self::PathNotFound => {
                error(ErrorCode::NotFound, "there is no such path: see POST /set, GET /get, GET /health")
            }
            Self::MethodNotAllowed { allow } => {
                headers.extend(allow.map(|methods| (ALLOW, HeaderValue::from_static(methods))));
                let methods = allow.unwrap_or("another method");
                error(ErrorCode::MethodNotAllowed, format!("this path does not take this method: use {methods}"))
            }
            Self::StaleRequest { newest } => {
                let sentence = format!(
                    "this seq or a later one of this client has been applied already (the newest is {newest}), and what \
                     became of this one is not known any more: use a higher seq for a new write"
                );
                ErrorBody { applied: Applied::Unknown, ..error(ErrorCode::StaleRequest, sentence) }
            }
            Self::Overloaded(sentence) => {
                headers.push(retry_after);
                error(ErrorCode::Overloaded, sentence)
            }
            Self::Crowded => {
                // The connection is one too many, whatever comes over it.
                headers.extend([(CONNECTION, HeaderValue::from_static("close")), retry_after]);
                error(
                    ErrorCode::Overloaded,
                    "this node has too many connections: try again shortly, or ask another one",
                )
            }
            Self::NotLeader { leader, location } => {
                // Only a member with an unprintable URL has no such header; the body names it all the same.
                headers.extend(HeaderValue::try_from(location).ok().map(|location| (LOCATION, location)));
                let sentence = format!("{} leads: send the write there", leader.id);
                ErrorBody { leader: Some(leader), ..error(ErrorCode::NotLeader, sentence) }
            }
            Self::NoLeader(sentence) => {
                headers.push(retry_after);
                error(ErrorCode::NoLeader, sentence)
            }
            Self::NotHandedOver(sentence) => error(ErrorCode::TransferFailed, sentence),
            Self::NotReady(sentence) => {
                headers.push(retry_after);
                error(ErrorCode::NotReady, sentence)
            }
            Self::Diverged => error(
                ErrorCode::Diverged,
                "what this node holds was found to differ from what the other nodes hold, so it serves nothing any more: ask \
                 another node, and see this one's log for what to do",
            ),
            Self::OutcomeUnknown(sentence) => {
                ErrorBody { applied: Applied::Unknown, ..error(ErrorCode::Timeout, sentence) }
            }
            Self::ReadTimedOut => error(
                ErrorCode::Timeout,
                "no quorum confirmed the leader in time: try again, or read with consistency=stale",
            ),
            Self::Internal => error(ErrorCode::Unknown, "this node could not answer: see its log"),
        };
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = super::reply::json(status, &ErrorReply { error });
        response.headers_mut().extend(headers);
        response
    }
}

/// What a write is told whose condition did not hold. The one error that may be large, so it is rendered apart.
pub(super) fn condition_failed(current: Option<Item>) -> ErrorReply {
    let sentence = "the condition does not hold: see `current` for what is there";
    ErrorReply { error: ErrorBody { current: Some(current), ..error(ErrorCode::ConditionFailed, sentence) } }
}

/// An error that promises that nothing was changed: what nearly all of them promise.
fn error(code: ErrorCode, sentence: impl Into<String>) -> ErrorBody {
    ErrorBody { code, message: sentence.into(), applied: Applied::No, leader: None, current: None }
}
