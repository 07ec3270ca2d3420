//! A TCP stream that keeps few bytes in flight: no more than the path takes in a moment.
//!
//! Bytes that a socket has accepted lie in the queues of the path, and everything else on that path waits behind them.
//! TCP by itself fills those queues: on a link of 20 Mbit/s with room for a megabyte, a heartbeat would wait for 400 ms
//! behind the entries of the other lane. So the send buffer, which bounds the unacknowledged bytes, follows the rate at
//! which the path drains it: enough to keep the link busy, and [`QUEUE_MS_MAX`] more.

use hyper::Uri;
use rustix::net::sockopt::{set_socket_send_buffer_size, set_tcp_user_timeout};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Port of a URL without one.
const HTTP_PORT: u16 = 80;

/// Longest time that the buffered bytes may wait in queues, beyond the round trip. Milliseconds.
const QUEUE_MS_MAX: u64 = 25;

/// Initial size of the buffer, and its bounds. Bytes. The lower bound holds a tenth of a second at 1 Mbit/s; the upper
/// bound is as much as a fast local network needs.
const BUFFER_BYTES_FIRST: u64 = 64 << 10;
const BUFFER_BYTES_MIN: u64 = 16 << 10;
const BUFFER_BYTES_MAX: u64 = 4 << 20;

/// Time over which the rate is measured. Milliseconds.
const MEASURED_MS: u64 = 100;

/// Idle time of a writer after which its writes no longer show the rate. Milliseconds.
const IDLE_MS: u64 = 10;

/// The longest round trip that is believed: one measured while queues were full would keep them full.
const ROUND_TRIP_MS_MAX: u64 = 300;

/// Number of bytes written on a stream, to judge whether it moves. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<AtomicU64>);

impl Written {
    /// Returns the bytes that the system has taken since the stream was opened.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A TCP stream whose send buffer follows the rate of its path.
#[derive(Debug)]
pub struct PacedStream {
    stream: TcpStream,
    gauge: Gauge,
    began: Instant,
    written: Written,
}

impl PacedStream {
    /// Connects to the address in a URL. Gives up a connection on which the other end acknowledges nothing for
    /// `unacknowledged_max`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn connect(url: &Uri, unacknowledged_max: Duration) -> io::Result<Self> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_u16().unwrap_or(HTTP_PORT);
        let began = Instant::now();
        let stream = TcpStream::connect((host, port)).await?;
        // The TCP handshake takes one round trip.
        let round_trip_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        stream.set_nodelay(true)?;
        let unacknowledged_ms = u32::try_from(unacknowledged_max.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(&stream, unacknowledged_ms)?;
        let gauge = Gauge::new(round_trip_ms);
        set_socket_send_buffer_size(&stream, gauge.buffer_bytes as usize)?;
        Ok(Self { stream, gauge, began, written: Written::default() })
    }

