//! Errors: their kinds, and the promise that each makes.

use super::item::Item;
use super::leader::NodeUrl;
use super::lock_place::LockPlace;
use super::optional::nullable;
use serde::{Deserialize, Serialize};

/// Body of every reply that is not a success: `{"error":{...}}`.
///
/// ```
/// use kvclient::api::{ErrorCode, ErrorReply};
///
/// let json = r#"{"error":{"code":"key_not_found","message":"there is no such key","applied":"no"}}"#;
/// let reply: ErrorReply = serde_json::from_str(json)?;
/// assert_eq!(reply.error.code, ErrorCode::KeyNotFound);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}

/// The error itself: its code, its message, and details for some codes.
///
/// ```
/// use kvclient::api::{Applied, ErrorBody};
///
/// let json = r#"{"code":"condition_failed","message":"the condition does not hold","applied":"no","current":null}"#;
/// let error: ErrorBody = serde_json::from_str(json)?;
/// assert_eq!((error.applied, error.current), (Applied::No, Some(None)));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The kind of error, for programs.
    pub code: ErrorCode,
    /// One sentence that says what to do, for people.
    pub message: String,
    /// Effect that the request may have had.
    pub applied: Applied,
    /// With `not_leader`: the leader, which answers this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeUrl>,
    /// With `condition_failed`: the present item, null if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nullable")]
    pub current: Option<Option<Item>>,
    /// With `compacted`: the oldest revision that the node keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_revision: Option<u64>,
    /// With `lock_held`: the holder of the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Box<LockPlace>>,
}

impl ErrorBody {
    /// Creates an error that has only what every error has.
    ///
    /// ```
    /// use kvclient::api::{Applied, ErrorBody, ErrorCode};
    ///
    /// let error = ErrorBody {
    ///     oldest_revision: Some(7),
    ///     ..ErrorBody::new(ErrorCode::Compacted, "list the keys again", Applied::No)
    /// };
    /// let json = r#"{"code":"compacted","message":"list the keys again","applied":"no","oldest_revision":7}"#;
    /// assert_eq!(serde_json::to_string(&error)?, json);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(code: ErrorCode, message: impl Into<String>, applied: Applied) -> Self {
        let message = message.into();
        Self { code, message, applied, leader: None, current: None, oldest_revision: None, holder: None }
    }
}

/// A promise about a request that did not succeed.
///
/// ```
/// use kvclient::api::Applied;
///
/// assert_eq!(serde_json::from_str::<Applied>(r#""unknown""#)?, Applied::Unknown);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It has not changed anything and never will.
    No,
    /// It may have taken effect, or may still.
    Unknown,
}

