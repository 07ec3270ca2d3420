//! The meaning of a node's answer, or of its absence, for the request: the one table of them.
//!
//! [`judge`] looks at a single attempt; `tally` adds them up.

use crate::api::{Applied, ErrorBody, ErrorCode, ErrorReply};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::transport::{Failure, Reply};
use std::time::Duration;

/// Kind of a request: one that can change something, or a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads: nothing is ever applied.
    Read,
    /// It writes.
    Write,
}

/// Reason why another attempt is worthwhile.
///
/// Ordered by how much it says about the cluster, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The operation ran out of time before the node was asked.
    TimeOver,
    /// The node was not reached, or said nothing.
    Unreachable,
    /// The node belongs to another cluster.
    WrongCluster,
    /// The node has no leader, or no quorum to serve with.
    NoLeader,
    /// The node has too much in flight.
    Overloaded,
}

/// Outcome of one attempt.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The cluster carried the request out.
    Done(Answer),
    /// There is no such key: an answer, not a failure.
    Missing {
        /// Revision of the store that has no such key, if the node says.
        revision: Option<u64>,
    },
    /// Another node should take this request.
    Redirect(Endpoint),
    /// No attempt anywhere will end differently.
    Refused(Error),
    /// Not now, or not here.
    Again(Again),
}

/// The cluster's answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The outcome of the request.
    pub(crate) body: Vec<u8>,
    /// The term in which it was answered, if the node says.
    pub(crate) term: Option<u64>,
    /// Revision of the store that served a read, if the node says.
    pub(crate) revision: Option<u64>,
}

/// An attempt that may be repeated.
#[derive(Debug)]
pub(crate) struct Again {
    /// The obstacle.
    pub(crate) reason: Reason,
    /// The obstacle, for people.
    pub(crate) detail: String,
    /// Effect that this attempt may have had.
    pub(crate) applied: Applied,
    /// Time for which the node asks not to be contacted.
    pub(crate) retry_after: Option<Duration>,
}

impl Again {
    /// Creates the outcome of an attempt that ended before the request reached a node that would carry it out.
    pub(crate) fn not_sent(reason: Reason, detail: String) -> Self {
        Self { reason, detail, applied: Applied::No, retry_after: None }
    }
}

/// Judges one attempt at `endpoint`.
pub(crate) fn judge(kind: Kind, endpoint: &Endpoint, result: Result<Reply, Failure>) -> Verdict {
    let reply = match result {
        Ok(reply) => reply,
        Err(failure) => return Verdict::Again(judge_failure(kind, endpoint, &failure)),
    };
    if reply.status == 200 {
        return Verdict::Done(Answer { body: reply.body, term: reply.term, revision: reply.revision });
    }
    match serde_json::from_slice::<ErrorReply>(&reply.body) {
        Ok(ErrorReply { error }) => judge_error(kind, endpoint, &reply, error),
        Err(_) => judge_stranger(kind, endpoint, &reply),
    }
}

fn judge_failure(kind: Kind, endpoint: &Endpoint, failure: &Failure) -> Again {
    let sent = !matches!(failure, Failure::NotSent(_));
    Again {
        reason: Reason::Unreachable,
        detail: format!("{endpoint}: {failure}"),
        applied: if sent { may_have(kind) } else { Applied::No },
        retry_after: None,
    }
}

