//! The guard that every request passes before any route sees it and before any of its body is read; and the headers
//! that every reply has.

use super::connection::{Crowded, RequestBody};
use super::error::ApiError;
use super::gateway::Gateway;
use super::{framing, origin};
use futures_util::FutureExt as _;
use futures_util::future::{Either, ready};
use hyper::Request;
use hyper::service::{Service, service_fn};
use kvclient::api::{ErrorCode, headers};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use warp::http::HeaderValue;
use warp::http::header::HeaderName;
use warp::reply::{Reply as _, Response};

/// Prefix of the paths between nodes.
const PEER_PATH: &str = "/raft";

static CLUSTER: HeaderName = HeaderName::from_static(headers::CLUSTER);
static NODE: HeaderName = HeaderName::from_static(headers::NODE);

/// Returns `routes` behind a guard. The guard surrounds all routes instead of being one of them, so that none can be
/// left out.
pub(super) fn guarded<S>(
    routes: S,
    gateway: Gateway,
) -> impl Service<Request<RequestBody>, Response = Response, Error = Infallible, Future: Send> + Clone + Send
where
    S: Service<Request<RequestBody>, Response = Response, Error = Infallible, Future: Send> + Clone + Send,
{
    let signature = Arc::new(Signature::of(&gateway));
    service_fn(move |request: Request<RequestBody>| {
        let answer = match check(&signature.gateway, &request) {
            Ok(()) => Either::Left(routes.call(request)),
            Err(error) => Either::Right(ready(Ok(error.into_response()))),
        };
        let signature = Arc::clone(&signature);
        answer.map(move |answered: Result<Response, Infallible>| answered.map(|response| signature.sign(response)))
    })
}

/// Refuses a request that must not reach any route.
fn check<B>(gateway: &Gateway, request: &Request<B>) -> Result<(), ApiError> {
    // `CONNECT` has a host and no path.
    if request.uri().path_and_query().is_none() {
        return Err(ApiError::path_not_found());
    }
    framing::check(request.version(), request.headers())?;
    origin::check(request.headers(), || Arc::clone(&gateway.view.borrow().members))?;
    if request.extensions().get::<Crowded>().is_some() && !is_peer_path(request.uri().path()) {
        return Err(ApiError::crowded());
    }
    match request.headers().get(&CLUSTER) {
        None => Ok(()),
        Some(meant) => check_cluster(gateway, meant),
    }
}

/// Refuses a request that is meant for another cluster.
fn check_cluster(gateway: &Gateway, meant: &HeaderValue) -> Result<(), ApiError> {
    let view = gateway.view.borrow();
    let meant = String::from_utf8_lossy(meant.as_bytes());
    match &view.cluster {
        Some(cluster) if cluster.id == meant => Ok(()),
        Some(cluster) => Err(ApiError::new(
            ErrorCode::WrongCluster,
            format!(
                "{} belongs to cluster {}, but the request names cluster {meant}. Nothing was done: check the address, \
                 and whether this node was set up again",
                view.name, cluster.id
            ),
        )),
        None => Err(ApiError::not_ready(format!(
            "{} does not belong to a cluster yet, but the request names cluster {meant}: try again shortly, or ask \
             another node",
            view.name
        ))),
    }
}

/// Headers of a reply that identify the node and its cluster.
struct Signature {
    gateway: Gateway,
    node: Option<HeaderValue>,
    /// Set once the node is part of a cluster, which never changes while the node runs.
    cluster: OnceLock<HeaderValue>,
}

impl Signature {
    fn of(gateway: &Gateway) -> Self {
        // Names and ids consist of characters that are valid in headers.
        let node = HeaderValue::from_str(&gateway.view.borrow().name).ok();
        Self { gateway: gateway.clone(), node, cluster: OnceLock::new() }
    }

    fn sign(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.extend(self.node.clone().map(|node| (NODE.clone(), node)));
        if self.cluster.get().is_none()
            && let Some(cluster) = &self.gateway.view.borrow().cluster
            && let Ok(id) = HeaderValue::from_str(&cluster.id)
        {
            // Another reply may have set it first, to the same value.
            let _ = self.cluster.set(id);
        }
        headers.extend(self.cluster.get().cloned().map(|cluster| (CLUSTER.clone(), cluster)));
        response
    }
}

/// Returns true for the paths between nodes.
pub(super) fn is_peer_path(path: &str) -> bool {
    path.strip_prefix(PEER_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_paths_between_nodes_are_peer_paths() {
        for (path, expected) in [
            ("/raft", true),
            ("/raft/", true),
            ("/raft/snapshot", true),
            ("/rafting", false),
            ("/set", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_peer_path(path), expected, "{path}");
        }
    }
}
