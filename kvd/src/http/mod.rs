//! The HTTP API, and nothing else: handlers parse, ask and render.
//!
//! A request comes in over a `connection`, passes the guard of `service` (origin, crowding, the cluster that is meant) before
//! any of its body is read, becomes one value (`request`), and finds its handler in `routes`: `keys` for reads and writes,
//! `snapshot` for backups, `members` and `transfer` for who belongs to the cluster and who leads it, `cluster` and
//! `leader_watch` for what the node knows of itself. Handlers reach the node through the [`Gateway`] alone. Every way to fail
//! is in `error`.
//!
//! What nodes say to each other travels on the same listener, and is a filter handed in from outside.

mod body;
mod cluster;
mod connection;
mod context;
mod error;
mod gateway;
mod keys;
mod leader_watch;
mod members;
mod origin;
mod query;
mod reply;
mod reply_budget;
mod request;
mod routes;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod transfer;

pub use connection::Limits as ConnectionLimits;
pub use error::ApiError;
pub use gateway::{
    Answer, Answered, Asker, Backup, BackupError, Caller, Forward, Forwarding, Gateway, NotHandedOver, Question,
    Request, Unforwarded, View,
};

pub use request::{TIMEOUT_DEFAULT, TIMEOUT_MAX};

use context::Context;
use service::guarded;
use std::time::Duration;
use tokio::net::TcpListener;
use warp::Filter;
use warp::reject::Rejection;
use warp::reply::Reply;

/// What clients may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of connections.
    pub connections: ConnectionLimits,
    /// Time for a request's body to arrive.
    pub body_time_max: Duration,
    /// Memory for large replies that are under way to clients, in bytes; more where a single one may be larger.
    pub reply_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: ConnectionLimits::default(),
            body_time_max: Duration::from_secs(30),
            reply_bytes_max: 256 << 20,
        }
    }
}

/// Serves the API, and `peers` on paths under `/raft`, until the node begins to stop (see [`Gateway::stopping`]). Then it
/// accepts no more connections, ends the replies that have no end, lets the others finish within
/// [`ConnectionLimits::drain_time_max`], and returns when every connection is closed. WebSockets are their owner's to close.
///
/// The replica must go on answering until then, or requests under way end as `timeout` and `no_leader`.
pub async fn serve<R: Reply + 'static>(
    listener: TcpListener,
    gateway: Gateway,
    peers: impl Filter<Extract = (R,), Error = Rejection> + Send + Sync + 'static,
    limits: Limits,
) {
    let routes = routes::routes(Context::new(gateway.clone(), &limits), peers.map(Reply::into_response).boxed());
    let mut stopping = gateway.stopping.clone();
    let shutdown = async move {
        // A sender that is gone says the same.
        let _ = stopping.changed().await;
    };
    connection::serve(listener, guarded(routes, gateway), limits.connections, shutdown).await;
}