/// The kinds of error, each with one HTTP status.
///
/// ```
/// use kvclient::api::ErrorCode;
///
/// assert_eq!(serde_json::from_str::<ErrorCode>(r#""no_leader""#)?, ErrorCode::NoLeader);
/// assert_eq!(serde_json::from_str::<ErrorCode>(r#""of_a_newer_daemon""#)?, ErrorCode::Unknown);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// 307: another node leads; `Location` and `leader` name it.
    NotLeader,
    /// 400: not JSON, a missing, unknown or ill-typed field, a bad key.
    InvalidRequest,
    /// 400: a revision that the cluster has yet to reach.
    FutureRevision,
    /// 401: no credentials, or bad ones.
    Unauthenticated,
    /// 403: the user has no right to do this.
    PermissionDenied,
    /// 403: the request comes from a web page of another origin.
    ForbiddenOrigin,
    /// 403: a browser asks for the node by a name that may be anyone's.
    ForbiddenHost,
    /// 403: the request is meant for another cluster, or comes from a node of another cluster.
    WrongCluster,
    /// 403: a removed node asked to join again.
    Removed,
    /// 404: no such key.
    KeyNotFound,
    /// 404: no member of this name.
    MemberNotFound,
    /// 404: there is no such lease, or it has ended.
    LeaseNotFound,
    /// 404: no such path.
    NotFound,
    /// 405: the path exists, but not for this method.
    MethodNotAllowed,
    /// 409: this request or a newer one of the same client name has been applied, and the reply to this one is no
    /// longer stored.
    StaleRequest,
    /// 409: leadership was not transferred; the message says why, and who leads.
    TransferFailed,
    /// 409: the members cannot be changed like that, or not now; the message says why and what to do.
    ChangeRefused,
    /// 409: a lease with this id exists already.
    LeaseExists,
    /// 409: another client holds the lock, and the time to wait for it is over; `holder` describes the holder.
    LockHeld,
    /// 409: the lock was no longer held.
    LockLost,
    /// 410: the state or the changes of this revision are no longer kept; `oldest_revision` is the first that is.
    Compacted,
    /// 412: the condition did not hold; `current` is the present item.
    ConditionFailed,
    /// 413: larger than this node accepts.
    TooLarge,
    /// 415: the body is compressed, or encoded in another way that this node does not decode.
    UnsupportedEncoding,
    /// 429: too much in flight.
    Overloaded,
    /// 503: no leader known, or leadership was lost before the request entered the log.
    NoLeader,
    /// 503: a leader is known, but the node still applies what was committed when it started, or cannot do its part for
    /// another reason; the message says which.
    NotReady,
    /// 503: this node's data differs from that of the other nodes, so it no longer serves. Ask another node.
    Diverged,
    /// 503: this node has not reached the requested revision in time, or may be further behind than a stale read
    /// allows. Another node may serve the read.
    TooStale,
    /// 507: the store has reached its largest size. Deletes, and smaller values, are still accepted.
    StoreFull,
    /// 504: no quorum answered in time.
    Timeout,
    /// A code of a newer daemon.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Returns the HTTP status that goes with this code.
    ///
    /// ```
    /// assert_eq!(kvclient::api::ErrorCode::StaleRequest.status(), 409);
    /// ```
    pub fn status(self) -> u16 {
        match self {
            Self::NotLeader => 307,
            Self::InvalidRequest | Self::FutureRevision => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied
            | Self::ForbiddenOrigin
            | Self::ForbiddenHost
            | Self::WrongCluster
            | Self::Removed => 403,
            Self::KeyNotFound | Self::MemberNotFound | Self::LeaseNotFound | Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::StaleRequest
            | Self::TransferFailed
            | Self::ChangeRefused
            | Self::LeaseExists
            | Self::LockHeld
            | Self::LockLost => 409,
            Self::Compacted => 410,
            Self::ConditionFailed => 412,
            Self::TooLarge => 413,
            Self::UnsupportedEncoding => 415,
            Self::Overloaded => 429,
            Self::Unknown => 500,
            Self::NoLeader | Self::NotReady | Self::Diverged | Self::TooStale => 503,
            Self::Timeout => 504,
            Self::StoreFull => 507,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_of_a_newer_daemon_is_no_parse_error() {
        assert_eq!(serde_json::from_str::<ErrorCode>(r#""brand_new""#).unwrap(), ErrorCode::Unknown);
        assert_eq!(serde_json::to_string(&ErrorCode::ForbiddenOrigin).unwrap(), r#""forbidden_origin""#);
    }

    #[test]
    fn the_codes_of_leases_locks_and_history_have_the_documented_statuses() {
        for (code, status) in [
            ("unauthenticated", 401),
            ("permission_denied", 403),
            ("lease_not_found", 404),
            ("lease_exists", 409),
            ("lock_held", 409),
            ("lock_lost", 409),
            ("compacted", 410),
            ("future_revision", 400),
            ("too_stale", 503),
            ("store_full", 507),
        ] {
            let read: ErrorCode = serde_json::from_str(&format!("{code:?}")).unwrap();
            assert_eq!((read == ErrorCode::Unknown, read.status()), (false, status), "{code}");
        }
    }

    #[test]
    fn a_lock_that_is_held_names_its_holder() {
        let json = r#"{"error":{"code":"lock_held","message":"wait longer","applied":"no","holder":{"lease":"00000000000004d2","token":57,"value":"10.0.0.1","held_ms":5}}}"#;
        let reply: ErrorReply = serde_json::from_str(json).unwrap();
        assert_eq!(reply.error.holder.as_ref().map(|holder| holder.token), Some(57));
        assert_eq!(serde_json::to_string(&reply).unwrap(), json);
    }
}
