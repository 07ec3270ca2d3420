//! `GET /lock/watch`: Server-Sent Events, one for each holder that this node sees.
//!
//! The first event comes at once and has the present holder. If the lock changes hands several times before the stream
//! can be sent on, only the last holder is sent.

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::event_stream;
use super::super::freshness::Freshness;
use super::super::gateway::Gateway;
use super::super::request::Request;
use super::super::streams::StreamPlace;
use super::super::watchers::{ToRead, Watcher};
use super::place::{held_ms, keys_of, to_place};
use crate::kv::Revision;
use bytes::Bytes;
use futures_util::stream;
use kvclient::api::{ErrorReply, HOLDER_EVENT, HolderEvent, LockQuery};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use warp::reply::Response;

/// Time between comment lines.
const COMMENT_INTERVAL: Duration = Duration::from_secs(5);

/// Answers with the stream.
pub(in crate::http) async fn watch(context: &Context, request: Request) -> Result<Response, ApiError> {
    let LockQuery { name, read } = request.query(LockQuery::take)?;
    let place = context.streams.begin()?;
    let freshness = Freshness::of(read);
    let time_ms = freshness.wait_timed(context, request.asker()).await?;
    let position = context.gateway.with_store(crate::kv::Store::revision);
    let mut comments = tokio::time::interval_at(Instant::now() + COMMENT_INTERVAL, COMMENT_INTERVAL);
    comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = context.watchers.join(keys_of(&name), position);
    let gateway = context.gateway.clone();
    let holders = Holders { gateway, name, watcher, comments, time_ms, told: None, has_ended: false, _place: place };
    let events = stream::unfold(holders, |mut holders| async { holders.next().await.map(|chunk| (chunk, holders)) });
    Ok(freshness.sign(context, event_stream::reply(events)))
}

struct Holders {
    gateway: Gateway,
    name: String,
    watcher: Watcher,
    comments: Interval,
    /// Cluster time of the read with which the stream began, for the first event.
    time_ms: Option<u64>,
    /// Token of the holder of the last event, once there was one.
    told: Option<Option<Revision>>,
    has_ended: bool,
    _place: StreamPlace,
}

impl Holders {
    /// Returns the next event or comment; `None` after the event that ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        loop {
            if let Err(error) = self.gateway.check_lives() {
                self.has_ended = true;
                return Some(event("error", &ErrorReply { error: error.into_body() }));
            }
            let looks = self.told.is_none() || matches!(self.watcher.take(), ToRead::From(_));
            if looks && let Some(event) = self.look() {
                return Some(event);
            }
            tokio::select! {
                () = self.watcher.woken() => {}
                () = self.gateway.stops() => {}
                _ = self.comments.tick() => return Some(Bytes::from_static(event_stream::COMMENT)),
            }
        }
    }

    /// Returns an event if there is another holder than the one that was told.
    fn look(&mut self) -> Option<Bytes> {
        let Self { gateway, name, time_ms, told, .. } = self;
        let found = gateway.with_store(|store| {
            let holder = store.holder(name.as_bytes());
            let token = holder.as_ref().map(|holder| holder.token);
            if *told == Some(token) {
                return None;
            }
            *told = Some(token);
            let held_ms = held_ms(store, name, time_ms.take());
            let holder = holder.map(|holder| to_place(holder, held_ms));
            Some(HolderEvent { name: name.clone(), holder, revision: store.revision() })
        });
        found.map(|found| event(HOLDER_EVENT, &found))
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Bytes {
    let mut text = Vec::new();
    event_stream::write(&mut text, None, name, data);
    text.into()
}
