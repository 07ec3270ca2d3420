//! What a connection may take of time, and how many there may be.

use std::time::Duration;

/// Limits on connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections served at the same time. WebSockets no longer count once they are open.
    pub connections_max: usize,
    /// Connections beyond those that are still accepted, for the sake of the other nodes.
    pub crowded_max: usize,
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
            crowded_max: 64,
            idle_time_max: Duration::from_secs(60),
            headers_time_max: Duration::from_secs(10),
            write_time_max: Duration::from_secs(30),
            drain_time_max: Duration::from_secs(5),
        }
    }
}

/// Marks the requests, in their extensions, that come over a connection beyond the limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Crowded;
