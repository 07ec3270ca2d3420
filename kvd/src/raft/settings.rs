//! Timings and limits of consensus.

/// Timings and limits, checked by the code that reads the user's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Silence after which a leader sends a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest silence after which a follower campaigns, drawn anew for each election to avoid ties
    /// (paper §5.2). Milliseconds. At least two heartbeats long, or one lost heartbeat starts an
    /// election. Also how long a voter that heard a leader refuses to help elect another (paper §6).
    pub election_timeout_min_ms: u64,
    /// Longest such silence, in milliseconds. Also how long a leader may hear from no quorum before
    /// it steps down (CheckQuorum, thesis §6.2).
    pub election_timeout_max_ms: u64,
    /// Entries of about this many bytes go into one AppendEntries; always at least one entry.
    pub message_bytes_max: usize,
    /// AppendEntries with entries that may be in flight to one follower.
    pub window_messages_max: usize,
    /// Bytes of entries that may be in flight to one follower.
    pub window_bytes_max: usize,
    /// Entries of about this many bytes go into one write to disk; always at least one entry.
    pub write_bytes_max: usize,
    /// Entries of about this many bytes are passed on to be applied at a time, always at least one, so that a long
    /// backlog delays no heartbeat.
    pub apply_bytes_max: usize,
    /// Bytes of applied entries kept in memory for followers that are a little behind.
    pub cache_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_ms: 75,
            election_timeout_min_ms: 150,
            election_timeout_max_ms: 300,
            message_bytes_max: 512 << 10,
            window_messages_max: 64,
            window_bytes_max: 8 << 20,
            write_bytes_max: 4 << 20,
            apply_bytes_max: 1 << 20,
            cache_bytes_max: 16 << 20,
        }
    }
}
