//! Keeps all leases of a client alive, from one thread that runs while there are any.

use super::term::Term;
use crate::api::{KeepAliveReply, KeepAliveRequest, LeaseId};
use crate::error::Error;
use crate::routing::Cluster;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Most leases in one request.
const LEASES_PER_REQUEST_MAX: usize = 10_000;

/// Shortest time limit of a request.
const LIMIT_MIN: Duration = Duration::from_millis(50);

/// The leases of a client, and the thread that renews them.
#[derive(Debug)]
pub(crate) struct Keeper {
    cluster: Arc<Cluster>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    leases: BTreeMap<LeaseId, Arc<Term>>,
    has_thread: bool,
}

/// Leases that are renewed by one request.
struct Batch {
    leases: Vec<(LeaseId, Arc<Term>)>,
    /// Time for the request: half of the time left until the next lease needs the thread.
    limit: Duration,
}

impl Keeper {
    /// Creates a keeper without leases and without thread.
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    // A panic elsewhere has left the map intact.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a lease alive from now on.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the system has no thread left.
    pub(super) fn keep(self: &Arc<Self>, id: LeaseId, term: Arc<Term>) -> Result<(), Error> {
        let mut state = self.state();
        if !state.has_thread {
            let keeper = Arc::clone(self);
            let started = thread::Builder::new().name("kvclient-lease".into()).spawn(move || keeper.run());
            started.map_err(|cause| Error::Configuration {
                message: format!("the thread that keeps leases alive cannot be started: {cause}"),
            })?;
            state.has_thread = true;
        }
        state.leases.insert(id, term);
        self.changed.notify_all();
        Ok(())
    }

    /// Stops keeping a lease alive.
    pub(super) fn forget(&self, id: LeaseId, term: &Arc<Term>) {
        let mut state = self.state();
        // The same lease may have been taken up again by another handle.
        if state.leases.get(&id).is_some_and(|kept| Arc::ptr_eq(kept, term)) {
            state.leases.remove(&id);
        }
        self.changed.notify_all();
    }

    fn run(&self) {
        while let Some(batch) = self.next_batch() {
            self.renew(batch);
        }
    }

    /// Waits for the next leases to renew. Returns `None` once there are none to keep.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            state.leases.retain(|_, term| !term.is_lost(now));
            let Some(next) = state.leases.values().map(|term| term.next()).min() else {
                state.has_thread = false;
                return None;
            };
            if next <= now {
                return Some(Batch::of(&state, now));
            }
            let waited = self.changed.wait_timeout(state, next - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn renew(&self, batch: Batch) {
        let Batch { leases, limit } = batch;
        let request = KeepAliveRequest::Many(leases.iter().map(|(id, _)| *id).collect());
        let mut lane = self.cluster.lanes.borrow();
        let sent = Instant::now();
        let reply = self.cluster.write_within(&mut lane, "/lease/keepalive", &request, limit);
        drop(lane);
        let now = Instant::now();
        let answered = match reply {
            Ok(KeepAliveReply::Many { leases }) => leases,
            Ok(KeepAliveReply::One { .. }) | Err(_) => BTreeMap::new(),
        };
        for (id, term) in leases {
            match answered.get(&id) {
                Some(Some(ttl_ms)) => term.renew(sent, Duration::from_millis(*ttl_ms), now),
                Some(None) => term.lose(),
                None => term.retry(now),
            }
        }
    }
}

impl Batch {
    /// Returns the leases that are renewed now, the most urgent first if they are too many.
    fn of(state: &State, now: Instant) -> Self {
        let due = state.leases.iter().filter(|(_, term)| term.goes_along(now));
        let mut leases: Vec<_> = due.map(|(id, term)| (*id, Arc::clone(term))).collect();
        if leases.len() > LEASES_PER_REQUEST_MAX {
            leases.sort_by_key(|(_, term)| term.next());
            leases.truncate(LEASES_PER_REQUEST_MAX);
        }
        let first_lost = state.leases.values().map(|term| term.lost_at()).min();
        let left = first_lost.map_or(Duration::ZERO, |lost| lost.saturating_duration_since(now));
        Self { leases, limit: (left / 2).max(LIMIT_MIN) }
    }
}
