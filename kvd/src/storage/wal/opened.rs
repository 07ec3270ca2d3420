//! What opening a log tells its caller, beside the records.

use super::terms::LogTerms;
use crate::raft::{HardState, LogIndex};
use std::fmt;

/// What [`Wal::open`](super::Wal::open) found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedLog {
    /// There was no log, and one was begun.
    pub created: bool,
    /// The log did not follow its base, and was begun anew after it: what it held is in the snapshot, or was never
    /// committed.
    pub reset: bool,
    /// The first entry of the log, or where it will stand. It may lie below the base.
    pub first_index: LogIndex,
    /// The last entry of the log; the base, or the one before `first_index`, if there are none.
    pub last_index: LogIndex,
    /// Terms of all entries of the log, those up to the base included.
    pub terms: LogTerms,
    /// Term and vote.
    pub hard_state: HardState,
    /// The highest index known to be committed when the log was last written, at least the base; more may be.
    pub commit: LogIndex,
    /// What was left of a write that never finished, now cut off. Worth a warning.
    pub torn_tail: Option<TornTail>,
}

/// What was left of a write that a crash interrupted. Nobody had been told that it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Name of the file within the data directory.
    pub file: String,
    /// Where in the file it began.
    pub offset: u64,
    /// How many bytes were overwritten with zeros.
    pub bytes: u64,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes } = self;
        write!(f, "cut {bytes} bytes of an unfinished write off the log, at byte {offset} of {file}")
    }
}
