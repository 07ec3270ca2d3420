//! Reports from the parts of a node: what a part has done or found out by itself.
//!
//! A part, such as the thread that writes the log, knows only its own kind of event. The code that starts the part
//! decides where its reports arrive (see [`super::events`]), so no part imports another one.

use crate::storage::StorageError;
use std::fmt;
use std::sync::Arc;
use std::thread;

/// A failure after which the node must stop.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk failed, and nothing on it can be trusted any more.
    Disk(StorageError),
    /// A part ended by a panic, which has been reported.
    Panic,
}

/// Takes the reports of one part. Clones report to the same place.
pub(super) struct Reporter<E> {
    deliver: Arc<dyn Fn(Result<E, Failure>) -> bool + Send + Sync>,
}

impl<E> Reporter<E> {
    /// Creates a reporter that delivers through this function, which must be quick. The function returns false once
    /// nobody takes reports.
    pub(super) fn new(deliver: impl Fn(Result<E, Failure>) -> bool + Send + Sync + 'static) -> Self {
        Self { deliver: Arc::new(deliver) }
    }

    /// Reports an event. Returns false if the node has stopped, so that nobody receives it.
    pub(super) fn report(&self, event: E) -> bool {
        (self.deliver)(Ok(event))
    }

    /// Reports that the node must stop.
    pub(super) fn fail(&self, failure: Failure) {
        // A node that has stopped already need not be told.
        let _ = (self.deliver)(Err(failure));
    }
}

/// Reports a panic that ends a thread, when dropped. Otherwise the node would wait for that thread forever.
pub(super) struct ReportPanic<E>(pub(super) Reporter<E>);

impl<E> Drop for ReportPanic<E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Failure::Panic);
        }
    }
}

impl<E> Clone for Reporter<E> {
    fn clone(&self) -> Self {
        Self { deliver: Arc::clone(&self.deliver) }
    }
}

impl<E> fmt::Debug for Reporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporter")
    }
}

#[cfg(test)]
impl<E: Send + 'static> Reporter<E> {
    /// Returns a reporter, and the end at which a test receives its reports.
    pub(super) fn channel() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Result<E, Failure>>) {
        let (sender, reported) = tokio::sync::mpsc::unbounded_channel();
        (Self::new(move |report| sender.send(report).is_ok()), reported)
    }
}
