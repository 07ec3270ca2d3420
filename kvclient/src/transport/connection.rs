//! The TCP connections used by ureq.
//!
//! This file differs from ureq's own connector for these reasons:
//!
//! - A failure to *open* a connection is marked as [`NotConnected`]. Nothing was sent then, so a write that failed in
//!   this way has certainly not been applied. No other property of an I/O error proves that.
//! - A name is looked up when a connection is opened, not for each request, and an address needs no look-up at all.
//!   (ureq's resolver starts a thread for each request that has a time limit.)
//! - Head and body of a request leave in one write, hence in one packet, instead of two. A connection that was in use a
//!   moment ago is not probed before its next request. If it is closed, the attempt fails and is repeated like any
//!   other.
//!
//! Besides, a node may refuse a large body before it has read all of it, and close the connection. Sending fails then,
//! but the answer with the reason may have arrived, so it is read before the failure counts.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport, time::Duration as Limit,
};

/// Maximum number of unsent bytes of a request that are gathered before they are written.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// Idle time after which a connection is probed before it carries another request.
const PROBE_AFTER: Duration = Duration::from_millis(100);

/// Socket timeouts are rounded up to this, so that they seldom change: each change is a system call.
const LIMIT_STEP_MS: u64 = 20;

/// No connection was established, so nothing of the request was sent.
#[derive(Debug)]
pub(crate) struct NotConnected(ureq::Error);

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ureq::Error::Timeout(_) => f.write_str("no connection in time"),
            ureq::Error::HostNotFound => f.write_str("no such host"),
            ureq::Error::Io(cause) => cause.fmt(f),
            other => other.fmt(f),
        }
    }
}

impl std::error::Error for NotConnected {}

/// Leaves the look-up to [`TcpConnector`], which alone knows whether one is needed.
#[derive(Debug)]
pub(crate) struct LookUpLater;

impl Resolver for LookUpLater {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Opens the connections.
#[derive(Debug, Default)]
pub(crate) struct TcpConnector {
    names: DefaultResolver,
}

impl TcpConnector {
    fn look_up(&self, details: &ConnectionDetails<'_>) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = details.uri.host().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => {
                let mut addresses = self.names.empty();
                addresses.push(SocketAddr::new(ip, details.uri.port_u16().unwrap_or(80)));
                Ok(addresses)
            }
            Err(_) => self.names.resolve(details.uri, details.config, details.timeout),
        }
    }

    fn open(&self, details: &ConnectionDetails<'_>) -> Result<TcpStream, ureq::Error> {
        let started = Instant::now();
        let addresses = self.look_up(details)?;
        let mut failure = ureq::Error::HostNotFound;
        for (index, address) in addresses.iter().enumerate() {
            // The remaining time is shared among the addresses still to try (localhost has two).
            let left = details.timeout.after.saturating_sub(started.elapsed());
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
            if share.is_zero() {
                return Err(ureq::Error::Timeout(details.timeout.reason));
            }
            match TcpStream::connect_timeout(address, share) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(cause) => failure = ureq::Error::Io(cause),
            }
        }
        Err(failure)
    }
}

impl Connector for TcpConnector {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Connection>, ureq::Error> {
        match self.open(details) {
            Ok(stream) => Ok(Some(Connection::new(stream, details.config))),
            Err(cause) => Err(ureq::Error::Other(Box::new(NotConnected(cause)))),
        }
    }
}

/// One connection to a node.
pub(crate) struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
    unsent: Vec<u8>,
    /// True if sending has failed. All that remains is to read the node's answer.
    broken: bool,
    last_used: Instant,
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

impl Connection {
    fn new(stream: TcpStream, config: &Config) -> Self {
        Self {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            unsent: Vec::new(),
            broken: false,
            last_used: Instant::now(),
            read_limit: None,
            write_limit: None,
        }
    }

    fn flush(&mut self, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let timeout = timeout.for_write();
        let started = Instant::now();
        let mut sent = 0;
        // The socket's timeout limits one call, and a node that reads slowly can cause many calls, so the remaining
        // time is checked before each.
        while sent < self.unsent.len() {
            let limit = socket_limit(NextTimeout { after: left(timeout.after, started), ..timeout })?;
            if limit != self.write_limit {
                self.stream.set_write_timeout(limit)?;
                self.write_limit = limit;
            }
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return Err(ureq::Error::Io(ErrorKind::WriteZero.into())),
                Ok(amount) => sent += amount,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) if matches!(cause.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    self.broken = true;
                    break;
                }
                Err(cause) => return Err(timed_out(cause, timeout)),
            }
        }
        self.unsent.clear();
        // A large value is not kept in memory for the life of the connection.
        self.unsent.shrink_to(UNSENT_BYTES_MAX);
        Ok(())
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.broken {
            return Ok(());
        }
        self.unsent.extend_from_slice(&self.buffers.output()[..amount]);
        if self.unsent.len() >= UNSENT_BYTES_MAX { self.flush(timeout) } else { Ok(()) }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.flush(timeout)?;
        let timeout = timeout.for_read();
        let started = Instant::now();
        let amount = loop {
            let limit = socket_limit(NextTimeout { after: left(timeout.after, started), ..timeout })?;
            if limit != self.read_limit {
                self.stream.set_read_timeout(limit)?;
                self.read_limit = limit;
            }
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                result => break result.map_err(|cause| timed_out(cause, timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        self.last_used = Instant::now();
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.broken && self.unsent.is_empty() && (self.last_used.elapsed() < PROBE_AFTER || is_quiet(&self.stream))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.stream.peer_addr().ok()).finish_non_exhaustive()
    }
}

