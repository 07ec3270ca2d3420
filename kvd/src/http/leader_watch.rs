//! `GET /leader/watch`: Server-Sent Events, one for each change of leader that this node sees.
//!
//! The first event comes at once and has the present state. If several changes happen before the stream can be sent on,
//! only the last is sent: an event describes the present state, and older ones would only delay it. So a client that
//! does not read holds one event in memory instead of a history. Terms only grow, so a client recognizes missed changes
//! by the term. A comment line at intervals lets both ends notice that the other is gone. The stream ends when the node
//! stops; a client then asks another node.

use super::context::Context;
use super::error::ApiError;
use super::event_stream;
use super::streams::StreamPlace;
use bytes::Bytes;
use futures_util::stream;
use kvclient::api::LeaderEvent;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use warp::reply::Response;

/// Time between comment lines.
const COMMENT_INTERVAL: Duration = Duration::from_secs(5);

/// Answers with the stream.
pub(super) fn watch(context: &Context) -> Result<Response, ApiError> {
    let place = context.streams.begin()?;
    let (leader, stopping) = (context.gateway.leader.clone(), context.gateway.stopping.clone());
    let mut comments = tokio::time::interval_at(Instant::now() + COMMENT_INTERVAL, COMMENT_INTERVAL);
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch { leader, stopping, comments, told: None, _place: place };
    let events = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|bytes| (bytes, watch)) });
    Ok(event_stream::reply(events))
}

struct Watch {
    leader: watch::Receiver<LeaderEvent>,
    stopping: watch::Receiver<()>,
    comments: Interval,
    told: Option<LeaderEvent>,
    _place: StreamPlace,
}

impl Watch {
    /// Returns the next event or comment; `None` once the node stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let event = self.leader.borrow_and_update().clone();
            if self.told.as_ref() != Some(&event) {
                let mut text = Vec::new();
                event_stream::write(&mut text, None, "leader", &event);
                self.told = Some(event);
                return Some(text.into());
            }
            tokio::select! {
                changed = self.leader.changed() => changed.ok()?,
                _ = self.stopping.changed() => return None,
                _ = self.comments.tick() => return Some(Bytes::from_static(event_stream::COMMENT)),
            }
        }
    }
}
