//! `/history` and `/compact`: the changes that a node keeps.
//!
//! The history of one key may be as long as everything that the node keeps. So it is read in pieces, newest first, and
//! a long one is sent while it is read. If the node forgets changes meanwhile, the reply ends before them.

use super::body::Body;
use super::context::Context;
use super::convert::to_api_item;
use super::error::ApiError;
use super::freshness::Freshness;
use super::gateway::Gateway;
use super::reply;
use super::reply_budget::{Charge, ReplyBudget};
use super::request::{Request, from_json};
use super::write::{prepare, write};
use crate::kv::{Change, ItemRef, Operation, Outcome, Revision, Store};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kvclient::api::{CompactReply, CompactRequest, HistoryChange, HistoryQuery, Key};
use std::io;
use tokio::task::yield_now;
use warp::reply::{Reply as _, Response};

/// Most changes of a piece.
const PIECE_CHANGES_MAX: usize = 256;

/// Bytes of values after which a piece ends.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// `GET /history`.
pub(super) async fn history(context: &Context, request: Request) -> Result<Response, ApiError> {
    let HistoryQuery { key, read } = request.query(HistoryQuery::take)?;
    let freshness = Freshness::of(read);
    freshness.wait(context, request.asker()).await?;
    let answer = answer_history(context, key);
    Ok(freshness.sign(context, answer.unwrap_or_else(ApiError::into_response)))
}

fn answer_history(context: &Context, key: Key) -> Result<Response, ApiError> {
    let revision = context.gateway.with_store(Store::revision);
    let (gateway, budget) = (context.gateway.clone(), context.replies.clone());
    let mut past = Past { gateway, budget, key, before: Revision::MAX, is_begun: false };
    let (first, is_last) = past.piece()?;
    if is_last {
        return Ok(reply::at_revision(reply::json_bytes(first), revision));
    }
    let chunks = stream::iter([Ok(first)]).chain(stream::unfold(Some(past), |past| async {
        let mut past = past?;
        // Other tasks that wait for this thread come first.
        yield_now().await;
        // The connection breaks off where there is no memory for the rest.
        Some(match past.piece() {
            Ok((chunk, false)) => (Ok(chunk), Some(past)),
            Ok((chunk, true)) => (Ok(chunk), None),
            Err(error) => (Err(io::Error::other(error.into_body().message)), None),
        })
    }));
    Ok(reply::at_revision(reply::json_chunks(chunks), revision))
}

/// The history of a key, and the progress of reading it.
struct Past {
    gateway: Gateway,
    budget: ReplyBudget,
    key: Key,
    /// All changes from this revision on have been read.
    before: Revision,
    is_begun: bool,
}

impl Past {
    /// Returns the next part of the reply, and true with the last one.
    fn piece(&mut self) -> Result<(Bytes, bool), ApiError> {
        self.gateway.check_not_diverged()?;
        let Self { gateway, budget, key, before, is_begun } = self;
        let mut charge = Charge::NONE;
        let (changes, oldest) = gateway.with_store(|store| {
            let (mut changes, mut bytes) = (Vec::new(), 0);
            for change in store.changes_of(key.as_bytes(), *before) {
                if changes.len() >= PIECE_CHANGES_MAX || bytes >= PIECE_BYTES_MAX {
                    return Ok::<_, ApiError>((changes, None));
                }
                let item_bytes = change.after.map_or(0, |item| item.value.len());
                budget.extend(&mut charge, item_bytes)?;
                bytes += item_bytes;
                *before = change.revision;
                changes.push(to_history_change(change));
            }
            let oldest = store.oldest_revision();
            // The version that was valid when the history began is kept too, but the change that made it is not.
            if *before > oldest
                && let Ok(Some(item)) = store.get_at(key.as_bytes(), oldest)
            {
                budget.extend(&mut charge, item.value.len())?;
                changes.push(to_put(key.as_bytes(), item));
            }
            Ok((changes, Some(oldest)))
        })?;
        let mut text = Vec::new();
        for change in changes {
            text.extend_from_slice(if *is_begun { b"," } else { b"{\"changes\":[" });
            *is_begun = true;
            serde_json::to_writer(&mut text, &change).map_err(|_| ApiError::internal())?;
        }
        if let Some(oldest) = oldest {
            text.extend_from_slice(if *is_begun { b"" } else { b"{\"changes\":[" });
            text.extend_from_slice(format!("],\"oldest_revision\":{oldest}}}\n").as_bytes());
        }
        Ok((budget.attach(charge, text)?, oldest.is_some()))
    }
}

fn to_history_change(change: Change<'_>) -> HistoryChange {
    match change.after {
        Some(item) => to_put(change.key, item),
        None => HistoryChange::Delete { revision: change.revision },
    }
}

fn to_put(key: &[u8], item: ItemRef<'_>) -> HistoryChange {
    HistoryChange::Put { item: to_api_item(key.into(), item.to_item()) }
}

/// `POST /compact`.
pub(super) async fn compact(context: &Context, mut request: Request) -> Result<Response, ApiError> {
    request.query(|_| Ok(()))?;
    let Body { bytes, charge: _held } = request.body(&context.bodies, context.json_bytes_max).await?;
    let CompactRequest { revision } = from_json(&bytes, r#"{"revision":100}"#)?;
    let shape = |outcome| match outcome {
        Outcome::Compacted { revision } => Ok(CompactReply { revision }),
        other => Err(other),
    };
    let prepared = prepare(Operation::Compact { revision }, None, context.gateway.limits, None, shape)?;
    write(context, &request, prepared).await
}
