//! Description of a bench.

use clap::ValueEnum;
use serde::Serialize;
use std::time::Duration;

/// Requests that the clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// Writes
    Set,
    /// Linearizable reads
    Get,
    /// As many of one as of the other
    Mixed,
}

/// Kind of requests, number of clients, and duration.
pub(super) struct Plan {
    /// Prefix of the bench's keys, which no other keys have.
    pub(super) prefix: String,
    pub(super) workload: Workload,
    pub(super) clients: u32,
    pub(super) keys: u32,
    pub(super) value: Vec<u8>,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

impl Plan {
    /// Returns a prefix that no other bench has, so that each bench can remove exactly the keys that it wrote.
    pub(super) fn new_prefix() -> String {
        format!("bench/{:016x}/", rand::random::<u64>())
    }

    /// Returns the key with this number.
    pub(super) fn key(&self, number: u32) -> String {
        format!("{}{number:08}", self.prefix)
    }
}
