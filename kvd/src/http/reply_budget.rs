//! Memory for replies.
//!
//! A reply stays in memory until the client has taken it, which may be never. So a large reply is charged against a
//! budget that all connections share, from before its value is copied until its last byte is written.

use super::error::ApiError;
use super::reply::{JSON, uncached};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warp::http::StatusCode;
use warp::reply::Response;

/// Size up to which a reply is not charged, in bytes.
const UNCHARGED_BYTES_MAX: usize = 64 << 10;

/// Memory for large replies, shared by all connections; cheap to clone.
#[derive(Clone)]
pub(super) struct ReplyBudget {
    /// One permit for each byte.
    bytes: Arc<Semaphore>,
}

/// Charge of a reply against the budget; returned when dropped.
pub(super) struct Charge {
    bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// No charge yet.
    pub(super) const NONE: Self = Self { bytes: 0, permits: None };
}

impl ReplyBudget {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))) }
    }

    /// Charges a reply of `bytes`.
    ///
    /// # Errors
    /// [`ApiError`] if the budget has less than that left.
    pub(super) fn charge(&self, bytes: usize) -> Result<Charge, ApiError> {
        if bytes <= UNCHARGED_BYTES_MAX {
            return Ok(Charge::NONE);
        }
        Ok(Charge { bytes, permits: Some(self.take(bytes)?) })
    }

    /// Charges a reply for `bytes` more, which are about to be copied.
    ///
    /// # Errors
    /// [`ApiError`] if the budget has less than that left.
    pub(super) fn extend(&self, charge: &mut Charge, bytes: usize) -> Result<(), ApiError> {
        let (paid, sum) = (charge.permits.as_ref().map_or(0, |permits| permits.num_permits()), charge.bytes + bytes);
        if sum > UNCHARGED_BYTES_MAX {
            let more = self.take(sum - paid)?;
            match &mut charge.permits {
                Some(permits) => permits.merge(more),
                None => charge.permits = Some(more),
            }
        }
        charge.bytes = sum;
        Ok(())
    }

    /// Adjusts a charge to the size of a rendered reply, and ties it to the reply's bytes. The server drops those once
    /// they are written or the connection is closed.
    ///
    /// # Errors
    /// [`ApiError`] if the budget has too little left for a larger reply.
    pub(super) fn attach(&self, charge: Charge, reply: Vec<u8>) -> Result<Bytes, ApiError> {
        struct Charged(Vec<u8>, #[expect(dead_code, reason = "held until dropped")] Option<OwnedSemaphorePermit>);
        impl AsRef<[u8]> for Charged {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let Charge { bytes, mut permits } = charge;
        let paid = permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if reply.len() > bytes.max(UNCHARGED_BYTES_MAX) {
            let more = self.take(reply.len() - paid)?;
            match &mut permits {
                Some(permits) => permits.merge(more),
                None => permits = Some(more),
            }
        }
        Ok(if permits.is_some() { Bytes::from_owner(Charged(reply, permits)) } else { reply.into() })
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).try_acquire_many_owned(permits).map_err(|_| ApiError::replies_too_many())
    }
}

/// Renders `body` as JSON, charged to `budget`.
///
/// # Errors
/// [`ApiError`].
pub(super) fn charged(
    budget: &ReplyBudget,
    charge: Charge,
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, ApiError> {
    let mut json = serde_json::to_vec(body).map_err(|_| ApiError::internal())?;
    json.push(b'\n');
    Ok(uncached(status, JSON, Response::new(budget.attach(charge, json)?.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_replies_are_charged_until_they_are_dropped() {
        let all = 4 * UNCHARGED_BYTES_MAX;
        let budget = ReplyBudget::new(all);
        let left = || budget.bytes.available_permits();
        let reply = |bytes| vec![b'x'; bytes];

        let small = budget.attach(Charge::NONE, reply(UNCHARGED_BYTES_MAX)).unwrap();
        assert_eq!((small.len(), left()), (UNCHARGED_BYTES_MAX, all), "small ones are free");

        let charge = budget.charge(all / 2).unwrap();
        assert_eq!(left(), all / 2, "before it is rendered");
        let large = budget.attach(charge, reply(all)).unwrap();
        assert_eq!(left(), 0, "as large as it turned out");
        assert_eq!(budget.charge(all).err(), Some(ApiError::replies_too_many()));
        assert_eq!(budget.attach(Charge::NONE, reply(all)), Err(ApiError::replies_too_many()));
        let part = large.slice(1..2);
        drop(large);
        assert_eq!(left(), 0, "while any of it is left to write");
        drop(part);
        assert_eq!(left(), all);

        let charge = budget.charge(all / 2).unwrap();
        assert_eq!(budget.attach(charge, reply(all + 1)), Err(ApiError::replies_too_many()));
        assert_eq!(left(), all, "nothing leaks from a failure");
    }
}
