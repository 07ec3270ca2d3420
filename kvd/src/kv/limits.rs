//! Limits of one node's store.

use super::history::HistoryLimits;

/// Limits of one node's store. They are settings of the node: nothing that is applied depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Limits on the history that the node keeps.
    pub history: HistoryLimits,
    /// Memory for versions that the history has freed and that clients' readers have yet to read, in bytes.
    pub reader_bytes_max: u64,
    /// Memory of the state, in bytes, beyond which the node as a leader accepts no write that adds to it.
    pub state_bytes_max: u64,
}

impl Default for StoreLimits {
    /// A history of 64 MiB and an hour, 256 MiB for readers, and a state of any size.
    fn default() -> Self {
        Self { history: HistoryLimits::default(), reader_bytes_max: 256 << 20, state_bytes_max: u64::MAX }
    }
}
