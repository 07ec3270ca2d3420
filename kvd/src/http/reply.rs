//! Successful replies, and the shape that all replies share.
//!
//! A reply stays in memory until the client has taken it, which may be never. So a large one is charged
//! against a budget that all connections share, from before its value is copied until its last byte is written.

use super::error::ApiError;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply as _, Response};

/// In replies to reads: the revision of the store that served them.
pub(super) static REVISION: HeaderName = HeaderName::from_static("kvd-revision");

/// In replies to writes and linearizable reads: the term of the node that answered.
static TERM: HeaderName = HeaderName::from_static("kvd-term");

/// Beside a snapshot: the revision of the store in it.
static SNAPSHOT_REVISION: HeaderName = HeaderName::from_static("x-kvd-revision");

/// Beside a raw value: the revision of the last write to its key.
static MOD_REVISION: HeaderName = HeaderName::from_static("x-kvd-mod-revision");

/// The content type of what is no JSON.
const OCTETS: &str = "application/octet-stream";

/// Up to this many bytes a reply is not charged.
const UNCHARGED_BYTES_MAX: usize = 64 << 10;

/// Memory for large replies, shared by all connections; cheap to clone.
#[derive(Clone)]
pub(super) struct ReplyBudget {
    /// One permit for each byte.
    bytes: Arc<Semaphore>,
}

/// What a reply is charged; given back when dropped.
pub(super) struct Charge {
    bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// Nothing so far.
    pub(super) const NONE: Self = Self { bytes: 0, permits: None };
}

impl ReplyBudget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Charges a reply of `bytes`.
    ///
    /// # Errors
    /// [`ApiError`] where so much is not left.
    pub(super) fn charge(&self, bytes: usize) -> Result<Charge, ApiError> {
        if bytes <= UNCHARGED_BYTES_MAX {
            return Ok(Charge::NONE);
        }
        Ok(Charge { bytes, permits: Some(self.take(bytes)?) })
    }

    /// Lets a charge follow the size of a reply that turned out larger, and go with its bytes: the server
    /// drops those when they are written, or the connection is closed.
    ///
    /// # Errors
    /// [`ApiError`] where so much is not left.
    pub(super) fn attach(&self, charge: Charge, reply: Vec<u8>) -> Result<Bytes, ApiError> {
        struct Charged(Vec<u8>, #[expect(dead_code, reason = "held until dropped")] Option<OwnedSemaphorePermit>);
        impl AsRef<[u8]> for Charged {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let Charge { bytes, mut permits } = charge;
        if reply.len() > bytes.max(UNCHARGED_BYTES_MAX) {
            let more = self.take(reply.len() - bytes)?;
            match &mut permits {
                Some(permits) => permits.merge(more),
                None => permits = Some(more),
            }
        }
        Ok(if permits.is_some() { Bytes::from_owner(Charged(reply, permits)) } else { reply.into() })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).try_acquire_many_owned(permits).map_err(|_| ApiError::replies_too_many())
    }
}

/// `body` as JSON, charged to `budget`.
///
/// # Errors
/// [`ApiError`].
pub(super) fn charged(
    budget: &ReplyBudget,
    charge: Charge,
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(body).map_err(|_| ApiError::internal())?;
    Ok(uncached(status, "application/json", Response::new(budget.attach(charge, json)?.into())))
}

/// `body` as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => uncached(status, "application/json", Response::new(bytes.into())),
        // Only a map whose keys are no strings fails, and no type of the API has one.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 200 with `body` as JSON.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// The same reply, of a node in this term.
pub(super) fn of_term(mut response: Response, term: u64) -> Response {
    response.headers_mut().insert(TERM.clone(), term.into());
    response
}

/// The same reply, from a store at this revision.
pub(super) fn at_revision(mut response: Response, revision: u64) -> Response {
    response.headers_mut().insert(REVISION.clone(), revision.into());
    response
}

/// 200 with a value alone, from a store at `revision`.
pub(super) fn raw(value: Bytes, mod_revision: u64, revision: u64) -> Response {
    let mut response = uncached(StatusCode::OK, OCTETS, Response::new(value.into()));
    response.headers_mut().insert(MOD_REVISION.clone(), mod_revision.into());
    at_revision(response, revision)
}

/// 200 with `length` bytes that come in chunks, from a store at `revision`.
pub(super) fn stream(
    chunks: impl Stream<Item = Bytes> + Send + Sync + 'static,
    length: u64,
    revision: u64,
) -> Response {
    let mut response =
        uncached(StatusCode::OK, OCTETS, warp::reply::stream(chunks.map(Ok::<_, Infallible>)).into_response());
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.headers_mut().insert(SNAPSHOT_REVISION.clone(), revision.into());
    at_revision(response, revision)
}

/// No cache on the way may keep a reply: given out later it would be a stale read.
fn uncached(status: StatusCode, content_type: &'static str, mut response: Response) -> Response {
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_replies_are_charged_until_they_are_dropped() {
        let all = 4 * UNCHARGED_BYTES_MAX;
        let budget = ReplyBudget::new(all);
        let left = || budget.bytes.available_permits();
        let reply = |bytes| vec![b'x'; bytes];

        let small = budget.attach(Charge::NONE, reply(UNCHARGED_BYTES_MAX)).unwrap();
        assert_eq!((small.len(), left()), (UNCHARGED_BYTES_MAX, all), "small ones are free");

        let charge = budget.charge(all / 2).unwrap();
        assert_eq!(left(), all / 2, "before it is rendered");
        let large = budget.attach(charge, reply(all)).unwrap();
        assert_eq!(left(), 0, "as large as it turned out");
        assert_eq!(budget.charge(all).err(), Some(ApiError::replies_too_many()));
        assert_eq!(budget.attach(Charge::NONE, reply(all)), Err(ApiError::replies_too_many()));
        let part = large.slice(1..2);
        drop(large);
        assert_eq!(left(), 0, "while any of it is left to write");
        drop(part);
        assert_eq!(left(), all);

        let charge = budget.charge(all / 2).unwrap();
        assert_eq!(budget.attach(charge, reply(all + 1)), Err(ApiError::replies_too_many()));
        assert_eq!(left(), all, "nothing leaks from a failure");
    }
}
