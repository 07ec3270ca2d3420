//! Background tasks that end with their owner.

use tokio::task::AbortHandle;
use tracing::Instrument;

/// A background task, in the span of the code that starts it. Dropping this ends the task.
#[derive(Debug)]
pub(crate) struct Background {
    task: AbortHandle,
}

impl Background {
    /// Starts the task.
    pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { task: tokio::spawn(task.in_current_span()).abort_handle() }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}
