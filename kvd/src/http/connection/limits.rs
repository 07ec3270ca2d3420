//! Limits on the number of connections, and on the time of each.

use std::time::Duration;

/// Limits on connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections served at the same time. WebSockets no longer count once they are open.
    pub connections_max: usize,
    /// Further connections that are accepted beyond those, so that the other nodes can get through.
    pub crowded_max: usize,
    /// Longest idle time of a connection, counted from the previous reply. It is longer than clients keep idle
    /// connections, so that no client writes to a connection that was just closed.
    pub idle_time_max: Duration,
    /// Time for a request's headers to arrive. For the first request it counts from the acceptance of the connection,
    /// for the others from their first byte.
    pub headers_time_max: Duration,
    /// Time in which a client must read at least one byte of its reply.
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

/// Marks requests, in their extensions, that arrive over a connection beyond the limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Crowded;
