//! The pulse: asks the leader at intervals if this node is up to date, as long as a stream has to report that.

use super::gateway::{Asker, Caller, Gateway};
use crate::kv::{Revision, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Shortest and longest time between two questions.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(2_500);

/// Time for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The pulse of a node; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Number of streams, by the greatest age of the state that they may report.
    needed: Mutex<BTreeMap<Duration, usize>>,
    changed: Notify,
    known: Mutex<Option<Known>>,
}

/// Freshness of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Moment of the question to the leader.
    pub(super) at: Instant,
    /// Revision of a store that has everything that was committed at that moment.
    pub(super) revision: Revision,
}

/// Keeps the pulse going until dropped.
pub(super) struct Beating {
    shared: Arc<Shared>,
    age_max: Duration,
}

impl Shared {
    fn needed(&self) -> MutexGuard<'_, BTreeMap<Duration, usize>> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// Keeps the known age of the state below `age_max` as long as a leader answers.
    pub(super) fn keep(&self, age_max: Duration) -> Beating {
        let shared = Arc::clone(&self.shared);
        *shared.needed().entry(age_max).or_default() += 1;
        shared.changed.notify_one();
        Beating { shared, age_max }
    }

    /// Returns the newest known freshness; `None` if no leader has answered yet.
    pub(super) fn known(&self) -> Option<Known> {
        *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until the node stops.
    pub(super) async fn beat(self, gateway: Gateway) {
        tokio::select! {
            () = gateway.stops() => {}
            () = self.beat_on(&gateway) => {}
        }
    }

    async fn beat_on(&self, gateway: &Gateway) {
        let mut asked = Instant::now();
        loop {
            let age_max = self.shared.needed().first_key_value().map(|(age_max, _)| *age_max);
            let Some(age_max) = age_max else {
                self.shared.changed.notified().await;
                continue;
            };
            // Half of the age is left for the answer.
            let next = asked + (age_max / 2).clamp(SHORTEST, LONGEST);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.shared.changed.notified() => continue,
            }
            asked = Instant::now();
            let asker = Asker { caller: Caller::Client { redirects: false }, deadline: asked + ANSWER_TIME_MAX };
            // Without an answer the known state grows old, and streams report its age.
            if gateway.confirm(&asker).await.is_ok() {
                let known = Known { at: asked, revision: gateway.with_store(Store::revision) };
                *self.shared.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
            }
        }
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        let mut needed = self.shared.needed();
        if let Some(count) = needed.get_mut(&self.age_max) {
            *count -= 1;
            if *count == 0 {
                needed.remove(&self.age_max);
            }
        }
    }
}
