//! What the state machine says of the data of a snapshot.
//!
//! Written by the state machine, which reads it back in its own way; kvd has a test that both read the same.

use std::ops::RangeInclusive;

/// The levels whose summaries and data look as they do here.
const LEVELS: RangeInclusive<u8> = 1..=2;

/// Bytes of the hash at the end.
const HASH_BYTES: usize = 16;

/// What the data of a snapshot comes to.
///
/// ```
/// use kvclient::snapshot::Summary;
///
/// let summary = Summary::decode(b"\x01\xac\x02\x07\x02\x01\x80\x010123456789abcdef").expect("one of level 1");
/// assert_eq!((summary.revision, summary.keys, summary.data_bytes), (300, 2, 128));
/// assert_eq!(Summary::decode(b"\xff..."), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Level of the state, which decides what commands it takes and what the data looks like.
    pub level: u32,
    /// The store's revision.
    pub revision: u64,
    /// Cluster time of the newest command in it, in milliseconds.
    pub time_ms: u64,
    /// Number of keys.
    pub keys: u64,
    /// Number of client names whose last request is remembered.
    pub sessions: u64,
    /// Bytes of the data.
    pub data_bytes: u64,
    /// Hash of the whole state; equal states have equal hashes.
    pub state_hash: u128,
}

impl Summary {
    /// Decodes a summary; `None` if it is of a level that this version does not know.
    ///
    /// | offset | size   | field |
    /// |--------|--------|-------|
    /// | 0      | 1      | level |
    /// | 1      | varies | revision, time, keys, sessions, bytes of data: numbers, seven bits a byte (LEB128) |
    /// |        | 16     | state hash, lowest byte first |
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        let (level, mut rest) = encoded.split_first().filter(|(level, _)| LEVELS.contains(level))?;
        let mut number = || {
            let length = rest.iter().position(|byte| *byte < 0x80)? + 1;
            let (bytes, after) = rest.split_at(length);
            rest = after;
            // Ten bytes hold 70 bits, of which the highest six must not be used.
            let fits = length < 10 || (length == 10 && bytes[9] <= 1);
            fits.then(|| bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)))
        };
        let (revision, time_ms, keys, sessions, data_bytes) = (number()?, number()?, number()?, number()?, number()?);
        let state_hash = u128::from_le_bytes(*rest.first_chunk::<HASH_BYTES>().filter(|_| rest.len() == HASH_BYTES)?);
        Some(Self { level: u32::from(*level), revision, time_ms, keys, sessions, data_bytes, state_hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_whole_or_not_at_all() {
        let largest = [&[0xff; 9][..], &[1]].concat();
        let encoded = [&[1][..], &largest, &[7, 2, 1, 0x80, 1], &[9; 16]].concat();
        let summary = Summary::decode(&encoded).expect("it is whole");
        assert_eq!((summary.revision, summary.time_ms, summary.data_bytes), (u64::MAX, 7, 128));
        for length in 0..encoded.len() {
            assert_eq!(Summary::decode(&encoded[..length]), None, "{length} bytes");
        }
        assert_eq!(Summary::decode(&[&encoded[..], &[0]].concat()), None, "one byte too many");
        let too_large = [&[1][..], &[0xff; 9], &[2], &[7, 2, 1, 0x80, 1], &[9; 16]].concat();
        assert_eq!(Summary::decode(&too_large), None, "a number of 65 bits");
    }
}
