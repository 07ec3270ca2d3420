//! Decides which of the segment files make up the log.
//!
//! The numbers of segments are consecutive. A gap makes everything before it void: those entries are in a snapshot, or
//! were given up for one. So the log consists of the segments after the last gap. Voiding the beginning of a log means
//! making a gap, which is one durable change:
//! - compaction removes the newest superfluous segment first, and once that is durable, the others;
//! - a log that restarts gives its first segment the number after the next.
//!
//! A lost segment makes a gap as well. Nothing is lost with it if the log after the gap reaches down to the snapshot.
//! If it does not, the log is refused ([`LogFiles::refuse_gap`]).

use super::super::directory::remove_if_present;
use super::super::error::StorageError;
use super::format::{BadSegmentHeader, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::segment::{NEW_FILE, SEGMENT_BYTES_MAX, SPARE_FILE, file_name, sequence_of};
use crate::raft::{LogIndex, NodeId};
use kvd_disk::{Disk, File};
use std::ops::RangeInclusive;

/// The existing segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFiles {
    /// Numbers of the segments that make up the log.
    pub(super) log: RangeInclusive<u64>,
    /// Numbers of the segments before the last gap.
    pub(super) void: Vec<u64>,
}

impl LogFiles {
    /// Finds the segments; `None` if there are none.
    pub(super) fn find(disk: &dyn Disk) -> Result<Option<Self>, StorageError> {
        let names = disk.list().map_err(StorageError::io("list", "the data directory"))?;
        let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
        sequences.sort_unstable();
        let Some(last) = sequences.last().copied() else { return Ok(None) };
        let after_gap = sequences.windows(2).rposition(|pair| pair[1] != pair[0] + 1).map_or(0, |before| before + 1);
        let log = sequences[after_gap]..=last;
        sequences.truncate(after_gap);
        Ok(Some(Self { log, void: sequences }))
    }

    /// Returns the error for a log that does not reach down to the snapshot. Its segment after the gap begins with this
    /// entry.
    pub(super) fn refuse_gap(&self, begins_with: LogIndex) -> StorageError {
        let first = file_name(*self.log.start());
        if self.void.is_empty() {
            let cause = format!("the log begins with entry {begins_with}, and all files before it are missing");
            return StorageError::corrupt(&first, 0, cause);
        }
        let missing = file_name(self.log.start() - 1);
        StorageError::corrupt(&missing, 0, format!("the file is missing, though {first} is there"))
    }

    /// Removes void segments. Must be called only after the gap is durable, or a crash might bring back a part of them.
    pub(super) fn remove_void(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        remove_segments(disk, &self.void)
    }
}

/// Removes the segments of these numbers.
pub(super) fn remove_segments(disk: &dyn Disk, sequences: &[u64]) -> Result<(), StorageError> {
    sequences.iter().try_for_each(|sequence| remove_if_present(disk, &file_name(*sequence)))
}

/// Removes the files that a crash left unfinished.
pub(super) fn remove_unfinished(disk: &dyn Disk) -> Result<(), StorageError> {
    [NEW_FILE, SPARE_FILE].iter().try_for_each(|name| remove_if_present(disk, name))
}

/// A segment with a valid header.
pub(super) struct SegmentFile {
    pub(super) name: String,
    pub(super) file: Box<dyn File>,
    pub(super) header: SegmentHeader,
}

impl SegmentFile {
    /// Opens the segment of this number and reads its header.
    pub(super) fn open(disk: &dyn Disk, sequence: u64, node_id: NodeId) -> Result<Self, StorageError> {
        let name = file_name(sequence);
        let corrupt = |cause: &str| StorageError::corrupt(&name, 0, cause);
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_full_at(0, &mut bytes).map_err(StorageError::io("read", &name))?;
        let header = SegmentHeader::decode(&bytes[..read]).map_err(|bad| match bad {
            BadSegmentHeader::Damaged => corrupt("its header does not match its checksum, or is cut short"),
            BadSegmentHeader::Version(found) => {
                StorageError::UnknownVersion { file: name.clone(), found, supported: FORMAT }
            }
        })?;
        if header.node_id != node_id {
            return Err(StorageError::OtherNode { file: name, found: header.node_id, expected: node_id });
        }
        if header.sequence != sequence {
            return Err(corrupt(&format!("it is segment {} under a wrong name", header.sequence)));
        }
        Ok(Self { name, file, header })
    }

    /// Reads the whole segment.
    pub(super) fn read(self) -> Result<SegmentBytes, StorageError> {
        let Self { name, file, header } = self;
        let size = file.size().map_err(StorageError::io("read", &name))?;
        if size > SEGMENT_BYTES_MAX {
            return Err(StorageError::corrupt(&name, 0, "it is longer than a segment can be"));
        }
        let mut bytes = vec![0; size as usize];
        let read = file.read_full_at(0, &mut bytes).map_err(StorageError::io("read", &name))?;
        bytes.truncate(read);
        Ok(SegmentBytes { name, file, header, bytes })
    }
}

/// A segment in memory.
pub(super) struct SegmentBytes {
    pub(super) name: String,
    pub(super) file: Box<dyn File>,
    pub(super) header: SegmentHeader,
    pub(super) bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvd_disk::MemoryDisk;

    #[test]
    fn the_log_is_what_stands_after_the_last_gap() {
        for (there, log, void) in [
            (&[1, 2, 3][..], 1..=3, vec![]),
            (&[7], 7..=7, vec![]),
            (&[1, 2, 4, 5], 4..=5, vec![1, 2]),
            (&[1, 3, 5, 6, 7], 5..=7, vec![1, 3]),
        ] {
            let disk = MemoryDisk::new();
            there.iter().for_each(|sequence| drop(disk.create(&file_name(*sequence)).unwrap()));
            assert_eq!(LogFiles::find(&disk).unwrap(), Some(LogFiles { log, void }));
        }
        assert_eq!(LogFiles::find(&MemoryDisk::new()).unwrap(), None);
    }
}
