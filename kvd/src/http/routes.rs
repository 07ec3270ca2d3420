//! Table of paths and their handlers.
//!
//! The paths under `/raft`, between nodes, are a filter passed in from outside. A request for any other path becomes
//! one value, and one table covers all of them. Each path's line checks the method, so that a refusal can name the
//! allowed methods.

use super::connection::RequestBody;
use super::context::Context;
use super::error::ApiError;
use super::members::{self, Action};
use super::request::Request;
use super::service::is_peer_path;
use super::{cluster, history, keys, leader_watch, leases, list, locks, reply, snapshot, transfer, txn, watch};
use crate::kv::Store;
use futures_util::future::Either;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::sync::Arc;
use warp::Filter;
use warp::http::StatusCode;
use warp::reject::{InvalidHeader, MethodNotAllowed, MissingHeader, Rejection};
use warp::reply::{Reply, Response};
use warp::ws::MissingConnectionUpgrade;

/// Calls the handler of each path.
async fn answer(context: &Context, request: Request) -> Result<Response, ApiError> {
    tracing::trace!(path = request.path(), "a request");
    match request.path() {
        "/get" => keys::get(context, request.get()?).await,
        "/set" => keys::set(context, request.post()?).await,
        "/delete" => keys::delete(context, request.post()?).await,
        "/list" => list::list(context, request.get()?).await,
        "/txn" => txn::txn(context, request.post()?).await,
        "/history" => history::history(context, request.get()?).await,
        "/compact" => history::compact(context, request.post()?).await,
        "/watch" => watch::watch(context, request.get_or_post()?).await,
        "/lock" if request.is_post() => locks::lock(context, request).await,
        "/lock" => locks::state(context, request.get_or_post()?).await,
        "/lock/watch" => locks::watch(context, request.get_alone()?).await,
        "/unlock" => locks::unlock(context, request.post()?).await,
        "/lease" => leases::lease(context, request.get()?).await,
        "/leases" => leases::leases(context, request.get()?).await,
        "/lease/grant" => leases::grant(context, request.post()?).await,
        "/lease/keepalive" => leases::keepalive(context, request.post()?).await,
        "/lease/revoke" => leases::revoke(context, request.post()?).await,
        "/health" => request.get().and_then(|_| cluster::health(context)),
        "/livez" => request.get().and_then(|_| cluster::livez()),
        "/readyz" => request.get().and_then(|_| cluster::readyz(context)),
        "/leader" => request.get().and_then(|_| cluster::leader(context)),
        "/leader/watch" => request.get().and_then(|_| leader_watch::watch(context)),
        "/leader/transfer" => transfer::transfer(context, request.post()?).await,
        "/members" => request.get().and_then(|_| members::list(context)),
        "/members/add" => members::change(context, Action::Add, request.post()?).await,
        "/members/promote" => members::change(context, Action::Promote, request.post()?).await,
        "/members/remove" => members::change(context, Action::Remove, request.post()?).await,
        "/members/replace" => members::change(context, Action::Replace, request.post()?).await,
        "/members/update" => members::change(context, Action::Update, request.post()?).await,
        "/snapshot" => snapshot::snapshot(context, request.get_alone()?).await,
        _ => Err(ApiError::path_not_found()),
    }
}

/// Returns the whole API and `peers`, the daemon's routes under `/raft` on the same listener.
pub(super) fn routes<R: Reply + 'static>(
    context: Context,
    peers: impl Filter<Extract = (R,), Error = Rejection> + Clone + Send + Sync + 'static,
) -> impl Service<hyper::Request<RequestBody>, Response = Response, Error = Infallible, Future: Send> + Clone + Send {
    let context = Arc::new(context);
    let peers = TowerToHyperService::new(warp::service(peers.recover(refusal)));
    service_fn(move |request: hyper::Request<RequestBody>| {
        if is_peer_path(request.uri().path()) {
            return Either::Left(peers.call(request));
        }
        let (context, request) = (Arc::clone(&context), Request::of(request));
        // A connection keeps the room of this future for as long as its reply lasts, also where that is a stream which
        // does not end. On the heap it takes no room once it has answered.
        Either::Right(Box::pin(async move {
            let answer = match request {
                Ok(request) => answer(&context, request).await,
                Err(error) => Err(error),
            };
            Ok(with_newest(&context, answer.unwrap_or_else(ApiError::into_response)))
        }))
    })
}

/// Adds to a reply about a past that is forgotten which revision is the newest, as all replies to reads say.
fn with_newest(context: &Context, response: Response) -> Response {
    if response.status() != StatusCode::GONE {
        return response;
    }
    reply::at_revision(response, context.gateway.with_store(Store::revision))
}

/// Answers a request between nodes that no filter accepted.
async fn refusal(rejection: Rejection) -> Result<ApiError, Infallible> {
    Ok(if rejection.is_not_found() {
        ApiError::path_not_found()
    } else if let Some(header) = rejection.find::<InvalidHeader>() {
        ApiError::invalid(format!("the header `{}` is malformed", header.name()))
    } else if rejection.find::<MissingConnectionUpgrade>().is_some() {
        ApiError::invalid("this endpoint only accepts WebSocket connections")
    } else if let Some(header) = rejection.find::<MissingHeader>() {
        ApiError::invalid(format!("the header `{}` is missing", header.name()))
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        ApiError::method_not_allowed(None)
    } else {
        tracing::error!(?rejection, "a request was rejected without a reply");
        ApiError::internal()
    })
}
