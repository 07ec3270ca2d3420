//! Result of opening a log, apart from the records.

use super::terms::LogTerms;
use crate::raft::{HardState, LogIndex};
use std::fmt;

/// Result of [`Wal::open`](super::Wal::open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedLog {
    /// There was no log, and a new one was begun.
    pub created: bool,
    /// The log did not follow its base, and was restarted after it: its content is in the snapshot, or was never
    /// committed.
    pub reset: bool,
    /// The first entry of the log, or the index that it will get. It may lie below the base.
    pub first_index: LogIndex,
    /// The last entry of the log. If the log has no entries: the base, or the entry before `first_index`.
    pub last_index: LogIndex,
    /// Terms of all entries of the log, including those up to the base.
    pub terms: LogTerms,
    /// Term and vote.
    pub hard_state: HardState,
    /// The highest index known to be committed when the log was last written, at least the base. More entries may be
    /// committed.
    pub commit: LogIndex,
    /// Remains of a write that never finished, now cut off. Worth a warning.
    pub torn_tail: Option<TornTail>,
}

/// Remains of a write that a crash interrupted. Nobody had been told that it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Name of the file within the data directory.
    pub file: String,
    /// Offset in the file at which it began.
    pub offset: u64,
    /// Number of bytes that were overwritten with zeros.
    pub bytes: u64,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes } = self;
        write!(f, "cut {bytes} bytes of an unfinished write off the log, at byte {offset} of {file}")
    }
}
