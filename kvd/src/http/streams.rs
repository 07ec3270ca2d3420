//! The limit on streams and waits: requests that last long, even if they do little.

use super::error::ApiError;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for streams and waits; cheap to clone.
#[derive(Clone)]
pub(super) struct Streams {
    places: Arc<Semaphore>,
    max: usize,
}

/// The place of one stream. It is free again when dropped.
pub(super) struct StreamPlace(#[expect(dead_code, reason = "held until dropped")] OwnedSemaphorePermit);

impl Streams {
    pub(super) fn new(max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))), max }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`ApiError`] if all are taken.
    pub(super) fn begin(&self) -> Result<StreamPlace, ApiError> {
        Arc::clone(&self.places).try_acquire_owned().map(StreamPlace).map_err(|_| {
            ApiError::overloaded(format!(
                "this node has {} streams and waits already, as many as --max-streams of kvd allows: end some, try \
                 again later, or ask another node",
                self.max
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_has_ended() {
        let streams = Streams::new(2);
        let first = streams.begin().unwrap();
        let _second = streams.begin().unwrap();
        assert!(streams.begin().is_err());
        drop(first);
        streams.begin().unwrap();
    }
}
