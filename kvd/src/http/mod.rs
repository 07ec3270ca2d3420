//! The HTTP API, and nothing else: handlers parse, ask and render.
//!
//! A request comes in at the `listener`, passes the guard of `service` (origin, crowding) before any of its body is
//! read, and finds its handler in `routes`: `keys` for reads and writes, `snapshot` for backups, `members` and
//! `transfer` for who belongs to the cluster and who leads it, `cluster` and `leader_watch` for what the node knows of itself. Handlers reach the replica through the [`Gateway`] alone: requests
//! go into its inbox, views of it come out. Every way to fail is in `error`.
//!
//! What nodes say to each other travels on the same listener, and is a filter handed in from outside.

mod body;
mod cluster;
mod context;
mod error;
mod gateway;
mod keys;
mod leader_watch;
mod listener;
mod members;
mod origin;
mod prompt;
mod query;
mod reply;
mod routes;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod transfer;

pub use gateway::{Backup, BackupError, Gateway, NotHandedOver, Request, View};
pub use listener::Limits;

use context::Context;
use hyper_util::service::TowerToHyperService;
use service::Guarded;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use warp::Filter;
use warp::reject::Rejection;
use warp::reply::Reply;

/// Serves the API, and `extra` on paths under `/raft`, until `shutdown` completes. Then it accepts no more
/// connections, ends the replies that have no end, lets the others finish within [`Limits::drain_time_max`], and
/// returns when every connection is closed. WebSockets are their owner's to close.
///
/// The replica must go on answering until then, or requests under way end as `timeout` and `no_leader`.
pub async fn serve<R: Reply + 'static>(
    listener: TcpListener,
    gateway: Gateway,
    extra: impl Filter<Extract = (R,), Error = Rejection> + Send + Sync + 'static,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(());
    let context = Arc::new(Context::new(gateway.clone(), &limits, stopping));
    let routes = TowerToHyperService::new(warp::service(routes::routes(&context, extra)));
    let shutdown = async {
        shutdown.await;
        drop(stop);
    };
    listener::serve(listener, Guarded::new(routes, gateway), limits, shutdown).await;
}
