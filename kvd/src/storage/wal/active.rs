//! The segment that is appended to.

use super::super::error::StorageError;
use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::segment::{activate, file_name};
use kvd_disk::{Disk, File};

/// The segment that is appended to.
pub(super) struct ActiveSegment {
    pub(super) file: Box<dyn File>,
    pub(super) name: String,
    pub(super) sequence: u64,
    pub(super) salt: u64,
    /// Offset of the next batch.
    pub(super) position: u64,
    /// Length of the file.
    pub(super) bytes: u64,
}

impl ActiveSegment {
    /// Turns a file of zeros into the segment to append to.
    pub(super) fn begin(
        disk: &dyn Disk,
        file: Box<dyn File>,
        header: &SegmentHeader,
        bytes: u64,
    ) -> Result<Self, StorageError> {
        activate(disk, &*file, header)?;
        let SegmentHeader { sequence, salt, .. } = *header;
        Ok(Self { file, name: file_name(sequence), sequence, salt, position: SEGMENT_HEADER_BYTES as u64, bytes })
    }

    /// Returns whether a batch of this length still fits.
    pub(super) fn has_room(&self, batch_bytes: u64) -> bool {
        self.position + batch_bytes <= self.bytes
    }
}

/// Returns the salt of a segment: random as long as `salt` is, and different for each segment (splitmix64).
pub(super) fn mix(salt: u64, sequence: u64) -> u64 {
    let mut mixed = salt.wrapping_add(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
