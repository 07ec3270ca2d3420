//! Successful replies, and the shape that all replies share.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use kvclient::api::headers;
use serde::Serialize;
use std::convert::Infallible;
use std::io;
use warp::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply as _, Response};

pub(super) static REVISION: HeaderName = HeaderName::from_static(headers::REVISION);
static TERM: HeaderName = HeaderName::from_static(headers::TERM);
static SNAPSHOT_REVISION: HeaderName = HeaderName::from_static(headers::SNAPSHOT_REVISION);
static MOD_REVISION: HeaderName = HeaderName::from_static(headers::MOD_REVISION);

/// Content type of everything but JSON.
const OCTETS: &str = "application/octet-stream";

/// Content type of JSON.
pub(super) const JSON: &str = "application/json";

/// Content type of JSON in lines, one value each.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Returns `body` as JSON with a newline, so that a user of `curl` finds the prompt on a line of its own.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            uncached(status, JSON, Response::new(bytes.into()))
        }
        // Only a map whose keys are not strings fails, and no type of the API has one.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 200 with `body` as JSON.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// Adds the term of the answering node to the reply.
pub(super) fn of_term(mut response: Response, term: u64) -> Response {
    response.headers_mut().insert(TERM.clone(), term.into());
    response
}

/// Adds the revision of the store to the reply.
pub(super) fn at_revision(mut response: Response, revision: u64) -> Response {
    response.headers_mut().insert(REVISION.clone(), revision.into());
    response
}

/// 200 with only a value, from a store at `revision`.
pub(super) fn raw(value: Bytes, mod_revision: u64, revision: u64) -> Response {
    let mut response = uncached(StatusCode::OK, OCTETS, Response::new(value.into()));
    response.headers_mut().insert(MOD_REVISION.clone(), mod_revision.into());
    at_revision(response, revision)
}

/// 200 with `length` bytes that arrive in chunks, from a store at `revision`.
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

/// 200 with JSON that has been written.
pub(super) fn json_bytes(json: Bytes) -> Response {
    uncached(StatusCode::OK, JSON, Response::new(json.into()))
}

/// 200 with JSON that arrives in chunks. An error breaks the connection off.
pub(super) fn json_chunks(chunks: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Response {
    uncached(StatusCode::OK, JSON, warp::reply::stream(chunks).into_response())
}

/// 200 with lines of JSON that arrive in chunks.
pub(super) fn lines(chunks: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Response {
    let body = warp::reply::stream(chunks.map(Ok::<_, Infallible>)).into_response();
    uncached(StatusCode::OK, NDJSON, body)
}

/// Forbids caching of a reply: served later from a cache, it would be a stale read.
pub(super) fn uncached(status: StatusCode, content_type: &'static str, mut response: Response) -> Response {
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
