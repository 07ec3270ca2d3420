//! The bytes of a snapshot, except for its head. All numbers are little-endian.
//!
//! A checksum is a CRC-32C. That of a part also covers the checksum of the previous part, so a part that is missing,
//! duplicated or of another snapshot is detected. No field is used before its checksum was verified, except for the
//! length, and that is at most [`PART_BYTES_MAX`].

/// The format version that this version of the program reads and writes.
pub const FORMAT: u32 = 1;

/// Bytes of the header, behind which the head begins.
pub const HEADER_BYTES: usize = 32;

/// Bytes of a part before its body.
pub const PART_HEADER_BYTES: usize = 12;

/// Longest body of a part, in bytes. Senders and readers of a snapshot keep one part in memory.
pub const PART_BYTES_MAX: usize = 8 << 20;

/// Bytes of the body of the end.
const END_BODY_BYTES: usize = 16;

/// Bytes of the end, with its part header.
pub const END_BYTES: usize = PART_HEADER_BYTES + END_BODY_BYTES;

const MAGIC: [u8; 8] = *b"kvd-snp\n";

/// Exclusive upper limit of indexes, terms and times, in snapshots as in the log, so that additions do not overflow.
pub const NUMBER_MAX: u64 = 1 << 63;

/// Reason why a header is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// It is not a header.
    NoSnapshot,
    /// It does not match its checksum.
    Damaged,
    /// It is of another format version.
    Version(u32),
}

/// Encodes the header of a snapshot of this cluster.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 8 | magic `kvd-snp\n` |
/// | 8 | 4 | format version |
/// | 12 | 4 | zero |
/// | 16 | 8 | cluster id |
/// | 24 | 4 | zero |
/// | 28 | 4 | checksum of all bytes before |
pub(super) fn encode_header(cluster_id: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..24].copy_from_slice(&cluster_id.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Returns whether these bytes may be the beginning of a header.
pub(super) fn may_become_header(bytes: &[u8]) -> bool {
    let known = bytes.len().min(MAGIC.len());
    bytes[..known] == MAGIC[..known]
}

/// Decodes a header. Returns the cluster id, and the checksum that the first part continues.
pub(super) fn decode_header(bytes: &[u8; HEADER_BYTES]) -> Result<(u64, u32), BadHeader> {
    if bytes[0..8] != MAGIC {
        return Err(BadHeader::NoSnapshot);
    }
    // The version comes first: another one may keep its checksum elsewhere.
    let version = u32_at(bytes, 8);
    if version != FORMAT {
        return Err(BadHeader::Version(version));
    }
    let crc = u32_at(bytes, 28);
    if crc != crc32c::crc32c(&bytes[..28]) {
        return Err(BadHeader::Damaged);
    }
    Ok((u64_at(bytes, 16), crc))
}

/// Kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartKind {
    /// The snapshot's description of itself; the first part.
    Head,
    /// A piece of the state.
    Data,
    /// A piece of the history before the state, which is not part of the state.
    History,
    /// The totals; the last part.
    End,
}

impl PartKind {
    fn number(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Data => 2,
            Self::End => 3,
            Self::History => 4,
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        [Self::Head, Self::Data, Self::End, Self::History].into_iter().find(|kind| kind.number() == number)
    }
}

/// Encodes the header of a part. Also returns the checksum of the part, which the next one continues.
///
/// | offset | bytes | field |
/// |---|---|---|
/// | 0 | 4 | bytes of the body |
/// | 4 | 1 | kind: 1 head, 2 data, 3 end, 4 history |
/// | 5 | 3 | zero |
/// | 8 | 4 | checksum of: the checksum of the part before, bytes 0 to 7, the body |
/// | 12 | | body |
///
/// The part before the first is the header.
pub(super) fn encode_part_header(kind: PartKind, crc_before: u32, body: &[u8]) -> ([u8; PART_HEADER_BYTES], u32) {
    assert!(body.len() <= PART_BYTES_MAX, "a part of {} bytes, of {PART_BYTES_MAX} at most", body.len());
    let mut bytes = [0; PART_HEADER_BYTES];
    bytes[0..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    bytes[4] = kind.number();
    let crc = part_crc(crc_before, &bytes, body);
    bytes[8..].copy_from_slice(&crc.to_le_bytes());
    (bytes, crc)
}

fn part_crc(crc_before: u32, header: &[u8; PART_HEADER_BYTES], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&crc_before.to_le_bytes()), &header[..8]);
    crc32c::crc32c_append(crc, body)
}

/// The header of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartHeader {
    bytes: [u8; PART_HEADER_BYTES],
}

impl PartHeader {
    /// Takes the bytes of a header. Checks only that the body is not too long.
    ///
    /// # Errors
    /// A sentence about the length.
    pub(super) fn new(bytes: [u8; PART_HEADER_BYTES]) -> Result<Self, String> {
        let header = Self { bytes };
        if header.body_bytes() > PART_BYTES_MAX {
            return Err(format!("a part of {} bytes, more than the {PART_BYTES_MAX} it can have", header.body_bytes()));
        }
        Ok(header)
    }

    /// Length of the body.
    pub(super) fn body_bytes(&self) -> usize {
        u32_at(&self.bytes, 0) as usize
    }

    /// Checks the part. Returns its kind, and the checksum that the next part continues.
    ///
    /// # Errors
    /// A sentence about the check that failed.
    pub(super) fn check(&self, crc_before: u32, body: &[u8]) -> Result<(PartKind, u32), String> {
        let crc = u32_at(&self.bytes, 8);
        if crc != part_crc(crc_before, &self.bytes, body) {
            return Err("a part does not match its checksum, or does not follow the one before".to_owned());
        }
        let kind = PartKind::of_number(self.bytes[4]).filter(|_| self.bytes[5..8] == [0; 3]);
        kind.map(|kind| (kind, crc)).ok_or_else(|| "a part is of no known form".to_owned())
    }
}

/// Amount of data in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Parts with data.
    pub parts: u64,
    /// Bytes of data in them.
    pub data_bytes: u64,
}

impl Totals {
    /// Counts a part.
    pub(super) fn add(&mut self, data: &[u8]) {
        self.parts += 1;
        self.data_bytes += data.len() as u64;
    }

    /// Encodes the body of the end.
    ///
    /// | offset | bytes | field |
    /// |---|---|---|
    /// | 0 | 8 | number of parts with data |
    /// | 8 | 8 | bytes of data in them |
    pub(super) fn encode(&self) -> [u8; END_BODY_BYTES] {
        let mut bytes = [0; END_BODY_BYTES];
        bytes[0..8].copy_from_slice(&self.parts.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.data_bytes.to_le_bytes());
        bytes
    }

    /// Decodes the body of the end; `None` if it has another length.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; END_BODY_BYTES] = body.try_into().ok()?;
        Some(Self { parts: u64_at(body, 0), data_bytes: u64_at(body, 8) })
    }
}

/// Returns whether all numbers are below [`NUMBER_MAX`], so that additions do not overflow.
pub(super) fn are_reached(numbers: &[u64]) -> bool {
    numbers.iter().all(|number| *number < NUMBER_MAX)
}

/// Returns the number at `offset`, which the caller knows to lie within `bytes`.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

/// Returns the number at `offset`, which the caller knows to lie within `bytes`.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}
