//! The accept loop.

use super::limits::Limits;
use super::lingering::RequestBody;
use super::listeners::Listeners;
use super::serving::Connection;
use hyper::body::Body;
use hyper::service::Service;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::Instrument;

/// Pause after the operating system refused a connection, most often because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Least time between two warnings of the same kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Serves connections until `shutdown` completes. Then accepts no more, lets requests under way finish within
/// [`Limits::drain_time_max`], and returns when the last connection is closed.
pub(in crate::http) async fn serve<S, B>(
    mut listeners: Listeners,
    service: S,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let served = Arc::new(Semaphore::new(limits.connections_max));
    let crowded = Arc::new(Semaphore::new(limits.crowded_max));
    let mut full = Seldom::default();
    let mut failing = Seldom::default();
    // Closed when the last connection has dropped its receiver.
    let (stop, stopping) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listeners.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if failing.is_due() {
                    tracing::warn!(%error, "cannot accept connections; if the limit on open files is the cause, raise \
                         it");
                }
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let permit = Arc::clone(&served).try_acquire_owned();
        let is_crowded = permit.is_err();
        if is_crowded && full.is_due() {
            tracing::warn!(limit = limits.connections_max, "too many connections; refusing further clients");
        }
        let Ok(permit) = permit.or_else(|_| Arc::clone(&crowded).try_acquire_owned()) else { continue };
        // Replies are small and whole; waiting to fill a segment would only delay them. If this fails, they are merely
        // slower.
        let _ = stream.set_nodelay(true);
        let from = stream.peer_addr().ok();
        let connection = Connection { permit, is_crowded, from, limits: limits.clone(), stopping: stopping.clone() };
        tokio::spawn(connection.serve(stream, service.clone()).in_current_span());
    }
    drop(listeners);
    drop(stopping);
    // Sending without a receiver is not an error: nobody is connected.
    let _ = stop.send(());
    stop.closed().await;
}

/// Returns whether an error of `accept` concerns a single connection that ended before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Limits a warning that could come a thousand times a second to one a minute.
#[derive(Default)]
struct Seldom {
    last: Option<Instant>,
}

impl Seldom {
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self.last.is_none_or(|last| now - last >= WARNING_INTERVAL);
        if due {
            self.last = Some(now);
        }
        due
    }
}
