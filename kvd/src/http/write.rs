//! The path of every write: a checked command goes to the leader, and its outcome becomes the reply.

use super::context::Context;
use super::convert::to_request_id;
use super::error::ApiError;
use super::gateway::{CommandLimits, OfTerm, check_limits};
use super::request::Request;
use super::{outcome, reply};
use crate::kv::{Command, Operation, Outcome};
use bytes::Bytes;
use kvclient::api;
use serde::Serialize;
use warp::reply::{Reply as _, Response};

/// A write that may be proposed.
pub(super) struct Prepared<S> {
    /// The command as it will be in the log.
    command: Bytes,
    /// The key that the condition of the write is about.
    key: Option<api::Key>,
    /// Makes the reply to a success, and hands back any other outcome.
    shape: S,
}

/// Checks a write, and encodes it.
///
/// # Errors
/// [`ApiError`] if it must not be proposed: a command in the log applies on every replica, forever.
pub(super) fn prepare<S>(
    operation: Operation,
    request: Option<api::RequestId>,
    limits: CommandLimits,
    key: Option<api::Key>,
    shape: S,
) -> Result<Prepared<S>, ApiError> {
    let command = Command { operation, request: request.map(to_request_id) };
    let encoded = command.encode();
    check_limits(&command, encoded.len(), limits)?;
    Ok(Prepared { command: encoded, key, shape })
}

/// Sends a write to the leader, and renders the outcome.
///
/// # Errors
/// The leader's error.
pub(super) async fn write<R, S>(
    context: &Context,
    request: &Request,
    prepared: Prepared<S>,
) -> Result<Response, ApiError>
where
    R: Serialize,
    S: FnOnce(Outcome) -> Result<R, Outcome> + Send + 'static,
{
    let Prepared { command, key, shape } = prepared;
    let OfTerm { value, term } = context.gateway.write(request.asker(), request.target(), command).await?;
    let budget = context.replies.clone();
    let bytes = outcome::value_bytes(&value);
    let rendered = context.heavy_work(bytes, move || outcome::render(&budget, value, key, shape)).await;
    // A refusal that was decided in the log has a term as well.
    Ok(reply::of_term(rendered.unwrap_or_else(ApiError::into_response), term))
}