fn judge_error(kind: Kind, endpoint: &Endpoint, reply: &Reply, error: ErrorBody) -> Verdict {
    let applied = if kind == Kind::Read { Applied::No } else { error.applied };
    let again = |reason, error: ErrorBody| {
        let detail = format!("{endpoint}: {}", error.message);
        Verdict::Again(Again { reason, detail, applied, retry_after: reply.retry_after })
    };
    let message = |error: ErrorBody| error.message;
    match error.code {
        ErrorCode::NotLeader => {
            let named = error.leader.and_then(|leader| Endpoint::parse(&leader.url).ok());
            redirect(endpoint, named.or_else(|| reply.location.as_deref().and_then(Endpoint::of_location)))
        }
        ErrorCode::KeyNotFound if kind == Kind::Read => Verdict::Missing { revision: reply.revision },
        ErrorCode::ConditionFailed => Verdict::Refused(Error::ConditionFailed { current: error.current.flatten() }),
        // Another node may lead, have the right data, or already be part of the cluster.
        ErrorCode::NoLeader | ErrorCode::NotReady | ErrorCode::Diverged | ErrorCode::TooStale => {
            again(Reason::NoLeader, error)
        }
        ErrorCode::Overloaded => again(Reason::Overloaded, error),
        // A write may still reach its quorum. A read found none, but another node may find one.
        ErrorCode::Timeout => again(Reason::NoLeader, error),
        // Its outcome is unknown, and asking again reveals no more.
        ErrorCode::StaleRequest => Verdict::Refused(Error::StaleRequest { message: message(error) }),
        _ if applied == Applied::Unknown => again(Reason::Unreachable, error),
        ErrorCode::InvalidRequest | ErrorCode::UnsupportedEncoding => {
            Verdict::Refused(Error::InvalidRequest { message: message(error) })
        }
        ErrorCode::FutureRevision => Verdict::Refused(Error::FutureRevision { message: message(error) }),
        ErrorCode::Compacted => {
            let oldest_revision = error.oldest_revision;
            Verdict::Refused(Error::Compacted { oldest_revision, message: message(error) })
        }
        ErrorCode::LeaseNotFound => Verdict::Refused(Error::LeaseNotFound { message: message(error) }),
        ErrorCode::LeaseExists => Verdict::Refused(Error::LeaseExists { message: message(error) }),
        ErrorCode::LockHeld => Verdict::Refused(Error::LockHeld { holder: error.holder, message: error.message }),
        ErrorCode::LockLost => Verdict::Refused(Error::LockLost { message: message(error) }),
        // The leader refuses before the log, and keeps refusing until something is deleted.
        ErrorCode::StoreFull => Verdict::Refused(Error::StoreFull { message: message(error) }),
        ErrorCode::MemberNotFound => Verdict::Refused(Error::MemberNotFound { message: message(error) }),
        // A removed node is a refused change as well.
        ErrorCode::ChangeRefused | ErrorCode::Removed => {
            Verdict::Refused(Error::ChangeRefused { message: message(error) })
        }
        ErrorCode::TooLarge => Verdict::Refused(Error::TooLarge { message: message(error) }),
        ErrorCode::TransferFailed => Verdict::Refused(Error::TransferFailed { message: message(error) }),
        ErrorCode::ForbiddenOrigin | ErrorCode::ForbiddenHost => {
            Verdict::Refused(Error::Forbidden { message: message(error) })
        }
        _ if reply.status >= 500 => again(Reason::Unreachable, error),
        _ => {
            let message = format!("status {}: {}", reply.status, error.message);
            Verdict::Refused(Error::Unexpected { endpoint: endpoint.to_string(), applied, message })
        }
    }
}

/// Returns the target of a redirect. A redirect to an address that this client cannot use comes from a node that does
/// not know the leader.
fn redirect(endpoint: &Endpoint, target: Option<Endpoint>) -> Verdict {
    let nowhere = || {
        let detail = format!("{endpoint} sent a redirect without a location");
        Verdict::Again(Again { reason: Reason::NoLeader, detail, applied: Applied::No, retry_after: None })
    };
    target.map_or_else(nowhere, Verdict::Redirect)
}

/// Judges an answer that does not come from kvd: a proxy in between, or another program on that port.
fn judge_stranger(kind: Kind, endpoint: &Endpoint, reply: &Reply) -> Verdict {
    let (location, applied) = (reply.location.as_deref(), may_have(kind));
    match reply.status {
        307 | 308 => redirect(endpoint, location.and_then(Endpoint::of_location)),
        status @ 500.. => Verdict::Again(Again {
            reason: Reason::Unreachable,
            detail: format!("{endpoint}: status {status} without an explanation"),
            applied,
            retry_after: reply.retry_after,
        }),
        status => {
            let message = format!("status {status} without an explanation");
            Verdict::Refused(Error::Unexpected { endpoint: endpoint.to_string(), applied, message })
        }
    }
}

/// Returns what a request may have done that was sent and not answered by a node of the cluster.
pub(super) fn may_have(kind: Kind) -> Applied {
    match kind {
        Kind::Read => Applied::No,
        Kind::Write => Applied::Unknown,
    }
}

#[cfg(test)]
mod tests;
