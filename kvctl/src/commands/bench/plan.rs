//! What a bench is to do.

use clap::ValueEnum;
use serde::Serialize;
use std::time::Duration;

/// What the clients send.
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

/// What to send, from how many clients, for how long.
pub(super) struct Plan {
    /// What its keys begin with, and no others do.
    pub(super) prefix: String,
    pub(super) workload: Workload,
    pub(super) clients: u32,
    pub(super) keys: u32,
    pub(super) value: Vec<u8>,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
}

impl Plan {
    /// A prefix that no other bench has, so that each can remove what it wrote and nothing else.
    pub(super) fn new_prefix() -> String {
        format!("bench/{:016x}/", rand::random::<u64>())
    }

    /// The key of this number.
    pub(super) fn key(&self, number: u32) -> String {
        format!("{}{number:08}", self.prefix)
    }
}
