//! `/watch`: every change of some keys, once and in order, as Server-Sent Events.
//!
//! A watch is a [watcher](super::watchers) whose position moves through the history of this node. `begin` decides where
//! it starts, `present` reads the items that are there already, `changes` what has changed since, and `stream` sends
//! both, and reports how fresh they are. Nothing is queued: changes that a client has yet to read stay in the history.
//! Once they are no longer there, the stream ends with `compacted`.

mod begin;
mod changes;
mod present;
mod stream;

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::freshness::Freshness;
use super::reply;
use super::request::{Request, from_json};
use begin::Begun;
use kvclient::api::WatchRequest;
use warp::reply::Response;

/// Most ranges of one watch.
const RANGES_MAX: usize = 10_000;

/// `GET /watch`, and `POST /watch` for what a query cannot hold.
pub(super) async fn watch(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    let asked = if request.is_post() {
        request.query(|_| Ok(()))?;
        let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
        from_json(&bytes, r#"{"ranges":[{"prefix":"app/"}]}"#)?
    } else {
        request.query(WatchRequest::take)?
    };
    if asked.ranges.len() > RANGES_MAX {
        return Err(ApiError::invalid(format!("one watch has at most {RANGES_MAX} ranges: use prefixes, or several")));
    }
    let place = context.streams.begin()?;
    let freshness = Freshness::of(asked.read);
    let begun = Begun::at(context, &request, &asked, &freshness).await?;
    let position = begun.position;
    Ok(reply::at_revision(freshness.sign(context, stream::answer(context, &asked, begun, place)), position))
}
