//! The first segment of a node's log, for tests that damage it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Its name in the data directory.
pub const SEGMENT: &str = "wal-0000000000000001.log";

/// Returns the position of the last byte of the log that is not zero.
pub fn end_of_log(segment: &Path) -> usize {
    let bytes = fs::read(segment).expect("a segment");
    bytes.iter().rposition(|byte| *byte != 0).expect("a log that was written to")
}

/// Changes each of this many bytes, and touches no other: a node may be writing to the file.
pub fn change_segment(segment: &Path, at: usize, length: usize, change: impl Fn(u8) -> u8) {
    let file = File::options().read(true).write(true).open(segment).expect("a segment");
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at as u64).expect("a segment that long");
    bytes.iter_mut().for_each(|byte| *byte = change(*byte));
    file.write_all_at(&bytes, at as u64).expect("a segment can be written");
}
