//! Summary of the data in a snapshot: written by the state machine, and read by it and by clients.

use super::varint::{put_varint, take_varint};
use thiserror::Error;

/// The levels whose summaries and data look as they do here.
const LEVEL_MIN: u8 = 1;
const LEVEL_MAX: u8 = 3;

/// The first level with leases.
const LEVEL_WITH_LEASES: u32 = 3;

/// Bytes of the hash at the end.
const HASH_BYTES: usize = 16;

/// Summary of a snapshot's data, which precedes the data. A restore checks the data against all of it.
///
/// ```
/// use kvclient::snapshot::Summary;
///
/// let summary = Summary::decode(b"\x01\xac\x02\x07\x02\x01\x80\x010123456789abcdef").expect("one of level 1");
/// assert_eq!((summary.revision, summary.keys, summary.data_bytes), (300, 2, 128));
/// assert!(Summary::decode(b"\xff...").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Level of the state, which decides which commands it takes and how the data is encoded.
    pub level: u32,
    /// The store's revision.
    pub revision: u64,
    /// Cluster time of the newest command in it, in milliseconds.
    pub time_ms: u64,
    /// Number of keys.
    pub keys: u64,
    /// Number of client names whose last request is remembered.
    pub sessions: u64,
    /// Number of leases; zero below level 3.
    pub leases: u64,
    /// Number of lease ids that the store has chosen so far; zero below level 3.
    pub leases_chosen: u64,
    /// Bytes of the data, of all parts together.
    pub data_bytes: u64,
    /// Hash of the whole state; equal states have equal hashes.
    pub state_hash: u128,
}

impl Summary {
    /// The newest level whose summary and data look as they do here.
    pub const LEVEL_MAX: u32 = LEVEL_MAX as u32;

    /// Encodes the summary.
    ///
    /// | offset | size   | field |
    /// |--------|--------|-------|
    /// | 0      | 1      | level |
    /// | 1      | varies | revision, time, keys, sessions, from level 3 on leases and ids chosen for leases, bytes of data: numbers, seven bits a byte (LEB128) |
    /// |        | 16     | state hash, lowest byte first |
    ///
    /// # Panics
    /// If no state has such a level.
    pub fn encode(&self) -> Vec<u8> {
        let Self { level, revision, time_ms, keys, sessions, leases, leases_chosen, data_bytes, state_hash } = self;
        let mut encoded = vec![u8::try_from(*level).expect("levels of this version have one byte")];
        let leases: &[_] = if *level >= LEVEL_WITH_LEASES { &[*leases, *leases_chosen] } else { &[] };
        for number in [&[*revision, *time_ms, *keys, *sessions], leases, &[*data_bytes]].concat() {
            put_varint(&mut encoded, number);
        }
        encoded.extend_from_slice(&state_hash.to_le_bytes());
        encoded
    }

    /// Decodes what [`Summary::encode`] wrote. Never panics, whatever the bytes are.
    ///
    /// # Errors
    /// [`SummaryError`].
    pub fn decode(encoded: &[u8]) -> Result<Self, SummaryError> {
        let malformed = |field| SummaryError::Malformed { field };
        let (level, mut rest) = encoded.split_first().ok_or(malformed("level"))?;
        match *level {
            ..LEVEL_MIN => return Err(malformed("level")),
            LEVEL_MIN..=LEVEL_MAX => {}
            level => return Err(SummaryError::UnknownLevel(level.into())),
        }
        let mut number = |field| take_varint(&mut rest).ok_or(malformed(field));
        let (revision, time_ms) = (number("revision")?, number("time")?);
        let (keys, sessions) = (number("number of keys")?, number("number of sessions")?);
        let (leases, leases_chosen) = if u32::from(*level) >= LEVEL_WITH_LEASES {
            (number("number of leases")?, number("number of ids chosen for leases")?)
        } else {
            (0, 0)
        };
        let data_bytes = number("bytes")?;
        let (hash, rest) = rest.split_first_chunk::<HASH_BYTES>().ok_or(malformed("state hash"))?;
        if !rest.is_empty() {
            return Err(malformed("bytes after the end"));
        }
        let (level, state_hash) = (u32::from(*level), u128::from_le_bytes(*hash));
        Ok(Self { level, revision, time_ms, keys, sessions, leases, leases_chosen, data_bytes, state_hash })
    }
}

/// Reason why bytes are not a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SummaryError {
    /// A newer version of kvd wrote it.
    #[error("the data is of level {0}, which this version does not know")]
    UnknownLevel(u32),
    /// No version of kvd writes such bytes.
    #[error("malformed summary: {field}")]
    Malformed {
        /// The field that cannot be read.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: Summary = Summary {
        level: 1,
        revision: 300,
        time_ms: 7,
        keys: 2,
        sessions: 1,
        leases: 0,
        leases_chosen: 0,
        data_bytes: 128,
        state_hash: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
    };

    fn malformed(field: &'static str) -> Result<Summary, SummaryError> {
        Err(SummaryError::Malformed { field })
    }

    #[test]
    fn the_bytes_of_a_summary_are_pinned() {
        let hex: String = SUMMARY.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01ac020702018001000102030405060708090a0b0c0d0e0f");
        let raised = Summary { level: 2, ..SUMMARY };
        assert_eq!(raised.encode()[..3], [2, 0xac, 0x02]);
        let largest = Summary { revision: u64::MAX, data_bytes: 1 << 63, state_hash: u128::MAX, ..SUMMARY };
        let with_leases = Summary { level: 3, leases: 4, leases_chosen: 300, ..SUMMARY };
        assert_eq!(with_leases.encode()[..10], [3, 0xac, 0x02, 7, 2, 1, 4, 0xac, 0x02, 0x80]);
        for summary in [SUMMARY, raised, largest, with_leases] {
            assert_eq!(Summary::decode(&summary.encode()), Ok(summary));
        }
    }

    #[test]
    fn what_is_no_summary_is_refused_by_the_name_of_its_field() {
        let encoded = SUMMARY.encode();
        for (kept, field) in [
            (0, "level"),
            (1, "revision"),
            (2, "revision"),
            (3, "time"),
            (4, "number of keys"),
            (5, "number of sessions"),
            (6, "bytes"),
            (8, "state hash"),
            (encoded.len() - 1, "state hash"),
        ] {
            assert_eq!(Summary::decode(&encoded[..kept]), malformed(field), "{kept} bytes");
        }
        assert_eq!(Summary::decode(&[&encoded[..], &[0]].concat()), malformed("bytes after the end"));
        assert_eq!(Summary::decode(&[0, 0]), malformed("level"));
        assert_eq!(Summary::decode(&[200, 0]), Err(SummaryError::UnknownLevel(200)));
        let too_large = [&[1][..], &[0xff; 9], &[2], &[7, 2, 1, 0x80, 1], &[9; 16]].concat();
        assert_eq!(Summary::decode(&too_large), malformed("revision"), "a number of 65 bits");
        let too_long = [&[1][..], &[0x80, 0], &[7, 2, 1, 0x80, 1], &[9; 16]].concat();
        assert_eq!(Summary::decode(&too_long), malformed("revision"), "zero, but longer than need be");
    }
}
