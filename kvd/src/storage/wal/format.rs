//! The bytes of segment headers and batch headers. All numbers are little-endian.
//!
//! A checksum is a CRC-32C. Bytes are trusted, and memory allocated for them, only after their checksum was verified
//! and their length was compared with the bytes that are left.

use super::checkpoint::Checkpoint;
use crate::mutants::{self, Mutant};
use crate::raft::{HardState, LogIndex, NodeId, Term};

/// Format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

/// Bytes before the first batch of a segment. A sector of its own, so that no later write touches the header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 512;

/// Length of a batch header, in bytes.
pub(super) const BATCH_HEADER_BYTES: usize = 40;

/// Longest batch including its header, in bytes.
pub const BATCH_BYTES_MAX: usize = 256 << 20;

/// Batches begin at multiples of this many bytes.
pub(super) const BATCH_ALIGN: usize = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"kvd-wal\n";
const BATCH_MAGIC: [u8; 4] = *b"kvdB";

/// Offset of the checksum in the segment header: its last bytes.
const SEGMENT_CRC_OFFSET: usize = SEGMENT_HEADER_BYTES - 4;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Node that owns the log.
    pub(super) node_id: NodeId,
    /// Number of the segment, counted from 1; part of the file's name.
    pub(super) sequence: u64,
    /// Random number that every batch in the segment repeats.
    pub(super) salt: u64,
    /// State of the log when the segment was begun.
    pub(super) checkpoint: Checkpoint,
}

/// Reason why a segment header is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadSegmentHeader {
    /// The header is cut short, missing, or damaged.
    Damaged,
    /// The header has another format version.
    Version(u32),
}

impl SegmentHeader {
    /// Encodes the header.
    ///
    /// | offset | bytes | field |
    /// |---|---|---|
    /// | 0 | 8 | magic `kvd-wal\n` |
    /// | 8 | 4 | format version |
    /// | 12 | 4 | 1 if there is a vote, else 0 |
    /// | 16 | 8 | node id |
    /// | 24 | 8 | sequence number of the segment |
    /// | 32 | 8 | salt |
    /// | 40 | 8 | number of the first batch |
    /// | 48 | 4 | checksum of the header of the batch before that (chain) |
    /// | 52 | 4 | zero |
    /// | 56 | 8 | index that the next entry gets |
    /// | 64 | 8 | term |
    /// | 72 | 8 | vote, or zero |
    /// | 80 | 8 | commit index |
    /// | 88 | 420 | zeros |
    /// | 508 | 4 | checksum of all bytes before |
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let Checkpoint { next_batch, chain, next_index, hard_state, commit } = self.checkpoint;
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(hard_state.vote.is_some()).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.node_id.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        bytes[40..48].copy_from_slice(&next_batch.to_le_bytes());
        bytes[48..52].copy_from_slice(&chain.to_le_bytes());
        bytes[56..64].copy_from_slice(&next_index.0.to_le_bytes());
        bytes[64..72].copy_from_slice(&hard_state.term.0.to_le_bytes());
        bytes[72..80].copy_from_slice(&hard_state.vote.map_or(0, |id| id.0).to_le_bytes());
        bytes[80..88].copy_from_slice(&commit.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..SEGMENT_CRC_OFFSET]);
        bytes[SEGMENT_CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header at the beginning of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadSegmentHeader> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(BadSegmentHeader::Damaged)?;
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(BadSegmentHeader::Damaged);
        }
        // Check the version first: another version may keep its checksum elsewhere.
        let version = u32_at(bytes, 8);
        if version != FORMAT {
            return Err(BadSegmentHeader::Version(version));
        }
        if u32_at(bytes, SEGMENT_CRC_OFFSET) != crc32c::crc32c(&bytes[..SEGMENT_CRC_OFFSET]) {
            return Err(BadSegmentHeader::Damaged);
        }
        let vote = (u32_at(bytes, 12) == 1).then(|| NodeId(u64_at(bytes, 72)));
        Ok(Self {
            node_id: NodeId(u64_at(bytes, 16)),
            sequence: u64_at(bytes, 24),
            salt: u64_at(bytes, 32),
            checkpoint: Checkpoint {
                next_batch: u64_at(bytes, 40),
                chain: u32_at(bytes, 48),
                next_index: LogIndex(u64_at(bytes, 56)),
                hard_state: HardState { term: Term(u64_at(bytes, 64)), vote },
                commit: LogIndex(u64_at(bytes, 80)),
            },
        })
    }
}

