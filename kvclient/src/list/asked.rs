//! The request behind pages and streams.

use crate::api::{Applied, ListOp, ListQuery, ListReply, PAGE_ITEMS_MAX, Range};
use crate::error::Error;
use crate::routing::Cluster;
use std::sync::Arc;

/// The keys to list, the options, and the nodes to ask.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) cluster: Arc<Cluster>,
    pub(super) query: ListQuery,
    /// Most entries in all.
    pub(super) limit: Option<u64>,
}

impl Asked {
    pub(super) fn new(cluster: Arc<Cluster>, range: Range) -> Self {
        Self { cluster, query: ListQuery::new(ListOp::new(range)), limit: None }
    }

    /// Returns the query of a page, with a limit that is the same for all pages: a token is bound to it.
    pub(super) fn paged(&self) -> ListQuery {
        let mut query = self.query.clone();
        let page_limit = query.list.limit.unwrap_or(PAGE_ITEMS_MAX);
        query.list.limit = self.limit.map_or(query.list.limit, |limit| Some(limit.clamp(1, page_limit.max(1))));
        query
    }

    /// Returns the query of a page that also counts the keys.
    pub(super) fn counted(&self) -> ListQuery {
        let mut query = self.paged();
        query.list.count = true;
        query
    }

    /// Asks for one page.
    pub(super) fn ask(&self, query: &ListQuery) -> Result<ListReply, Error> {
        query.list.check().map_err(|message| Error::InvalidRequest { message })?;
        let page = self.cluster.read(&format!("/list?{}", query.to_query()))?;
        page.ok_or_else(|| unexpected("key_not_found for a list"))
    }
}

/// Returns the error for a reply that does not follow the API.
pub(super) fn unexpected(message: impl Into<String>) -> Error {
    Error::Unexpected { endpoint: "a node".into(), applied: Applied::No, message: message.into() }
}
