//! What every request passes before any route sees it, and before anything of its body is read.

use super::error::ApiError;
use super::gateway::Gateway;
use super::listener::{Crowded, RequestBody};
use super::origin;
use futures_util::future::{Either, Ready, ready};
use hyper::Request;
use hyper::service::Service;
use std::convert::Infallible;
use std::sync::Arc;
use warp::reply::{Reply as _, Response};

/// Paths under this one carry what nodes say to each other.
const PEER_PATH: &str = "/raft";

/// Guards `routes`: it stands around them and not among them, so that no route can be left out.
#[derive(Clone)]
pub(super) struct Guarded<S> {
    routes: S,
    gateway: Gateway,
}

impl<S> Guarded<S> {
    pub(super) fn new(routes: S, gateway: Gateway) -> Self {
        Self { routes, gateway }
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), ApiError> {
        origin::check(request.headers(), || Arc::clone(&self.gateway.view.borrow().members))?;
        if request.extensions().get::<Crowded>().is_some() && !is_peer_path(request.uri().path()) {
            return Err(ApiError::Crowded);
        }
        Ok(())
    }
}

impl<S> Service<Request<RequestBody>> for Guarded<S>
where
    S: Service<Request<RequestBody>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn call(&self, request: Request<RequestBody>) -> Self::Future {
        match self.check(&request) {
            Ok(()) => Either::Left(self.routes.call(request)),
            Err(error) => Either::Right(ready(Ok(error.into_response()))),
        }
    }
}

fn is_peer_path(path: &str) -> bool {
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
