//! Start of a watch.

use super::super::context::Context;
use super::super::convert::to_range;
use super::super::error::ApiError;
use super::super::freshness::Freshness;
use super::super::request::Request;
use super::super::watchers::Watcher;
use super::present::Present;
use crate::kv::{ChangePlace, Forgotten, Revision, Spans, Store};
use kvclient::api::{WatchPosition, WatchRequest};

/// No change has this revision: an empty store begins with it.
const FIRST_REVISION: Revision = 1;

/// A watch that has begun.
pub(super) struct Begun {
    pub(super) cluster: u64,
    /// All changes up to this revision lie before the watch.
    pub(super) position: Revision,
    pub(super) watcher: Watcher,
    /// The items to send first.
    pub(super) present: Option<Present>,
}

impl Begun {
    /// Begins a watch behind the last event that the client has had, else from the revision that it asks for, else from
    /// now on.
    ///
    /// # Errors
    /// [`ApiError`] if what was to come first is no longer kept, or yet to come; and those of a read.
    pub(super) async fn at(
        context: &Context,
        request: &Request,
        asked: &WatchRequest,
        freshness: &Freshness,
    ) -> Result<Self, ApiError> {
        let last = request.last_event_id().map(str::parse::<WatchPosition>).transpose();
        let last =
            last.map_err(|error| ApiError::invalid(format!("the header Last-Event-ID is malformed: {error}")))?;
        // A watch whose items have not all come yet has sent nothing: it begins anew.
        let reached = last.filter(|last| last.revision > 0 || !asked.initial);
        let from = match (reached, asked.from_revision, asked.initial) {
            (Some(last), ..) => Some(last.revision),
            (None, Some(_), true) => {
                return Err(ApiError::invalid(
                    "`initial` begins with what is there now: leave out `initial` or `from_revision`",
                ));
            }
            (None, Some(0), false) => return Err(ApiError::invalid("`from_revision` is at least 1")),
            (None, Some(revision), false) => Some(revision - 1),
            (None, None, _) => None,
        };
        match from {
            Some(position) if last.is_none_or(|last| Some(last.cluster) == context.cluster_id()) => {
                freshness.wait_for_past(context, request.asker(), position).await?;
            }
            _ => freshness.wait(context, request.asker()).await?,
        }
        let cluster =
            context.cluster_id().ok_or_else(|| ApiError::not_ready("this node is not part of a cluster yet"))?;
        if last.is_some_and(|last| last.cluster != cluster) {
            let oldest = context.gateway.with_store(Store::oldest_change);
            return Err(ApiError::compacted(Forgotten { oldest }));
        }
        let mut keys = Spans::default();
        asked.ranges.iter().for_each(|range| keys.add(&to_range(range)));
        let begin = |store: &Store| match from {
            Some(position) => {
                let position = position.max(FIRST_REVISION);
                store.changed_keys(ChangePlace::before(position + 1)).map(drop)?;
                Ok((position, None))
            }
            None if asked.initial => {
                let present = Present::of(store, &keys)?;
                Ok((present.revision(), Some(present)))
            }
            None => Ok((store.revision(), None)),
        };
        let (position, present) = context.gateway.with_store(begin).map_err(ApiError::compacted)?;
        Ok(Self { cluster, position, watcher: context.watchers.join(keys, position), present })
    }
}
