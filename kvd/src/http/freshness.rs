//! Required freshness of a read, and the wait until this node reaches it.

use super::context::Context;
use super::error::ApiError;
use super::gateway::Asker;
use super::reply;
use crate::kv::{Revision, Store};
use kvclient::api::{Consistency, ErrorCode, ReadOptions};
use std::time::{Duration, Instant};
use warp::reply::Response;

/// Freshness required by the query of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness(ReadOptions);

impl Freshness {
    /// Returns the freshness that a read with these options needs.
    pub(super) fn of(options: ReadOptions) -> Self {
        Self(options)
    }

    fn is_stale(&self) -> bool {
        matches!(self.0.consistency, Consistency::Stale { .. })
    }

    /// Waits until the store of this node is as fresh as required.
    ///
    /// # Errors
    /// The replica's error, and an error if the deadline passes first.
    pub(super) async fn wait(&self, context: &Context, asker: &Asker) -> Result<(), ApiError> {
        self.wait_timed(context, asker).await.map(drop)
    }

    /// Waits as [`Freshness::wait`] does. Returns the cluster time of the leader's answer, in milliseconds, if a leader
    /// was asked and its answer has one.
    ///
    /// # Errors
    /// As [`Freshness::wait`].
    pub(super) async fn wait_timed(&self, context: &Context, asker: &Asker) -> Result<Option<u64>, ApiError> {
        context.gateway.check_not_diverged()?;
        let time_ms = if self.is_stale() { None } else { confirm(context, asker).await? };
        self.wait_for_min_revision(context, asker).await?;
        // Checked last, since the state ages while the node waits for a revision.
        if let Consistency::Stale { max_stale_ms: Some(ms) } = self.0.consistency {
            keep_within(context, asker, Duration::from_millis(ms)).await?;
        }
        Ok(time_ms)
    }

    /// Waits until this node has reached the revision `at`. If it has already, no leader is asked: the past does not
    /// change.
    ///
    /// # Errors
    /// [`ErrorCode::FutureRevision`] if no node has reached it; for a stale read, [`ErrorCode::TooStale`] if this node
    /// has not. Otherwise the replica's error, or an error if the deadline passes first.
    pub(super) async fn wait_for_past(&self, context: &Context, asker: &Asker, at: Revision) -> Result<(), ApiError> {
        context.gateway.check_not_diverged()?;
        let reached = || context.gateway.with_store(Store::revision);
        if reached() < at && self.is_stale() {
            return Err(not_reached(at, reached()));
        }
        if reached() < at {
            confirm(context, asker).await?;
            check_reached(at, reached())?;
        }
        self.wait_for_min_revision(context, asker).await
    }

    /// Checks that a revision that the client has seen is not ahead of this node, which has waited to be fresh enough.
    ///
    /// # Errors
    /// As [`Freshness::wait_for_past`].
    pub(super) fn check_seen(&self, context: &Context, seen: Revision) -> Result<(), ApiError> {
        let reached = context.gateway.with_store(Store::revision);
        if self.is_stale() && reached < seen { Err(not_reached(seen, reached)) } else { check_reached(seen, reached) }
    }

    async fn wait_for_min_revision(&self, context: &Context, asker: &Asker) -> Result<(), ApiError> {
        let Some(revision) = self.0.min_revision else { return Ok(()) };
        if self.is_stale() {
            return context.gateway.reach(asker, revision).await;
        }
        let reached = || context.gateway.with_store(Store::revision);
        if reached() < revision {
            // A read of the past has not asked the leader yet.
            confirm(context, asker).await?;
        }
        check_reached(revision, reached())
    }

    /// Adds the term in which the read was confirmed to its reply.
    pub(super) fn sign(&self, context: &Context, response: Response) -> Response {
        if self.is_stale() { response } else { reply::of_term(response, context.gateway.view.borrow().term) }
    }
}

/// Checks that a revision is not ahead of everything that was acknowledged.
fn check_reached(revision: Revision, reached: Revision) -> Result<(), ApiError> {
    if revision <= reached { Ok(()) } else { Err(ApiError::future_revision(revision, reached)) }
}

fn not_reached(revision: Revision, reached: Revision) -> ApiError {
    let sentence = format!(
        "this node is at revision {reached} and has not reached {revision}: try again, ask another node, or read without \
         consistency=stale"
    );
    ApiError::new(ErrorCode::TooStale, sentence)
}

/// Waits until this node has everything that was committed before the call.
async fn confirm(context: &Context, asker: &Asker) -> Result<Option<u64>, ApiError> {
    let asked = Instant::now();
    let time_ms = context.gateway.confirm(asker).await?;
    context.up_to_date.confirm(asked);
    Ok(time_ms)
}

/// Ensures that the state is no older than `age_max`. If that is not known, asks the leader once more, as for a
/// linearizable read, but only as long as the answer would be of use.
async fn keep_within(context: &Context, asker: &Asker, age_max: Duration) -> Result<(), ApiError> {
    let is_within = || context.up_to_date.is_within(age_max, Instant::now());
    if is_within() {
        return Ok(());
    }
    let useful_until = tokio::time::Instant::now().checked_add(age_max).unwrap_or(asker.deadline);
    let asker = Asker { deadline: asker.deadline.min(useful_until), ..asker.clone() };
    let too_stale = |why: &str| {
        ApiError::new(
            ErrorCode::TooStale,
            format!(
                "this node may be more than {} ms behind ({why}): ask another node, or allow a larger `max_stale_ms`",
                age_max.as_millis()
            ),
        )
    };
    match confirm(context, &asker).await {
        Ok(_) if is_within() => Ok(()),
        Ok(_) => Err(too_stale("the leader took longer to answer")),
        Err(error) if matches!(error.code(), ErrorCode::NoLeader | ErrorCode::Timeout) => {
            Err(too_stale("no leader has confirmed its state since"))
        }
        Err(error) => Err(error),
    }
}
