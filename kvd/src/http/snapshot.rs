//! `GET /snapshot`: the whole store at one revision, as a stream of bytes that vouch for themselves.
//!
//! The bytes are those of [`kvclient::snapshot`]. Their number is told beforehand, so that a stream which broke off is
//! not taken for a whole one even by a client that does not look at them.

use super::context::Context;
use super::error::ApiError;
use super::gateway::Backup;
use super::{keys, query, reply};
use futures_util::stream;
use warp::http::Method;
use warp::reply::Response;

/// Answers with the stream. As of a read, `consistency` says whether it must have all that was acknowledged before.
pub(super) async fn snapshot(context: &Context, method: Method, query: String) -> Result<Response, ApiError> {
    // Not HEAD: what is in the headers of the reply costs as much as the reply.
    if method != Method::GET {
        return Err(ApiError::MethodNotAllowed { allow: Some("GET") });
    }
    let [consistency] = query::parse(&query, ["consistency"])?;
    keys::freshen(context, consistency.as_deref()).await?;
    let Backup { revision, bytes, mut chunks } = context.backup().await?;
    // Where there are fewer bytes than promised, the server breaks the connection off.
    let chunks = stream::poll_fn(move |cx| chunks.poll_recv(cx));
    Ok(reply::stream(chunks, bytes, revision))
}
