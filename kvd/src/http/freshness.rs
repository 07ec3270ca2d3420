//! Required freshness of a read, and the wait until this node reaches it.

use super::context::Context;
use super::error::ApiError;
use super::gateway::{Asker, Consistency};
use super::reply;
use crate::kv::Revision;
use kvclient::api::ErrorCode;
use std::time::{Duration, Instant};
use warp::reply::Response;

/// Freshness required by the query of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freshness {
    consistency: Consistency,
    /// Greatest age of the state for a stale read.
    age_max: Option<Duration>,
    min_revision: Option<Revision>,
}

impl Freshness {
    /// Parses the values of the query parameters `consistency`, `max_stale_ms` and `min_revision`.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidRequest`].
    pub(super) fn read(
        consistency: Option<&str>,
        max_stale_ms: Option<&str>,
        min_revision: Option<&str>,
    ) -> Result<Self, ApiError> {
        let consistency = match consistency {
            None | Some("linearizable") => Consistency::Linearizable,
            Some("stale") => Consistency::Stale,
            Some(_) => return Err(ApiError::invalid("`consistency` must be linearizable or stale")),
        };
        if max_stale_ms.is_some() && consistency != Consistency::Stale {
            return Err(ApiError::invalid("`max_stale_ms` needs consistency=stale: other reads are never stale"));
        }
        let not_ms = || ApiError::invalid("`max_stale_ms` must be a number of milliseconds");
        let age_max = max_stale_ms.map(|ms| ms.parse().map(Duration::from_millis).map_err(|_| not_ms())).transpose()?;
        let not_a_revision = || ApiError::invalid("`min_revision` must be a revision, as in `revision` of a reply");
        let min_revision = min_revision.map(|text| text.parse().map_err(|_| not_a_revision())).transpose()?;
        Ok(Self { consistency, age_max, min_revision })
    }

    /// Waits until the store of this node is as fresh as required.
    ///
    /// # Errors
    /// The replica's error, and an error if the deadline passes first.
    pub(super) async fn wait(&self, context: &Context, asker: &Asker) -> Result<(), ApiError> {
        context.gateway.check_not_diverged()?;
        if self.consistency == Consistency::Linearizable {
            confirm(context, asker).await?;
        }
        if let Some(revision) = self.min_revision {
            context.gateway.reach(asker, self.consistency, revision).await?;
        }
        // Checked last, since the state ages while the node waits for a revision.
        match self.age_max {
            Some(age_max) => keep_within(context, asker, age_max).await,
            None => Ok(()),
        }
    }

    /// Adds the term in which the read was confirmed to its reply.
    pub(super) fn sign(&self, context: &Context, response: Response) -> Response {
        match self.consistency {
            Consistency::Linearizable => reply::of_term(response, context.gateway.view.borrow().term),
            Consistency::Stale => response,
        }
    }
}

/// Waits until this node has everything that was committed before the call.
async fn confirm(context: &Context, asker: &Asker) -> Result<(), ApiError> {
    let asked = Instant::now();
    context.gateway.confirm(asker).await?;
    context.up_to_date.confirm(asked);
    Ok(())
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
        Ok(()) if is_within() => Ok(()),
        Ok(()) => Err(too_stale("the leader took longer to answer")),
        Err(error) if matches!(error.code(), ErrorCode::NoLeader | ErrorCode::Timeout) => {
            Err(too_stale("no leader has confirmed its state since"))
        }
        Err(error) => Err(error),
    }
}
