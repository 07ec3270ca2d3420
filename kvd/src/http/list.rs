//! `GET /list`: the items of a range at one revision, in pages or as a stream of lines.
//!
//! A range is walked in pieces (`walk`), so that no list, however long, holds up writes. A pin holds the revision from
//! the first piece to the last. `page` answers with one page, and with a `token` for the next, which goes on at the
//! same revision on any node. `stream` answers with the whole range.

mod page;
mod start;
mod stream;
mod token;
mod walk;

pub(super) use token::Token;

use super::changed::{self, Watched};
use super::context::Context;
use super::convert::to_range;
use super::error::ApiError;
use super::freshness::Freshness;
use super::request::Request;
use kvclient::api::ListQuery;
use start::Start;
use warp::reply::{Reply as _, Response};

/// Answers with a page, or with a stream if the client asks for lines.
pub(super) async fn list(context: &Context, request: Request) -> Result<Response, ApiError> {
    let query = request.query(ListQuery::take)?;
    let start = Start::of(context, &query)?;
    if request.takes_lines() {
        stream::check(&query)?;
    }
    let freshness = Freshness::of(query.read);
    match start.at {
        Some(at) => freshness.wait_for_past(context, request.asker(), at).await?,
        None => freshness.wait(context, request.asker()).await?,
    }
    if let (Some(wait), None) = (query.wait, start.at) {
        freshness.check_seen(context, wait.newer_than)?;
        let watched = Watched::new(to_range(&query.list.range));
        changed::wait(context, wait, watched, request.own_deadline()).await?;
    }
    let answer = if request.takes_lines() {
        stream::answer(context, &query, start).await
    } else {
        page::answer(context, &query, start).await
    };
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}
