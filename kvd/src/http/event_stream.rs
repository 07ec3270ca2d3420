//! Server-Sent Events: a reply without a fixed end.

use super::reply::uncached;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use std::convert::Infallible;
use warp::http::StatusCode;
use warp::reply::{Reply as _, Response};

/// Content type of event streams.
const EVENTS: &str = "text/event-stream";

/// A comment line, which clients ignore. It shows each end of the connection that the other is still there.
pub(super) const COMMENT: &[u8] = b": still here\n\n";

/// 200 with a stream of events.
pub(super) fn reply(events: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Response {
    let body = warp::reply::stream(events.map(Ok::<_, Infallible>)).into_response();
    uncached(StatusCode::OK, EVENTS, body)
}

/// Writes one event. The id is what a client that was cut off sends as `Last-Event-ID`.
pub(super) fn write(to: &mut Vec<u8>, id: Option<&str>, name: &str, data: &impl Serialize) {
    let start = to.len();
    if let Some(id) = id {
        to.extend_from_slice(b"id: ");
        to.extend_from_slice(id.as_bytes());
        to.push(b'\n');
    }
    to.extend_from_slice(b"event: ");
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b"\ndata: ");
    // JSON has no line breaks outside of strings, and escapes those within. Only a map whose keys are not strings
    // fails, and no type of the API has one.
    if serde_json::to_writer(&mut *to, data).is_err() {
        to.truncate(start);
    }
    to.extend_from_slice(b"\n\n");
}
