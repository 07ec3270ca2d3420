//! Start or continuation of a list.

use super::super::context::Context;
use super::super::convert::listed_range;
use super::super::error::ApiError;
use super::token::Token;
use crate::kv::{KeyRange, Revision};
use kvclient::api::{ListQuery, Order, ReadOptions};

/// The place from which a list goes on.
pub(super) struct Start {
    /// The revision to list, unless it is the newest.
    pub(super) at: Option<Revision>,
    /// The part of the range that is left.
    pub(super) rest: KeyRange,
    /// Number of keys of the whole range, if an earlier page has counted them.
    pub(super) count: Option<u64>,
}

impl Start {
    pub(super) fn of(context: &Context, query: &ListQuery) -> Result<Self, ApiError> {
        let whole = listed_range(&query.list);
        let Some(next) = &query.next else { return Ok(Self { at: query.revision, rest: whole, count: None }) };
        let token = Token::read(next, &context.cluster(), &parameters(query))?;
        // Whatever the token says, the list stays within its range.
        let rest = match query.list.order {
            Order::Asc => KeyRange { from: whole.from.max(token.position), to: whole.to },
            Order::Desc => whole.before(&token.position),
        };
        Ok(Self { at: Some(token.revision), rest, count: token.count })
    }
}

/// Returns the parameters that all pages of a list have in common.
pub(super) fn parameters(query: &ListQuery) -> String {
    let ListQuery { list, revision, next: _, wait: _, read: _ } = query;
    let (list, revision) = (list.clone(), *revision);
    ListQuery { list, revision, next: None, wait: None, read: ReadOptions::default() }.to_query()
}
