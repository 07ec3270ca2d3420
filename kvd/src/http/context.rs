//! Resources that all handlers share beside the gateway: memory for bodies and replies, and threads for heavy work.

use super::body::{self, BodyReader};
use super::error::ApiError;
use super::gateway::Gateway;
use super::limits::Limits;
use super::reply_budget::ReplyBudget;
use super::up_to_date::UpToDate;
use tokio::sync::Semaphore;

/// Up to this many bytes are parsed or rendered on the spot. For more, that takes longer than passing the work to
/// another thread.
const LIGHT_BYTES_MAX: usize = 64 << 10;

/// Most requests whose bytes are parsed or rendered on other threads at the same time.
const HEAVY_WORK_MAX: usize = 2;

/// State of the handlers of one server.
pub(super) struct Context {
    pub(super) gateway: Gateway,
    /// Largest JSON body, in bytes.
    pub(super) json_bytes_max: usize,
    pub(super) bodies: BodyReader,
    /// Memory for large replies.
    pub(super) replies: ReplyBudget,
    /// Bound on the age of this node's state.
    pub(super) up_to_date: UpToDate,
    heavy_work: Semaphore,
}

impl Context {
    pub(super) fn new(gateway: Gateway, limits: &Limits) -> Self {
        let json_bytes_max = body::json_bytes_max(gateway.value_bytes_max);
        let bodies = BodyReader::new(json_bytes_max, limits.body_time_max);
        let replies = ReplyBudget::new(limits.reply_bytes_max.max(json_bytes_max));
        let up_to_date = UpToDate::new(gateway.started);
        let heavy_work = Semaphore::new(HEAVY_WORK_MAX);
        Self { gateway, json_bytes_max, bodies, replies, up_to_date, heavy_work }
    }

    /// Does work whose time grows with `bytes`: on the spot if they are few, else on another thread. The thread that
    /// polls handlers runs consensus too, and a crowd of large requests must not delay its heartbeats.
    pub(super) async fn heavy_work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= LIGHT_BYTES_MAX {
            return work();
        }
        // The semaphore is never closed. A panic of the work continues here, where it ends one connection.
        let _permit = self.heavy_work.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
