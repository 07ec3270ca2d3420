//! `GET /leader/watch`: Server-Sent Events, one for each change of leader that this node sees.
//!
//! The first event comes at once and has the present state. If several changes happen before the stream can be sent on,
//! only the last is sent: an event describes the present state, and older ones would only delay it. So a client that
//! does not read holds one event in memory instead of a history. Terms only grow, so a client recognizes missed changes
//! by the term. A comment line at intervals lets both ends notice that the other is gone. The stream ends when the node
//! stops; a client then asks another node.

use super::context::Context;
use super::error::ApiError;
use bytes::Bytes;
use futures_util::{Stream, stream};
use kvclient::api::LeaderEvent;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use warp::http::HeaderValue;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use warp::reply::{Reply as _, Response};

/// Time between comment lines.
const COMMENT_INTERVAL: Duration = Duration::from_secs(5);

const COMMENT: &[u8] = b": still here\n\n";

/// Answers with the stream.
pub(super) fn watch(context: &Context) -> Result<Response, ApiError> {
    let events = events(context.gateway.leader.clone(), context.gateway.stopping.clone());
    let mut response = warp::reply::stream(events).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Watch {
    leader: watch::Receiver<LeaderEvent>,
    stopping: watch::Receiver<()>,
    comments: Interval,
    told: Option<LeaderEvent>,
}

fn events(
    leader: watch::Receiver<LeaderEvent>,
    stopping: watch::Receiver<()>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let mut comments = tokio::time::interval_at(Instant::now() + COMMENT_INTERVAL, COMMENT_INTERVAL);
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { leader, stopping, comments, told: None };
    stream::unfold(watch, |mut watch| async move { watch.next().await.map(|bytes| (Ok(bytes), watch)) })
}

impl Watch {
    /// Returns the next event or comment; `None` once the node stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let event = self.leader.borrow_and_update().clone();
            if self.told.as_ref() != Some(&event) {
                let data = serde_json::to_string(&event).ok()?;
                self.told = Some(event);
                return Some(format!("event: leader\ndata: {data}\n\n").into());
            }
            tokio::select! {
                changed = self.leader.changed() => changed.ok()?,
                _ = self.stopping.changed() => return None,
                _ = self.comments.tick() => return Some(Bytes::from_static(COMMENT)),
            }
        }
    }
}
