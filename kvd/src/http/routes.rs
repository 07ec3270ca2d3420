//! Which path leads to which handler.
//!
//! The two routes that carry nearly all requests stand first, and apart: a filter clones what stands
//! behind it for each request, and all other routes together are one pointer to clone. A route matches its
//! path and leaves the method to the handler, so that the refusal of a method can name the right ones. A
//! slash at the end of a path makes no difference.

use super::context::Context;
use super::error::ApiError;
use super::keys::{self, Upload};
use super::members::{self, Action};
use super::{cluster, leader_watch, snapshot, transfer};
use bytes::Buf;
use futures_util::Stream;
use std::convert::Infallible;
use std::sync::Arc;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reject::{InvalidHeader, MethodNotAllowed, MissingHeader, Rejection};
use warp::reply::{Reply, Response};
use warp::ws::MissingConnectionUpgrade;

type Answer = Result<Response, ApiError>;

/// The whole API, and `extra`: what other parts of the daemon answer on the same listener.
pub(super) fn routes<R: Reply + 'static>(
    context: &Arc<Context>,
    extra: impl Filter<Extract = (R,), Error = Rejection> + Send + Sync + 'static,
) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let set = {
        let context = Arc::clone(context);
        warp::path!("set").and(upload()).then(move |upload| {
            let context = Arc::clone(&context);
            async move { keys::set(&context, upload).await }
        })
    };
    let get = {
        let context = Arc::clone(context);
        warp::path!("get").and(warp::method()).and(query()).then(move |method, query| {
            let context = Arc::clone(&context);
            async move { keys::get(&context, method, query).await }
        })
    };
    set.or(get).or(others(context, extra)).recover(refusal)
}

fn others<R: Reply + 'static>(
    context: &Arc<Context>,
    extra: impl Filter<Extract = (R,), Error = Rejection> + Send + Sync + 'static,
) -> BoxedFilter<(Response,)> {
    let delete = {
        let context = Arc::clone(context);
        warp::path!("delete").and(upload()).then(move |upload| {
            let context = Arc::clone(&context);
            async move { keys::delete(&context, upload).await }
        })
    };
    let transfer = {
        let context = Arc::clone(context);
        warp::path!("leader" / "transfer").and(upload()).then(move |upload| {
            let context = Arc::clone(&context);
            async move { transfer::transfer(&context, upload).await }
        })
    };
    let snapshot = {
        let context = Arc::clone(context);
        warp::path!("snapshot").and(warp::method()).and(query()).then(move |method, query| {
            let context = Arc::clone(&context);
            async move { snapshot::snapshot(&context, method, query).await }
        })
    };
    let change_members = {
        let context = Arc::clone(context);
        warp::path!("members" / Action).and(upload()).then(move |action, upload| {
            let context = Arc::clone(&context);
            async move { members::change(&context, action, upload).await }
        })
    };
    let extra = extra.map(Reply::into_response).boxed();
    delete
        .or(warp::path!("health").and(show(context, cluster::health)))
        .or(warp::path!("leader").and(show(context, cluster::leader)))
        .or(warp::path!("leader" / "watch").and(show(context, leader_watch::watch)))
        .or(transfer)
        .or(warp::path!("members").and(show(context, members::list)))
        .or(change_members)
        .or(warp::path!("livez").and(show(context, cluster::livez)))
        .or(warp::path!("readyz").and(show(context, cluster::readyz)))
        .or(snapshot)
        .or(extra)
        .map(Reply::into_response)
        .boxed()
}

/// A GET that only looks at what this node knows. Query parameters mean nothing to it.
fn show(
    context: &Arc<Context>,
    handler: fn(&Context) -> Answer,
) -> impl Filter<Extract = (Answer,), Error = Infallible> + Clone + use<> {
    let context = Arc::clone(context);
    warp::method().map(move |method| keys::get_only(&method).and_then(|()| handler(&context)))
}

/// The query string, empty where there is none.
fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// A request with a body, before anything of it is read.
fn upload()
-> impl Filter<Extract = (Upload<impl Stream<Item = Result<impl Buf, warp::Error>>>,), Error = Rejection> + Copy {
    warp::method()
        .and(query())
        .and(warp::header::optional("content-type"))
        .and(warp::header::optional("content-length"))
        .and(warp::body::stream())
        .map(|method, query, content_type, content_length, pieces| Upload {
            method,
            query,
            content_type,
            content_length,
            pieces,
        })
}

/// What no route took.
async fn refusal(rejection: Rejection) -> Result<ApiError, Infallible> {
    Ok(if rejection.is_not_found() {
        ApiError::PathNotFound
    } else if let Some(header) = rejection.find::<InvalidHeader>() {
        ApiError::invalid(format!("the header `{}` is malformed", header.name()))
    } else if rejection.find::<MissingConnectionUpgrade>().is_some() {
        ApiError::invalid("this path speaks WebSocket and nothing else")
    } else if let Some(header) = rejection.find::<MissingHeader>() {
        ApiError::invalid(format!("the header `{}` is missing", header.name()))
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        ApiError::MethodNotAllowed { allow: None }
    } else {
        tracing::error!(?rejection, "a request was rejected without a reply");
        ApiError::Internal
    })
}
