//! `/health`, `/livez`, `/readyz`, `/leader`: state of this node and its cluster.
//!
//! All of it comes from the node's latest view, and nothing here asks the replica, so these paths answer even while the
//! cluster does not.

use super::context::Context;
use super::error::ApiError;
use super::gateway::{REMOVED, View};
use super::reply;
use crate::kv::Store;
use kvclient::api::{Health, LeaderReply, NodeState};
use serde_json::json;
use warp::reply::Response;

/// `GET /health`: 200 while the daemon runs.
pub(super) fn health(context: &Context) -> Result<Response, ApiError> {
    let read = |store: &Store| (store.revision(), store.len() as u64, store.level().0);
    let (revision, keys, level) = context.gateway.with_store(read);
    let view = context.gateway.view.borrow().clone();
    let uptime = context.gateway.started.elapsed();
    Ok(reply::ok(&Health {
        id: view.name.as_ref().to_owned(),
        cluster: view.cluster.map(|cluster| cluster.id.clone()),
        state: view.state,
        term: view.term,
        leader: view.leader,
        last_log_index: view.last_log_index,
        commit_index: view.commit_index,
        applied_index: view.applied_index,
        revision,
        keys,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level,
        level_max: view.level_max,
        uptime_ms: uptime.as_millis().try_into().unwrap_or(u64::MAX),
        members: view.members.to_vec(),
        waiting_for: view.waiting_for,
        diverged: view.diverged,
        disk_stuck_ms: view.disk_stuck.map(|since| since.elapsed().as_millis().try_into().unwrap_or(u64::MAX)),
        snapshots_damaged: view.snapshots_damaged,
        log_damaged: view.log_damaged,
        cloned: view.cloned,
        node: view.node.as_ref().to_owned(),
        client_url: view.client_url.as_ref().to_owned(),
        peer_url: view.peer_url.as_ref().to_owned(),
    }))
}

/// `GET /livez`: any answer means that the process is alive.
pub(super) fn livez() -> Result<Response, ApiError> {
    Ok(reply::ok(&json!({ "live": true })))
}

/// `GET /readyz`: whether this node serves requests, and if not, why.
pub(super) fn readyz(context: &Context) -> Result<Response, ApiError> {
    match obstacle(&context.gateway.view.borrow()) {
        None => Ok(reply::ok(&json!({ "ready": true }))),
        Some(obstacle) => Err(obstacle),
    }
}

/// Returns the reason why the node is not ready.
fn obstacle(view: &View) -> Option<ApiError> {
    if view.diverged.is_some() {
        return Some(ApiError::diverged());
    }
    if let Some(since) = view.disk_stuck {
        return Some(ApiError::not_ready(format!(
            "not ready: the disk has not completed a write for {} s, so this node stores no new data: check the disk. \
             The cluster keeps serving while a majority of its voters does",
            since.elapsed().as_secs()
        )));
    }
    if view.ready {
        return None;
    }
    if view.state == NodeState::Removed {
        return Some(ApiError::no_leader(format!("not ready: {REMOVED}")));
    }
    Some(match (&view.waiting_for, &view.leader) {
        (Some(waiting_for), _) => ApiError::no_leader(format!("not ready: {waiting_for}")),
        (None, None) => ApiError::no_leader("not ready: no leader is known"),
        (None, Some(_)) => ApiError::not_ready(
            "not ready: still applying entries that were committed when this node \
             started",
        ),
    })
}

/// `GET /leader`.
pub(super) fn leader(context: &Context) -> Result<Response, ApiError> {
    let view = context.gateway.view.borrow().clone();
    let leader = view.leader.ok_or_else(|| ApiError::no_leader("no leader is known: try again shortly"))?;
    Ok(reply::ok(&LeaderReply { id: leader.id, url: leader.url, term: view.term }))
}
