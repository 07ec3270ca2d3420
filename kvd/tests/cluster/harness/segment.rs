//! The first segment of a node's log, for tests that damage it.

use std::fs;
use std::path::Path;

/// Its name in the data directory.
pub(crate) const SEGMENT: &str = "wal-0000000000000001.log";

/// Where the last byte of the log stands that is not zero.
pub(crate) fn end_of_log(segment: &Path) -> usize {
    let bytes = fs::read(segment).expect("a segment");
    bytes.iter().rposition(|byte| *byte != 0).expect("a log that was written to")
}

/// Changes each of so many bytes.
pub(crate) fn change_segment(segment: &Path, at: usize, length: usize, change: impl Fn(u8) -> u8) {
    let mut bytes = fs::read(segment).expect("a segment");
    bytes[at..at + length].iter_mut().for_each(|byte| *byte = change(*byte));
    fs::write(segment, bytes).expect("a segment can be written");
}
