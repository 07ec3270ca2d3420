//! One page of a list.

use super::super::context::Context;
use super::super::convert::to_range;
use super::super::error::ApiError;
use super::super::reply;
use super::super::reply_budget::{self, Charge};
use super::start::{Start, parameters};
use super::token::Token;
use super::walk::{End, Entry, Listing, Room, Walk};
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
    let mut walk = None;
    let end = loop {
        let end = gateway.with_store(|store| {
            let walk = match &mut walk {
                Some(walk) => walk,
                none => {
                    let begun = Walk::begin(store, at, rest.clone(), descending, Listing::of(query));
                    none.insert(begun.map_err(ApiError::compacted)?)
                }
            };
            if list.count_only {
                return Ok(End::Range);
            }
            walk.piece(store, &mut room, &mut entries, |bytes| budget.extend(&mut charge, bytes))
        })?;
        if end != End::Piece {
            break end;
        }
        yield_now().await;
    };
    let walk = walk.ok_or_else(ApiError::internal)?;
    let count = match count {
        None if list.count || list.count_only => Some(count_keys(context, &walk, query).await?),
        counted => counted,
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

/// Counts the keys of the whole range.
async fn count_keys(context: &Context, walk: &Walk, query: &ListQuery) -> Result<u64, ApiError> {
    let mut counting = walk.counting(to_range(&query.list.range));
    loop {
        let counted = context.gateway.with_store(|store| counting.piece(store));
        if let Some(count) = counted.map_err(ApiError::compacted)? {
            return Ok(count);
        }
        yield_now().await;
    }
}