/// The first bytes of a batch.
///
/// The header has a checksum of its own, apart from that of the records. So it proves something even if the records
/// after it are torn: a batch was begun here, hence all batches before it were durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// Checksum of this header, and so of the whole batch.
    pub(super) crc: u32,
    /// Number of the batch.
    pub(super) sequence: u64,
    /// Checksum of all records.
    pub(super) records_crc: u32,
    /// Length of all records together, in bytes.
    pub(super) records_bytes: u32,
    /// Checksum of the header of the previous batch; zero in the first batch of a log.
    pub(super) chain: u32,
}

impl BatchHeader {
    /// Encodes the header of a batch. Returns the computed checksum of the header too, which later batches chain to.
    ///
    /// | offset | bytes | field |
    /// |---|---|---|
    /// | 0 | 4 | magic `kvdB` |
    /// | 4 | 4 | checksum of bytes 8 to 39 |
    /// | 8 | 8 | salt of the segment |
    /// | 16 | 8 | number of the batch |
    /// | 24 | 4 | bytes of records that follow the header |
    /// | 28 | 4 | checksum of those |
    /// | 32 | 4 | checksum of the header of the batch before (chain) |
    /// | 36 | 4 | zero |
    /// | 40 | | records, then zeros up to a multiple of 8 bytes |
    pub(super) fn encode(salt: u64, sequence: u64, chain: u32, records: &[u8]) -> ([u8; BATCH_HEADER_BYTES], u32) {
        let records_bytes = u32::try_from(records.len()).expect("a batch is shorter than BATCH_BYTES_MAX");
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&BATCH_MAGIC);
        bytes[8..16].copy_from_slice(&salt.to_le_bytes());
        bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&records_bytes.to_le_bytes());
        bytes[28..32].copy_from_slice(&crc32c::crc32c(records).to_le_bytes());
        bytes[32..36].copy_from_slice(&chain.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Decodes the header at the beginning of `bytes`, if it belongs to the segment with this salt.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        let crc = u32_at(bytes, 4);
        // The cheap tests first: recovery looks for headers at every multiple of 8 bytes.
        if bytes[0..4] != BATCH_MAGIC || u64_at(bytes, 8) != salt || crc != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        Some(Self {
            crc,
            sequence: u64_at(bytes, 16),
            records_bytes: u32_at(bytes, 24),
            records_crc: u32_at(bytes, 28),
            chain: u32_at(bytes, 32),
        })
    }

    /// Returns the length of the batch in bytes, without the zeros after it.
    pub(super) fn batch_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records_bytes as usize
    }

    /// Returns the records in `batch`, which begins with this header, if they are complete and undamaged.
    pub(super) fn records<'a>(&self, batch: &'a [u8]) -> Option<&'a [u8]> {
        let records = batch.get(BATCH_HEADER_BYTES..self.batch_bytes())?;
        let is_whole = crc32c::crc32c(records) == self.records_crc || mutants::is_on(Mutant::CrcNotChecked);
        is_whole.then_some(records)
    }
}

/// Returns `bytes` rounded up to the offset at which the next batch may begin.
pub(super) fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(BATCH_ALIGN)
}

/// Returns the number at `offset`, which the caller knows to lie within `bytes`.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

