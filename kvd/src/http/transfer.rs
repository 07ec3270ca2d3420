//! `POST /leader/transfer`: transfers leadership to another node.
//!
//! The answer comes once the outcome is known, which takes at most an election timeout if there is a quorum. Repeating
//! the request does no harm: if the target leads already, there is nothing to transfer, and the reply is the same.

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::gateway::OfTerm;
use super::reply;
use super::request::{Request, from_json};
use kvclient::api::TransferRequest;
use warp::reply::Response;

/// Largest body, in bytes: far more than a name needs.
const BODY_BYTES_MAX: usize = 4 << 10;

/// Transfers leadership, and answers with the new leader.
pub(super) async fn transfer(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, BODY_BYTES_MAX).await?;
    let TransferRequest { to } =
        if bytes.is_empty() { TransferRequest::default() } else { from_json(&bytes, r#"{"to":"node2"}"#)? };
    let OfTerm { value, term } = context.gateway.leadership_transfer(request.asker(), request.target(), to).await?;
    Ok(reply::of_term(reply::ok(&value), term))
}
