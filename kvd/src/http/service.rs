//! The guard that every request passes before any route sees it, and before anything of its body is read; and the headers
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

/// Paths under this one carry what nodes say to each other.
const PEER_PATH: &str = "/raft";

static CLUSTER: HeaderName = HeaderName::from_static(headers::CLUSTER);
static NODE: HeaderName = HeaderName::from_static(headers::NODE);

/// `routes` behind a guard: it stands around them and not among them, so that no route can be left out.
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

/// Refuses a request that no route may see.
fn check<B>(gateway: &Gateway, request: &Request<B>) -> Result<(), ApiError> {
    // `CONNECT` names a host and no path.
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

/// Refuses what is meant for another cluster.
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

/// The headers by which replies say who gave them.
struct Signature {
    gateway: Gateway,
    node: Option<HeaderValue>,
    /// Set once the node is part of a cluster, of which it is one for as long as it runs.
    cluster: OnceLock<HeaderValue>,
}

impl Signature {
    fn of(gateway: &Gateway) -> Self {
        // Names and ids are letters, digits and signs that headers may have.
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
            // Another reply may have been first, with the same.
            let _ = self.cluster.set(id);
        }
        headers.extend(self.cluster.get().cloned().map(|cluster| (CLUSTER.clone(), cluster)));
        response
    }
}

/// True for the paths between nodes.
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