/// Returns the number at `offset`, which the caller knows to lie within `bytes`.
fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            node_id: NodeId(0x0102_0304_0506_0708),
            sequence: 0x11,
            salt: 0x2122_2324_2526_2728,
            checkpoint: Checkpoint {
                next_batch: 0x31,
                chain: 0x4142_4344,
                next_index: LogIndex(0x51),
                hard_state: HardState { term: Term(0x61), vote: Some(NodeId(0x7172_7374_7576_7778)) },
                commit: LogIndex(0x50),
            },
        }
    }

    #[test]
    fn the_bytes_of_a_segment_header() {
        let bytes = header().encode();
        #[rustfmt::skip]
        let fields = [
            0x6b, 0x76, 0x64, 0x2d, 0x77, 0x61, 0x6c, 0x0a, // magic
            1, 0, 0, 0, 1, 0, 0, 0,                         // version, vote is there
            8, 7, 6, 5, 4, 3, 2, 1,                         // node id
            0x11, 0, 0, 0, 0, 0, 0, 0,                      // sequence
            0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, // salt
            0x31, 0, 0, 0, 0, 0, 0, 0,                      // first batch
            0x44, 0x43, 0x42, 0x41, 0, 0, 0, 0,             // chain
            0x51, 0, 0, 0, 0, 0, 0, 0,                      // next index
            0x61, 0, 0, 0, 0, 0, 0, 0,                      // term
            0x78, 0x77, 0x76, 0x75, 0x74, 0x73, 0x72, 0x71, // vote
            0x50, 0, 0, 0, 0, 0, 0, 0,                      // commit
        ];
        assert_eq!(bytes[..fields.len()], fields);
        assert_eq!(bytes[fields.len()..508], [0; 420]);
        assert_eq!(bytes[508..], [0x23, 0x44, 0xd2, 0x6f]);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn no_vote_is_not_a_vote_for_node_zero() {
        for vote in [None, Some(NodeId(0))] {
            let mut header = header();
            header.checkpoint.hard_state.vote = vote;
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn no_flipped_bit_and_no_lost_byte_of_a_segment_header_passes() {
        let whole = header().encode();
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole;
                damaged[position] ^= 1 << bit;
                SegmentHeader::decode(&damaged).unwrap_err();
            }
            assert_eq!(SegmentHeader::decode(&whole[..position]), Err(BadSegmentHeader::Damaged));
        }
    }

    #[test]
    fn the_bytes_of_a_batch_header() {
        let records = [1, 2, 3];
        let (bytes, crc) = BatchHeader::encode(0x2122_2324_2526_2728, 0x31, 0x4142_4344, &records);
        #[rustfmt::skip]
        let expected = [
            0x6b, 0x76, 0x64, 0x42,                         // magic
            0xb6, 0x1e, 0x6f, 0x9f,                         // checksum of what follows
            0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, // salt
            0x31, 0, 0, 0, 0, 0, 0, 0,                      // sequence
            3, 0, 0, 0,                                     // bytes of records
            0x1e, 0xf2, 0x30, 0xf1,                         // checksum of records
            0x44, 0x43, 0x42, 0x41, 0, 0, 0, 0,             // chain
        ];
        assert_eq!(bytes, expected);
        let batch = [&bytes[..], &records[..]].concat();
        let header = BatchHeader::decode(&batch, 0x2122_2324_2526_2728).unwrap();
        assert_eq!((header.crc, header.sequence, header.chain), (crc, 0x31, 0x4142_4344));
        assert_eq!(header.records(&batch), Some(&records[..]));
        assert_eq!(BatchHeader::decode(&batch, 0), None, "a batch of another segment");
        assert_eq!(header.records(&batch[..42]), None, "a batch cut short");
    }

    #[test]
    fn no_flipped_bit_of_a_batch_passes() {
        let records = *b"records";
        let (bytes, _) = BatchHeader::encode(5, 6, 7, &records);
        let whole = [&bytes[..], &records[..]].concat();
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[position] ^= 1 << bit;
                let header = BatchHeader::decode(&damaged, 5);
                assert!(header.is_none_or(|header| header.records(&damaged).is_none()));
            }
        }
    }
}
