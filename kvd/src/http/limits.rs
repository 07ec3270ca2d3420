//! Limits on the resources of a node that clients may use.

use super::connection;
use std::time::Duration;

/// Streams and waits at the same time, unless a flag says otherwise.
pub const STREAMS_MAX_DEFAULT: usize = 10_000;

/// Limits on the resources that clients may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Limits on connections.
    pub connections: connection::Limits,
    /// Time for a request's body to arrive.
    pub body_time_max: Duration,
    /// Memory for large replies in flight to clients, in bytes. Larger if a single reply may be larger.
    pub reply_bytes_max: usize,
    /// Streams and waits at the same time.
    pub streams_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: connection::Limits::default(),
            body_time_max: Duration::from_secs(30),
            reply_bytes_max: 256 << 20,
            streams_max: STREAMS_MAX_DEFAULT,
        }
    }
}
