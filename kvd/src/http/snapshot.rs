//! `GET /snapshot`: the whole store at one revision, as a stream of bytes with checksums.
//!
//! The bytes are those of [`kvclient::snapshot`]. Their number is announced beforehand, so that even a client that does
//! not check them recognizes a stream that broke off.

use super::context::Context;
use super::error::ApiError;
use super::freshness::Freshness;
use super::gateway::Backup;
use super::reply;
use super::request::Request;
use futures_util::stream;
use kvclient::api::ReadOptions;
use warp::reply::Response;

/// Answers with the stream. As for a read, `consistency` says whether it must have everything that was acknowledged
/// before.
pub(super) async fn snapshot(context: &Context, request: Request) -> Result<Response, ApiError> {
    let freshness = Freshness::of(request.query(ReadOptions::take)?);
    freshness.wait(context, request.asker()).await?;
    let Backup { revision, bytes, mut chunks } = context.gateway.backup(request.own_deadline()).await?;
    // If there are fewer bytes than announced, the server breaks the connection off.
    let chunks = stream::poll_fn(move |cx| chunks.poll_recv(cx));
    Ok(freshness.sign(context, reply::stream(chunks, bytes, revision)))
}
