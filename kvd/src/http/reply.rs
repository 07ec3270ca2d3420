//! Successful replies, and the shape that all replies share.

use bytes::Bytes;
use serde::Serialize;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::{Reply as _, Response};

/// Beside a raw value: the revision of the last write to its key.
static MOD_REVISION: HeaderName = HeaderName::from_static("x-kvd-mod-revision");

/// `body` as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => uncached(status, "application/json", bytes.into()),
        // Only a map whose keys are no strings fails, and no type of the API has one.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// 200 with `body` as JSON.
pub(super) fn ok(body: &impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// 200 with a value alone.
pub(super) fn raw(value: Bytes, mod_revision: u64) -> Response {
    let mut response = uncached(StatusCode::OK, "application/octet-stream", value);
    response.headers_mut().insert(MOD_REVISION.clone(), mod_revision.into());
    response
}

/// No cache on the way may keep a reply: given out later it would be a stale read.
fn uncached(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
