//! Resources that all handlers share beside the gateway: memory for bodies and replies, and threads for heavy work.

use super::body::{self, BodyReader};
use super::error::ApiError;
use super::gateway::Gateway;
use super::limits::Limits;
use super::pulse::Pulse;
use super::reply_budget::ReplyBudget;
use super::streams::Streams;
use super::up_to_date::UpToDate;
use super::watchers::Watchers;
use kvclient::api::parse_hex_id;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

/// Up to this many bytes are parsed or rendered on the spot. For more, that takes longer than passing the work to
/// another thread.
const LIGHT_BYTES_MAX: usize = 64 << 10;

/// Most requests whose bytes are parsed or rendered on other threads at the same time.
const HEAVY_WORK_MAX: usize = 2;

/// State of the handlers of one server.
pub(super) struct Context {
    pub(super) gateway: Gateway,
    /// Largest JSON body of a request for one key or range, in bytes.
    pub(super) json_bytes_max: usize,
    /// Largest JSON body of a transaction, in bytes.
    pub(super) txn_json_bytes_max: usize,
    pub(super) bodies: BodyReader,
    /// Memory for large replies.
    pub(super) replies: ReplyBudget,
    /// Bound on the age of this node's state.
    pub(super) up_to_date: UpToDate,
    pub(super) heavy_work: HeavyWork,
    /// Places for streams and waits.
    pub(super) streams: Streams,
    pub(super) watchers: Watchers,
    pub(super) pulse: Pulse,
}

/// Threads for heavy work; cheap to clone.
#[derive(Clone)]
pub(super) struct HeavyWork {
    turns: Arc<Semaphore>,
}

impl HeavyWork {
    /// Does work whose time grows with `bytes`: on the spot if they are few, else on another thread. The thread that
    /// polls handlers runs consensus too, and a crowd of large requests must not delay its heartbeats.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= LIGHT_BYTES_MAX {
            return work();
        }
        // The semaphore is never closed. A panic of the work continues here, where it ends one connection.
        let _permit = self.turns.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

impl Context {
    pub(super) fn new(gateway: Gateway, limits: &Limits) -> Self {
        let json_bytes_max = body::json_bytes_max(gateway.limits.value_bytes_max);
        let txn_json_bytes_max = body::txn_json_bytes_max(gateway.limits.txn_bytes_max);
        let bodies = BodyReader::new(json_bytes_max.max(txn_json_bytes_max), limits.body_time_max);
        let replies = ReplyBudget::new(limits.reply_bytes_max.max(json_bytes_max));
        let up_to_date = UpToDate::new(gateway.started);
        let heavy_work = HeavyWork { turns: Arc::new(Semaphore::new(HEAVY_WORK_MAX)) };
        Self {
            gateway,
            json_bytes_max,
            txn_json_bytes_max,
            bodies,
            replies,
            up_to_date,
            heavy_work,
            streams: Streams::new(limits.streams_max),
            watchers: Watchers::default(),
            pulse: Pulse::default(),
        }
    }

    /// Runs heavy work; see [`HeavyWork::run`].
    pub(super) async fn heavy_work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.heavy_work.run(bytes, work).await
    }

    /// Starts the tasks that serve streams. They end when the node stops.
    pub(super) fn start_tasks(&self) {
        tokio::spawn(self.watchers.clone().wake(self.gateway.clone()).in_current_span());
        tokio::spawn(self.pulse.clone().beat(self.gateway.clone()).in_current_span());
    }

    /// Returns the id of the cluster, if the node is part of one.
    pub(super) fn cluster_id(&self) -> Option<u64> {
        parse_hex_id(&self.cluster())
    }

    /// Returns the id of the cluster; empty if there is none yet.
    pub(super) fn cluster(&self) -> String {
        let view = self.gateway.view.borrow();
        view.cluster.as_ref().map(|cluster| cluster.id.clone()).unwrap_or_default()
    }
}
