//! `POST /leader/transfer`: another node is to lead.
//!
//! The answer comes once it is known what became of it, which takes as long as an election timeout at most where there
//! is a quorum. To ask again does no harm: who leads already has nothing to hand over, and says so with the same reply.

use super::body::Body;
use super::context::Context;
use super::error::ApiError;
use super::gateway::OfTerm;
use super::reply;
use super::request::{Request, from_json};
use kvclient::api::TransferRequest;
use warp::reply::Response;

/// Largest body, in bytes: far more than a name takes.
const BODY_BYTES_MAX: usize = 4 << 10;

/// Hands over, and answers with the new leader.
pub(super) async fn transfer(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    let [] = request.parameters([])?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, BODY_BYTES_MAX).await?;
    let TransferRequest { to } =
        if bytes.is_empty() { TransferRequest::default() } else { from_json(&bytes, r#"{"to":"node2"}"#)? };
    let OfTerm { value, term } = context.gateway.hand_over(request.asker(), request.target(), to).await?;
    Ok(reply::of_term(reply::ok(&value), term))
}
