//! Requests must be prompt: once begun, a request must reach the end of its headers in time, or its connection is
//! closed.
//!
//! hyper has one time limit for two cases: a connection without requests, and a request that makes no progress. Clients
//! like to keep idle connections for a minute, but nobody waits for a request that takes as long for its headers. So
//! the stream below hyper enforces the second limit. It cannot see where a request begins, but [`HeadWatch`] knows when
//! headers come next: at first, and again after each reply.

use hyper::body::{Body, Frame, SizeHint};
use hyper::{Response, StatusCode};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Tracks whether the headers of a request come next on a connection; clones share it.
#[derive(Clone, Default)]
pub(super) struct HeadWatch {
    /// Number of headers that have arrived plus number of replies that have ended. Odd while a request is being
    /// answered, and forever once the connection is no longer HTTP.
    turns: Arc<AtomicU64>,
}

impl HeadWatch {
    /// Records that the headers of a request have arrived.
    pub(super) fn arrived(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the end of this reply the moment from which the next headers are expected.
    pub(super) fn after<B>(self, reply: Response<B>) -> Response<Tail<B>> {
        let watch = (reply.status() != StatusCode::SWITCHING_PROTOCOLS).then_some(self);
        reply.map(|body| Tail { body, _end: End(watch) })
    }
}

/// The body of a reply, dropped once all of it was passed to the connection.
pub(super) struct Tail<B> {
    body: B,
    _end: End,
}

struct End(Option<HeadWatch>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(watch) = &self.0 {
            watch.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<B: Body + Unpin> Body for Tail<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose reads fail if headers that have begun do not end in time.
pub(super) struct Prompt<S> {
    stream: S,
    watch: HeadWatch,
    time_max: Duration,
    /// The turn to which `has_begun` and `until` belong.
    turn: u64,
    /// True if headers have begun to arrive.
    has_begun: bool,
    /// Deadline of the headers; set once a read has to wait for them, which is rare.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Prompt<S> {
    /// A new connection is expected to send a request, so its first headers count as begun at once.
    pub(super) fn new(stream: S, watch: HeadWatch, time_max: Duration) -> Self {
        Self { stream, watch, time_max, turn: 0, has_begun: true, until: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let turn = self.watch.turns.load(Ordering::Relaxed);
        if turn != self.turn {
            (self.turn, self.has_begun, self.until) = (turn, false, None);
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        let is_answering = turn % 2 == 1;
        if is_answering {
            return read;
        }
        if read.is_ready() {
            self.has_begun = true;
            return read;
        }
        if !self.has_begun {
            return Poll::Pending;
        }
        let time_max = self.time_max;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(time_max)));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the headers of a request do not come to their end")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