    /// Returns the counter of written bytes, which keeps counting.
    pub fn written(&self) -> Written {
        self.written.clone()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        let now_ms = self.now_ms();
        match &polled {
            Poll::Pending => self.gauge.blocked(now_ms),
            Poll::Ready(Ok(bytes)) => {
                self.written.0.fetch_add(*bytes as u64, Ordering::Relaxed);
                if let Some(buffer_bytes) = self.gauge.wrote(*bytes as u64, now_ms) {
                    // If the size cannot be set, the stream is slower or fills the queues of the path more, but it
                    // works.
                    let _ = set_socket_send_buffer_size(&self.stream, buffer_bytes as usize);
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Measures the rate of a path by the bytes that it takes while the buffer is full, and computes the size of the
/// buffer.
#[derive(Debug)]
struct Gauge {
    round_trip_ms: u64,
    buffer_bytes: u64,
    /// Time since which the buffer has been full without a pause, and the bytes taken meanwhile.
    measuring: Option<(u64, u64)>,
    /// True if the buffer was full at the last write.
    is_blocked: bool,
    /// Time of the last write.
    busy_ms: u64,
}

impl Gauge {
    fn new(round_trip_ms: u64) -> Self {
        let round_trip_ms = round_trip_ms.min(ROUND_TRIP_MS_MAX);
        Self { round_trip_ms, buffer_bytes: BUFFER_BYTES_FIRST, measuring: None, is_blocked: false, busy_ms: 0 }
    }

    /// Records that the buffer is full.
    fn blocked(&mut self, now_ms: u64) {
        self.measuring.get_or_insert((now_ms, 0));
        (self.is_blocked, self.busy_ms) = (true, now_ms);
    }

    /// Records that the system has taken `bytes`. Returns the size of the buffer if it should change.
    fn wrote(&mut self, bytes: u64, now_ms: u64) -> Option<u64> {
        let was_blocked = std::mem::replace(&mut self.is_blocked, false);
        if !was_blocked && now_ms - self.busy_ms > IDLE_MS {
            self.measuring = None;
        }
        self.busy_ms = now_ms;
        let (since_ms, taken) = self.measuring.as_mut()?;
        *taken += bytes;
        let (lasted_ms, taken) = (now_ms - *since_ms, *taken);
        if lasted_ms < MEASURED_MS {
            return None;
        }
        self.measuring = None;
        let wanted = taken * (self.round_trip_ms + QUEUE_MS_MAX) / lasted_ms;
        let wanted = wanted.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
        // A small difference is not worth a system call.
        let differs =
            wanted > self.buffer_bytes + self.buffer_bytes / 4 || wanted < self.buffer_bytes - self.buffer_bytes / 4;
        differs.then(|| {
            self.buffer_bytes = wanted;
            wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the final size of the buffer on a path that drains it at this rate, for this long.
    fn buffer_after(bytes_per_ms: u64, round_trip_ms: u64, ms: u64) -> u64 {
        let mut gauge = Gauge::new(round_trip_ms);
        for now_ms in 0..ms {
            gauge.blocked(now_ms);
            // The unacknowledged bytes bound what a round trip can carry.
            let taken = bytes_per_ms.min(gauge.buffer_bytes / round_trip_ms.max(1));
            gauge.wrote(taken, now_ms);
        }
        gauge.buffer_bytes
    }

    #[test]
    fn the_buffer_holds_what_the_path_takes_in_a_moment() {
        for (mbit, round_trip_ms) in [(2, 1), (20, 1), (20, 40), (100, 0), (100, 80), (1_000, 1)] {
            let bytes_per_ms = mbit * 125;
            let ideal = bytes_per_ms * (round_trip_ms + QUEUE_MS_MAX);
            let found = buffer_after(bytes_per_ms, round_trip_ms, 60_000);
            let expected = ideal.clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX);
            assert!(
                (expected * 7 / 10..=expected * 14 / 10).contains(&found),
                "{mbit} Mbit/s, {round_trip_ms} ms: {found}, and not {expected}"
            );
        }
    }

    #[test]
    fn a_path_that_gets_slower_and_faster_again_is_followed() {
        let mut gauge = Gauge::new(1);
        let mut run = |from_ms: u64, bytes_per_ms: u64| {
            for now_ms in from_ms..from_ms + 2_000 {
                gauge.blocked(now_ms);
                gauge.wrote(bytes_per_ms.min(gauge.buffer_bytes), now_ms);
            }
            gauge.buffer_bytes
        };
        let (fast, slow) = (run(0, 12_500), run(2_000, 250));
        assert!(fast > 200_000 && slow == BUFFER_BYTES_MIN, "{fast}, {slow}");
        assert!(run(4_000, 12_500) > 200_000);
    }

    #[test]
    fn a_writer_that_pauses_says_nothing_of_the_rate() {
        let mut gauge = Gauge::new(1);
        for round in 0..100 {
            let now_ms = round * 200;
            gauge.blocked(now_ms);
            assert_eq!(gauge.wrote(10, now_ms + 1), None);
            // After a while without writes, the buffer takes new bytes at once.
            assert_eq!(gauge.wrote(10, now_ms + 150), None);
        }
        assert_eq!(gauge.buffer_bytes, BUFFER_BYTES_FIRST);
    }
}
