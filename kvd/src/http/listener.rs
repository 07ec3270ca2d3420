//! The accept loop: connections in, requests out to a service, within limits.
//!
//! warp's own server has no limit on connections, on the time a client takes for its headers, or on the time
//! a stop may take; so the daemon runs warp's service on a loop of its own, over hyper's HTTP/1.
//!
//! - Up to [`Limits::connections_max`] connections are served. A few more are accepted and marked [`Crowded`]:
//!   of these the service answers only what it must, so that clients, however many, never keep the other
//!   nodes out. Beyond them a connection is closed at once.
//! - A reply to a request whose body nobody has read to its end closes the connection, since what follows is
//!   not worth reading. The client is read on for a moment all the same: closing a socket with unread bytes
//!   resets it, and the reset can overtake the reply that says what was wrong.
//! - What is no HTTP, and headers beyond `HEADERS_BYTES_MAX`, hyper refuses on its own, with a status (400, 431)
//!   and an empty body. It has no hook for that: these replies alone do not have the JSON of the API.
//! - A connection may be idle for [`Limits::idle_time_max`], but a request that has begun must come to the end of
//!   its headers within [`Limits::headers_time_max`]: see `prompt`.
//! - A client that takes nothing of its reply for [`Limits::write_time_max`] is disconnected, or the reply
//!   would stay in memory for as long as the client likes.
//! - Each connection has a task of its own, so a panic in a handler ends that connection and nothing else.

use super::prompt::{HeadWatch, Prompt};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};
use tracing::Instrument;

/// Connections beyond the limit that are still accepted, for the sake of the other nodes.
const CROWDED_CONNECTIONS_MAX: usize = 64;

/// Time in which a crowded connection must say what it wants.
const CROWDED_HEADERS_TIME_MAX: Duration = Duration::from_secs(2);

/// Largest request line with headers. A key of the greatest length takes 12 KiB when percent-encoded.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// Pause after the operating system refused a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Time for which a client is read on after a reply that closes its connection.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);

/// Least time between two warnings of the same kind.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Limits on connections and on what comes over them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections served at the same time. WebSockets no longer count once they are open.
    pub connections_max: usize,
    /// Longest time that a connection may be idle, counted from the reply before. Longer than clients keep idle
    /// connections, so that none writes to one just closed.
    pub idle_time_max: Duration,
    /// Time for a request's headers to arrive: those of the first one from when the connection was accepted, of
    /// the others from their first byte.
    pub headers_time_max: Duration,
    /// Time for a request's body to arrive.
    pub body_time_max: Duration,
    /// Time in which a client must take at least a byte of what is sent to it.
    pub write_time_max: Duration,
    /// Memory for large replies that are under way to clients, in bytes; more where a single one may be larger.
    pub reply_bytes_max: usize,
    /// Time for requests under way to finish once the server stops.
    pub drain_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            idle_time_max: Duration::from_secs(60),
            headers_time_max: Duration::from_secs(10),
            body_time_max: Duration::from_secs(30),
            write_time_max: Duration::from_secs(30),
            reply_bytes_max: 256 << 20,
            drain_time_max: Duration::from_secs(5),
        }
    }
}

/// Marks the requests, in their extensions, that come over a connection beyond the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;

/// Serves connections until `shutdown` completes; then accepts no more, lets what is under way finish within
/// [`Limits::drain_time_max`], and returns when the last connection is closed.
pub(super) async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, shutdown: impl Future<Output = ()>)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let served = Arc::new(Semaphore::new(limits.connections_max));
    let crowded = Arc::new(Semaphore::new(CROWDED_CONNECTIONS_MAX));
    let mut full = Seldom::default();
    let mut failing = Seldom::default();
    // Closed when the last connection has dropped its receiver.
    let (stop, stopping) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if failing.is_due() {
                    tracing::warn!(%error, "cannot accept connections; raise the limit on open files if that is the cause");
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
            tracing::warn!(limit = limits.connections_max, "too many connections; further clients are refused");
        }
        let Ok(permit) = permit.or_else(|_| Arc::clone(&crowded).try_acquire_owned()) else { continue };
        let connection = Connection { permit, is_crowded, limits: limits.clone(), stopping: stopping.clone() };
        tokio::spawn(connection.serve(stream, service.clone()).in_current_span());
    }
    drop(listener);
    drop(stopping);
    // No receiver is no error: nobody is connected.
    let _ = stop.send(());
    stop.closed().await;
}

/// One accepted connection.
struct Connection {
    /// Its place among the connections, free again when it has closed or become a WebSocket.
    permit: OwnedSemaphorePermit,
    is_crowded: bool,
    limits: Limits,
    stopping: watch::Receiver<()>,
}

impl Connection {
    async fn serve<S, B>(self, stream: TcpStream, service: S)
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { permit: _permit, is_crowded, limits, mut stopping } = self;
        // Replies are small and whole; waiting to fill a segment would only delay them. Failure: slower.
        let _ = stream.set_nodelay(true);
        let unread = Arc::new(AtomicBool::new(false));
        let heads = HeadWatch::default();
        let stream = Impatient { stream, time_max: limits.write_time_max, until: None };
        let stream = Lingering { stream, unread: Arc::clone(&unread), until: None };
        let (headers_time_max, idle_time_max) = match is_crowded {
            true => (CROWDED_HEADERS_TIME_MAX, CROWDED_HEADERS_TIME_MAX),
            false => (limits.headers_time_max, limits.idle_time_max),
        };
        let stream = Prompt::new(stream, heads.clone(), headers_time_max);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if is_crowded {
                request.extensions_mut().insert(Crowded);
            }
            heads.arrived();
            let reply = service.call(request.map(|body| RequestBody::new(body, Arc::clone(&unread))));
            let (unread, heads) = (Arc::clone(&unread), heads.clone());
            async move {
                let Ok(mut reply) = reply.await;
                if unread.load(Ordering::Relaxed) {
                    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(heads.after(reply))
            }
        });
        let mut builder = http1::Builder::new();
        // hyper counts from the reply before, so this is the limit on idleness.
        builder.timer(TokioTimer::new()).header_read_timeout(idle_time_max).max_buf_size(HEADERS_BYTES_MAX);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(limits.drain_time_max, connection).await {
                    Ok(ended) => ended,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Whether an error of `accept` concerns one connection, that was gone before it was taken.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Keeps a warning that could come a thousand times a second to one a minute.
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

/// The body of a request, which tells its connection when it has been read to its end.
pub(super) struct RequestBody {
    body: Incoming,
    /// Whether bytes of the present request may still be on their way. One flag serves a connection, whose
    /// requests follow each other.
    unread: Arc<AtomicBool>,
}

impl RequestBody {
    fn new(body: Incoming, unread: Arc<AtomicBool>) -> Self {
        unread.store(!body.is_end_stream(), Ordering::Relaxed);
        Self { body, unread }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.unread.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that, where the last body was not read to its end, reads on a moment before it closes.
struct Lingering {
    stream: Impatient,
    unread: Arc<AtomicBool>,
    /// Set once the write side is shut down.
    until: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.until.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.unread.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let mut discarded = [0; 4096];
        let this = &mut *self;
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_TIME_MAX)));
        while until.as_mut().poll(cx).is_pending() {
            let mut into = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut into)) {
                Ok(()) if !into.filled().is_empty() => {}
                // The client has closed as well, or is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A stream whose writing fails once the other end has taken nothing for a while.
struct Impatient {
    stream: TcpStream,
    time_max: Duration,
    /// While a write waits: when it is given up.
    until: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    /// Passes on what became of a write, and fails one that has waited too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.time_max)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its reply")))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
