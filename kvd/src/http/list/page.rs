//! One page of a list.

use super::super::context::Context;
use super::super::convert::to_range;
use super::super::error::ApiError;
use super::super::reply;
use super::super::reply_budget::{self, Charge};
use super::start::{Start, parameters};
use super::token::Token;
use super::walk::{Counting, End, Entry, Listing, Room, Walk};
use crate::kv::{Forgotten, Store};
use kvclient::api::{ListQuery, ListReply, Order, PAGE_ITEMS_MAX};
use tokio::task::yield_now;
use warp::http::StatusCode;
use warp::reply::Response;

/// Answers with the page that begins at `start`.
pub(super) async fn answer(context: &Context, query: &ListQuery, start: Start) -> Result<Response, ApiError> {
    let Start { at, rest, count } = start;
    let (list, gateway, budget) = (&query.list, &context.gateway, context.replies.clone());
    let descending = list.order == Order::Desc;
    let mut room = Room::of_page(list.limit.unwrap_or(PAGE_ITEMS_MAX));
    let (mut entries, mut charge) = (Vec::new(), Charge::NONE);
    let counts = count.is_none() && (list.count || list.count_only);
    // Both hold the same revision from here on.
    let begin = |store: &Store| {
        let walk = Walk::begin(store, at, rest, descending, Listing::of(query))?;
        let counting = counts.then(|| walk.counting(store, to_range(&list.range))).transpose()?;
        Ok::<_, Forgotten>((walk, counting))
    };
    let (mut walk, counting) = gateway.with_store(begin).map_err(ApiError::compacted)?;
    let mut end = if list.count_only { End::Range } else { End::Piece };
    while end == End::Piece {
        end = gateway.with_store(|store| {
            walk.piece(store, &mut room, &mut entries, |bytes| budget.extend(&mut charge, bytes))
        })?;
        if end == End::Piece {
            yield_now().await;
        }
    }
    let count = match counting {
        Some(counting) => Some(count_keys(context, counting).await?),
        None => count,
    };
    let mut reply = ListReply { revision: walk.revision(), more: end == End::Room, count, ..ListReply::default() };
    if reply.more {
        let rest = walk.rest();
        let position = if descending { rest.to.clone().unwrap_or_default() } else { rest.from.clone() };
        let token = Token { revision: reply.revision, position, count };
        reply.next = Some(token.write(&context.cluster(), &parameters(query)));
    }
    // The store need keep nothing for this page any more.
    drop(walk);
    for entry in entries {
        match entry {
            Entry::Item(item) => reply.items.push(item),
            Entry::Folder(folder) => reply.prefixes.push(folder),
        }
    }
    let revision = reply.revision;
    let render = move || reply_budget::charged(&budget, charge, StatusCode::OK, &reply);
    let rendered = context.heavy_work(room.bytes(), render).await?;
    Ok(reply::at_revision(rendered, revision))
}

/// Counts to the end.
async fn count_keys(context: &Context, mut counting: Counting) -> Result<u64, ApiError> {
    loop {
        let counted = context.gateway.with_store(|store| counting.piece(store));
        if let Some(count) = counted.map_err(ApiError::compacted)? {
            return Ok(count);
        }
        yield_now().await;
    }
}
