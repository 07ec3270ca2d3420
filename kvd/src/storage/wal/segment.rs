//! Segment files: their names, and how they are made.
//!
//! A segment is filled with zeros and synced under a temporary name. Then its header is written and synced, and it is
//! renamed and its name synced. So a crash leaves either a temporary file, which is thrown away, or a whole segment. A
//! file under a segment's name always has its header; one without a header is damaged.

use super::super::directory::create_fresh;
use super::super::error::StorageError;
use super::format::{BATCH_BYTES_MAX, SEGMENT_HEADER_BYTES, SegmentHeader};
use kvd_disk::{Disk, File};

/// Longest segment, in bytes: one batch of the greatest length.
pub(super) const SEGMENT_BYTES_MAX: u64 = (SEGMENT_HEADER_BYTES + BATCH_BYTES_MAX) as u64;

/// Most segments that a log can ever have; higher numbers would not fit the fixed length of names.
pub(super) const SEGMENTS_MAX: u64 = 9_999_999_999_999_999;

/// A segment about to be activated.
pub(super) const NEW_FILE: &str = "wal-new.tmp";

/// A segment made ahead of use.
pub(super) const SPARE_FILE: &str = "wal-spare.tmp";

/// Bytes per write when a file is filled with zeros.
const FILL_BYTES: usize = 1 << 20;

/// Returns the name of the segment with this number.
pub(super) fn file_name(sequence: u64) -> String {
    format!("wal-{sequence:016}.log")
}

/// Returns the number of the segment with this name; `None` if the name is not a segment's.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let sequence = name.strip_prefix("wal-")?.strip_suffix(".log")?.parse().ok()?;
    (file_name(sequence) == name).then_some(sequence)
}

/// Returns whether this is the name of a segment.
pub(in crate::storage) fn is_segment(name: &str) -> bool {
    sequence_of(name).is_some()
}

/// Makes a file of zeros whose length and blocks are durable.
pub(super) fn make_zeroed(disk: &dyn Disk, name: &str, bytes: u64) -> Result<Box<dyn File>, StorageError> {
    let file = create_fresh(disk, name)?;
    let zeros = vec![0; FILL_BYTES.min(bytes as usize)];
    let mut offset = 0;
    while offset < bytes {
        // Written, not merely reserved: the first write to an unwritten block changes metadata.
        let length = (bytes - offset).min(zeros.len() as u64);
        file.write_all_at(offset, &zeros[..length as usize]).map_err(StorageError::io("write", name))?;
        offset += length;
    }
    file.sync().map_err(StorageError::io("sync", name))?;
    Ok(file)
}

/// Turns the file of zeros called [`NEW_FILE`] into the segment with this header. Durable once this returns.
pub(super) fn activate(disk: &dyn Disk, file: &dyn File, header: &SegmentHeader) -> Result<(), StorageError> {
    file.write_all_at(0, &header.encode()).map_err(StorageError::io("write", NEW_FILE))?;
    file.sync().map_err(StorageError::io("sync", NEW_FILE))?;
    let name = file_name(header.sequence);
    disk.rename(NEW_FILE, &name).map_err(StorageError::io("rename", NEW_FILE))?;
    disk.sync_dir().map_err(StorageError::io("sync the directory of", &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_segment_is_one() {
        assert_eq!(file_name(12), "wal-0000000000000012.log");
        assert_eq!(sequence_of("wal-0000000000000012.log"), Some(12));
        for other in
            ["wal-12.log", "wal-000000000000001x.log", "wal-+000000000000012.log", SPARE_FILE, NEW_FILE, "lock"]
        {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }
}
