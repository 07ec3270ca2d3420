//! Serves one connection, over any stream that carries it.

use super::impatient::Impatient;
use super::limits::{Crowded, Limits};
use super::lingering::{Lingering, RequestBody};
use super::prompt::{HeadWatch, Prompt};
use futures_util::FutureExt as _;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Time in which a crowded connection must send its headers.
const CROWDED_HEADERS_TIME_MAX: Duration = Duration::from_secs(2);

/// Largest request line with headers. A key of the greatest length takes 12 KiB when percent-encoded.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// One accepted connection.
pub(super) struct Connection {
    /// Its place among the connections, free again once it has closed or become a WebSocket.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) is_crowded: bool,
    /// Address of the other end, which requests that upgrade from HTTP get as an extension.
    pub(super) from: Option<SocketAddr>,
    pub(super) limits: Limits,
    pub(super) stopping: watch::Receiver<()>,
}

impl Connection {
    /// Serves requests on `stream`, until it is closed.
    pub(super) async fn serve<T, S, B>(self, stream: T, service: S)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { permit: _permit, is_crowded, from, limits, mut stopping } = self;
        let unread = Arc::new(AtomicBool::new(false));
        let heads = HeadWatch::default();
        let stream = Impatient::new(stream, limits.write_time_max);
        let stream = Lingering::new(stream, Arc::clone(&unread));
        let (headers_time_max, idle_time_max) = match is_crowded {
            true => (CROWDED_HEADERS_TIME_MAX, CROWDED_HEADERS_TIME_MAX),
            false => (limits.headers_time_max, limits.idle_time_max),
        };
        let stream = Prompt::new(stream, heads.clone(), headers_time_max);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if is_crowded {
                request.extensions_mut().insert(Crowded);
            }
            // Only streams between nodes need the address.
            if let Some(from) = from.filter(|_| request.headers().contains_key(UPGRADE)) {
                request.extensions_mut().insert(from);
            }
            heads.arrived();
            let reply = service.call(request.map(|body| RequestBody::new(body, Arc::clone(&unread))));
            let (unread, heads) = (Arc::clone(&unread), heads.clone());
            // Not an async block, which would reserve room for the future twice: once as a capture, and once as the
            // awaited future. Every connection has that room, whether a request is being answered or not.
            reply.map(move |Ok(mut reply)| {
                if unread.load(Ordering::Relaxed) {
                    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(heads.after(reply))
            })
        });
        let mut builder = http1::Builder::new();
        // hyper counts from the previous reply, so this is the limit on idle time.
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