fn left(limit: Limit, started: Instant) -> Limit {
    match limit {
        Limit::Exact(limit) => Limit::Exact(limit.saturating_sub(started.elapsed())),
        Limit::NotHappening => Limit::NotHappening,
    }
}

/// Returns the timeout for the next call on the socket, rounded up; an error if no time is left.
fn socket_limit(timeout: NextTimeout) -> Result<Option<Duration>, ureq::Error> {
    match timeout.after {
        Limit::NotHappening => Ok(None),
        Limit::Exact(left) if left.is_zero() => Err(ureq::Error::Timeout(timeout.reason)),
        Limit::Exact(left) => {
            let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            Ok(Some(Duration::from_millis((ms / LIMIT_STEP_MS).saturating_add(1).saturating_mul(LIMIT_STEP_MS))))
        }
    }
}

fn timed_out(cause: io::Error, timeout: NextTimeout) -> ureq::Error {
    match cause.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(cause),
    }
}

/// Returns whether an idle connection is usable: neither closed by the node nor carrying bytes that nobody asked for.
fn is_quiet(stream: &TcpStream) -> bool {
    let peek = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let blocking = stream.set_nonblocking(false).is_ok();
    blocking && peek.is_err_and(|cause| cause.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use ureq::Timeout;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn within(limit: Duration) -> NextTimeout {
        NextTimeout { after: Limit::Exact(limit), reason: Timeout::Global, ..NextTimeout::default() }
    }

    #[test]
    fn what_is_sent_in_parts_leaves_in_one_piece() {
        let (near, mut far) = pair();
        let mut connection = Connection::new(near, &Config::default());
        for part in [b"head ".as_slice(), b"body"] {
            connection.buffers().output()[..part.len()].copy_from_slice(part);
            connection.transmit_output(part.len(), within(Duration::from_secs(5))).unwrap();
        }
        far.set_nonblocking(true).unwrap();
        assert_eq!(far.peek(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "nothing has left yet");

        let timeout = connection.await_input(within(Duration::from_millis(1))).unwrap_err();
        assert!(matches!(timeout, ureq::Error::Timeout(Timeout::Global)), "{timeout}");
        far.set_nonblocking(false).unwrap();
        let mut got = [0; 64];
        let amount = far.read(&mut got).unwrap();
        assert_eq!(&got[..amount], b"head body");
    }

    #[test]
    fn a_node_that_takes_a_request_in_trickles_does_not_outlast_the_limit() {
        let (near, far) = pair();
        let mut connection = Connection::new(near, &Config::default());
        connection.unsent = vec![b'x'; 64 << 20];
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let trickle = std::thread::spawn(move || {
            let (mut far, mut buffer) = (far, vec![0; 256 * 1024]);
            while !stopped.load(std::sync::atomic::Ordering::SeqCst) && far.read(&mut buffer).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let started = Instant::now();
        let error = connection.flush(within(Duration::from_millis(300))).unwrap_err();
        let took = started.elapsed();
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(matches!(error, ureq::Error::Timeout(Timeout::Global)), "{error}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert!(!connection.is_open(), "half a request is on its way");
        drop(connection);
        trickle.join().unwrap();
    }

    #[test]
    fn an_answer_that_came_before_the_request_was_sent_is_read() {
        let (near, mut far) = pair();
        let mut connection = Connection::new(near, &Config::default());
        far.write_all(b"too large").unwrap();
        far.shutdown(std::net::Shutdown::Both).unwrap();
        drop(far);
        // The system notices the closed end when the first bytes are sent, and fails from then on.
        while !connection.broken {
            let amount = connection.buffers().output().len();
            connection.transmit_output(amount, within(Duration::from_secs(5))).unwrap();
        }
        assert!(connection.await_input(within(Duration::from_secs(5))).unwrap());
        assert_eq!(connection.buffers().input(), b"too large");
        assert!(!connection.is_open(), "not for another request");
    }

    #[test]
    fn a_connection_that_was_closed_or_speaks_out_of_turn_is_not_quiet() {
        let (near, far) = pair();
        assert!(is_quiet(&near));
        assert!(is_quiet(&near), "the probe leaves the connection as it was");
        drop(far);
        // The end of the connection takes a moment to arrive; a blocking peek waits for it.
        assert_eq!(near.peek(&mut [0]).unwrap(), 0);
        assert!(!is_quiet(&near));

        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        assert_eq!(near.peek(&mut [0]).unwrap(), 1);
        assert!(!is_quiet(&near));
    }

    #[test]
    fn limits_are_rounded_up_and_an_exhausted_one_is_an_error() {
        for (left_ms, limit_ms) in [(1, 20), (19, 20), (20, 40), (1999, 2000)] {
            let limit = socket_limit(within(Duration::from_millis(left_ms))).unwrap();
            assert_eq!(limit, Some(Duration::from_millis(limit_ms)));
        }
        assert!(matches!(socket_limit(within(Duration::ZERO)), Err(ureq::Error::Timeout(Timeout::Global))));
        assert_eq!(socket_limit(NextTimeout::default()).unwrap(), None);
    }
}
