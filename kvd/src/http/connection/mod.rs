//! Connections: accepted, served as HTTP/1.1 within limits, and closed. Nothing here knows the API.
//!
//! warp's own server has no limit on connections, on the time a client takes for its headers, or on the time
//! a stop may take; so the daemon runs warp's service on a loop of its own, over hyper's HTTP/1.
//!
//! - Up to [`Limits::connections_max`] connections are served. A few more are accepted and marked [`Crowded`]:
//!   of these the service answers only what it must, so that clients, however many, never keep the other
//!   nodes out. Beyond them a connection is closed at once.
//! - A reply to a request whose body nobody has read to its end closes the connection; see `lingering`.
//! - What is no HTTP, and headers that are too large, hyper refuses on its own, with a status (400, 431)
//!   and an empty body. It has no hook for that: these replies alone do not have the JSON of the API.
//! - A connection may be idle for [`Limits::idle_time_max`], but a request that has begun must come to the end of
//!   its headers within [`Limits::headers_time_max`]: see `prompt`.
//! - A client that takes nothing of its reply for [`Limits::write_time_max`] is disconnected: see `impatient`.
//! - Each connection has a task of its own, so a panic in a handler ends that connection and nothing else.

mod accepting;
mod impatient;
mod lingering;
mod prompt;
mod serving;

pub(super) use accepting::serve;
pub(super) use lingering::RequestBody;

use std::time::Duration;

/// Limits on connections.
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
    /// Time in which a client must take at least a byte of what is sent to it.
    pub write_time_max: Duration,
    /// Time for requests under way to finish once the server stops.
    pub drain_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            idle_time_max: Duration::from_secs(60),
            headers_time_max: Duration::from_secs(10),
            write_time_max: Duration::from_secs(30),
            drain_time_max: Duration::from_secs(5),
        }
    }
}

/// Marks the requests, in their extensions, that come over a connection beyond the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;
