//! `GET /snapshot`: the whole store at one revision, as a stream of bytes that vouch for themselves.
//!
//! The bytes are those of [`kvclient::snapshot`]. Their number is told beforehand, so that a stream which broke off is
//! not taken for a whole one even by a client that does not look at them.

use super::context::Context;
use super::error::ApiError;
use super::gateway::Backup;
use super::request::Request;
use super::{keys, reply};
use futures_util::stream;
use warp::reply::Response;

/// Answers with the stream. As of a read, `consistency` says whether it must have all that was acknowledged before.
pub(super) async fn snapshot(context: &Context, request: Request) -> Result<Response, ApiError> {
    let [consistency, min_revision] = request.parameters(["consistency", "min_revision"])?;
    let consistency = keys::freshen(context, &request, consistency.as_deref(), min_revision.as_deref()).await?;
    let Backup { revision, bytes, mut chunks } = context.gateway.backup(request.own_deadline()).await?;
    // Where there are fewer bytes than promised, the server breaks the connection off.
    let chunks = stream::poll_fn(move |cx| chunks.poll_recv(cx));
    Ok(keys::of_read(context, consistency, reply::stream(chunks, bytes, revision)))
}
