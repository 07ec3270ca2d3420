//! A whole range as a stream, one entry a line.
//!
//! A piece is read only when the connection takes more, so a stream costs the memory of a piece or two. Errors before
//! the first line are statuses. After it, the last line tells of them, and of the key behind which to go on.

use super::super::context::{Context, HeavyWork};
use super::super::error::ApiError;
use super::super::gateway::Gateway;
use super::super::reply;
use super::super::reply_budget::{Charge, ReplyBudget};
use super::super::streams::StreamPlace;
use super::start::Start;
use super::walk::{End, Entry, Listing, Room, Walk};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use kvclient::api::{Key, ListLine, ListQuery, Order};
use tokio::task::yield_now;
use warp::reply::Response;

/// Refuses what only pages have.
///
/// # Errors
/// [`ApiError`].
pub(super) fn check(query: &ListQuery) -> Result<(), ApiError> {
    let ListQuery { list, next, .. } = query;
    if list.limit.is_some() || next.is_some() || list.count || list.count_only {
        return Err(ApiError::invalid(
            "a stream has no pages: leave out `limit`, `next`, `count` and `count_only`, or the header `Accept`",
        ));
    }
    Ok(())
}

/// Answers with the stream.
pub(super) async fn answer(context: &Context, query: &ListQuery, start: Start) -> Result<Response, ApiError> {
    let Start { at, rest, count: _ } = start;
    let place = context.streams.begin()?;
    let descending = query.list.order == Order::Desc;
    let walk = context.gateway.with_store(|store| Walk::begin(store, at, rest, descending, Listing::of(query)));
    let walk = walk.map_err(ApiError::compacted)?;
    let revision = walk.revision();
    let (gateway, budget) = (context.gateway.clone(), context.replies.clone());
    let heavy_work = context.heavy_work.clone();
    let mut lines = Lines { gateway, budget, heavy_work, walk, count: 0, last: None, _place: place };
    let (first, is_last) = lines.piece().await?;
    let lines = (!is_last).then_some(lines);
    let chunks = stream::iter([first]).chain(stream::unfold(lines, |lines| async {
        let mut lines = lines?;
        // Whoever else is waiting for this thread comes first.
        yield_now().await;
        Some(match lines.piece().await {
            Ok((chunk, false)) => (chunk, Some(lines)),
            Ok((chunk, true)) => (chunk, None),
            Err(error) => (lines.error(error), None),
        })
    }));
    Ok(reply::at_revision(reply::lines(chunks), revision))
}

/// A stream and how far it has come.
struct Lines {
    gateway: Gateway,
    budget: ReplyBudget,
    heavy_work: HeavyWork,
    walk: Walk,
    /// Number of lines so far.
    count: u64,
    /// The key or folder of the last line.
    last: Option<Key>,
    _place: StreamPlace,
}

impl Lines {
    /// Returns the next lines. True beside the last ones.
    async fn piece(&mut self) -> Result<(Bytes, bool), ApiError> {
        self.gateway.check_not_diverged()?;
        let Self { gateway, budget, walk, .. } = self;
        let (mut entries, mut charge, mut room) = (Vec::new(), Charge::NONE, Room::endless());
        let end = gateway.with_store(|store| {
            walk.piece(store, &mut room, &mut entries, |bytes| budget.extend(&mut charge, bytes))
        })?;
        let count = self.count + entries.len() as u64;
        let last = entries.last().map(|entry| entry.key().clone());
        let last_line = (end == End::Range).then(|| ListLine::End { revision: walk.revision(), count });
        let is_last = last_line.is_some();
        let budget = budget.clone();
        let render = move || budget.attach(charge, render(entries.into_iter().map(line).chain(last_line))?);
        let chunk = self.heavy_work.run(room.bytes(), render).await?;
        self.count = count;
        self.last = last.or(self.last.take());
        Ok((chunk, is_last))
    }

    /// Returns the line that ends a stream early.
    fn error(self, error: ApiError) -> Bytes {
        let line = ListLine::Error { error: error.into_body(), after: self.last };
        render([line].into_iter()).map(Bytes::from).unwrap_or_default()
    }
}

fn line(entry: Entry) -> ListLine {
    match entry {
        Entry::Item(item) => ListLine::Item(item),
        Entry::Folder(folder) => ListLine::Prefix(folder),
    }
}

fn render(lines: impl Iterator<Item = ListLine>) -> Result<Vec<u8>, ApiError> {
    let mut rendered = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut rendered, &line).map_err(|_| ApiError::internal())?;
        rendered.push(b'\n');
    }
    Ok(rendered)
}
