//! Serving the API on a listener.

use super::context::Context;
use super::gateway::Gateway;
use super::limits::Limits;
use super::service::guarded;
use super::{connection, routes};
use warp::Filter;
use warp::reject::Rejection;
use warp::reply::Reply;

/// Serves the API on these listeners, and `peers` on paths under `/raft`, until the node begins to stop (see
/// [`Gateway::stopping`]). Then it accepts no more connections, ends the replies that have no end, lets the others
/// finish within [`connection::Limits::drain_time_max`], and returns when every connection is closed. WebSockets must
/// be closed by their owner.
///
/// The replica must continue to answer until then, or requests under way end as `timeout` and `no_leader`.
pub async fn serve<R: Reply + 'static>(
    listeners: connection::Listeners,
    gateway: Gateway,
    peers: impl Filter<Extract = (R,), Error = Rejection> + Send + Sync + 'static,
    limits: Limits,
) {
    let context = Context::new(gateway.clone(), &limits);
    context.start_tasks();
    let routes = routes::routes(context, peers.map(Reply::into_response).boxed());
    let mut stopping = gateway.stopping.clone();
    let shutdown = async move {
        // A dropped sender means the same.
        let _ = stopping.changed().await;
    };
    connection::serve(listeners, guarded(routes, gateway), limits.connections, shutdown).await;
}
