//! What clients may use of a node.

use super::connection;
use std::time::Duration;

/// What clients may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of connections.
    pub connections: connection::Limits,
    /// Time for a request's body to arrive.
    pub body_time_max: Duration,
    /// Memory for large replies that are under way to clients, in bytes; more where a single one may be larger.
    pub reply_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: connection::Limits::default(),
            body_time_max: Duration::from_secs(30),
            reply_bytes_max: 256 << 20,
        }
    }
}
