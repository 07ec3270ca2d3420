//! The bytes of records. All numbers are little-endian.
//!
//! Every record begins with the same fields; its body depends on its type:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length of the body that follows these eight bytes |
//! | 4 | 1 | type |
//! | 5 | 1 | variant, see the type |
//! | 6 | 2 | zero |
//! | 8 | | body |
//!
//! | type | variant | body |
//! |---|---|---|
//! | 1 hard state | 0 no vote, 1 vote | term (8), vote or zero (8) |
//! | 2 truncate | 0 | first void index (8) |
//! | 3 entry | 0 no-op, 1 command, 2 configuration | index (8), term (8), time (8), then the payload |
//! | 4 commit | 0 | index (8) |
//!
//! The payload of a command is the command itself; the payload of a configuration is its postcard encoding. Records
//! have no checksum of their own: they are read only from a batch that was found undamaged.

use crate::raft::{ClusterTime, Entry, HardState, LogIndex, NodeId, Payload, Record, Term};
use bytes::Bytes;

const RECORD_HEADER_BYTES: usize = 8;

const TYPE_HARD_STATE: u8 = 1;
const TYPE_TRUNCATE: u8 = 2;
const TYPE_ENTRY: u8 = 3;
const TYPE_COMMIT: u8 = 4;

const ENTRY_NOOP: u8 = 0;
const ENTRY_COMMAND: u8 = 1;
const ENTRY_CONFIGURATION: u8 = 2;

/// Appends the bytes of `record` to `buffer`.
pub(super) fn encode(record: &Record, buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    let (kind, variant) = match record {
        Record::HardState(HardState { term, vote }) => {
            put(buffer, term.0);
            put(buffer, vote.map_or(0, |id| id.0));
            (TYPE_HARD_STATE, u8::from(vote.is_some()))
        }
        Record::Truncate { from } => {
            put(buffer, from.0);
            (TYPE_TRUNCATE, 0)
        }
        Record::Entry(entry) => (TYPE_ENTRY, encode_entry(entry, buffer)),
        Record::Commit(index) => {
            put(buffer, index.0);
            (TYPE_COMMIT, 0)
        }
    };
    let body_bytes = buffer.len() - start - RECORD_HEADER_BYTES;
    let body_bytes = u32::try_from(body_bytes).expect("a record is shorter than BATCH_BYTES_MAX");
    buffer[start..start + 4].copy_from_slice(&body_bytes.to_le_bytes());
    buffer[start + 4] = kind;
    buffer[start + 5] = variant;
}

fn encode_entry(entry: &Entry, buffer: &mut Vec<u8>) -> u8 {
    put(buffer, entry.index.0);
    put(buffer, entry.term.0);
    put(buffer, entry.time.0);
    match &entry.payload {
        Payload::Noop => ENTRY_NOOP,
        Payload::Command(command) => {
            buffer.extend_from_slice(command);
            ENTRY_COMMAND
        }
        Payload::Configuration(configuration) => {
            let bytes = postcard::to_stdvec(configuration).expect("a configuration always has an encoding");
            buffer.extend_from_slice(&bytes);
            ENTRY_CONFIGURATION
        }
    }
}

fn put(buffer: &mut Vec<u8>, number: u64) {
    buffer.extend_from_slice(&number.to_le_bytes());
}

/// Iterator over the records of an undamaged batch, each with its offset. Ends after an error.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    all: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Returns all records in `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, rest: bytes }
    }

    /// Returns the records from `offset` on, which must be the start of a record.
    pub(super) fn from_offset(bytes: &'a [u8], offset: u32) -> Self {
        Self { all: bytes, rest: bytes.get(offset as usize..).unwrap_or_default() }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(u32, Record), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = (self.all.len() - self.rest.len()) as u32;
        let record = decode(&mut self.rest).ok_or_else(|| {
            self.rest = &[];
            format!("the record {offset} bytes into the batch is of no known form")
        });
        Some(record.map(|record| (offset, record)))
    }
}

/// Takes the first record off `bytes`; `None` if it is not a valid record.
fn decode(bytes: &mut &[u8]) -> Option<Record> {
    let [len0, len1, len2, len3, kind, variant, 0, 0] = take(bytes)? else { return None };
    let body_bytes = u32::from_le_bytes([len0, len1, len2, len3]) as usize;
    let (mut body, rest) = bytes.split_at_checked(body_bytes)?;
    *bytes = rest;
    let body = &mut body;
    let record = match (kind, variant) {
        (TYPE_HARD_STATE, 0 | 1) => {
            let term = Term(take_u64(body)?);
            let vote = NodeId(take_u64(body)?);
            Record::HardState(HardState { term, vote: (variant == 1).then_some(vote) })
        }
        (TYPE_TRUNCATE, 0) => Record::Truncate { from: LogIndex(take_u64(body)?) },
        (TYPE_ENTRY, _) => Record::Entry(decode_entry(variant, body)?),
        (TYPE_COMMIT, 0) => Record::Commit(LogIndex(take_u64(body)?)),
        _ => return None,
    };
    body.is_empty().then_some(record)
}

fn decode_entry(variant: u8, body: &mut &[u8]) -> Option<Entry> {
    let index = LogIndex(take_u64(body)?);
    let term = Term(take_u64(body)?);
    let time = ClusterTime(take_u64(body)?);
    let payload = match variant {
        ENTRY_NOOP => Payload::Noop,
        // Copied, so that a small entry in memory does not keep the whole segment there.
        ENTRY_COMMAND => Payload::Command(Bytes::copy_from_slice(std::mem::take(body))),
        ENTRY_CONFIGURATION => {
            let (configuration, rest) = postcard::take_from_bytes(body).ok()?;
            *body = rest;
            Payload::Configuration(configuration)
        }
        _ => return None,
    };
    Some(Entry { index, term, time, payload })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{Configuration, MemberInfo};

    fn entry(payload: Payload) -> Record {
        Record::Entry(Entry { index: LogIndex(0x11), term: Term(0x22), time: ClusterTime(0x33), payload })
    }

    fn configuration() -> Configuration {
        let info = MemberInfo { name: "a".into(), client_url: "b".into(), peer_url: "c".into() };
        Configuration::of_voters([(NodeId(5), info)])
    }

    /// Every form a record can have, with its bytes.
    fn forms() -> Vec<(Record, Vec<u8>)> {
        let number = |n: u8| [n, 0, 0, 0, 0, 0, 0, 0];
        let entry_start = [number(0x11), number(0x22), number(0x33)].concat();
        let form = |head: [u8; 6], body: &[u8]| [&head[..], &[0, 0], body].concat();
        vec![
            (
                Record::HardState(HardState { term: Term(3), vote: None }),
                form([16, 0, 0, 0, 1, 0], &[number(3), number(0)].concat()),
            ),
            (
                Record::HardState(HardState { term: Term(3), vote: Some(NodeId(4)) }),
                form([16, 0, 0, 0, 1, 1], &[number(3), number(4)].concat()),
            ),
            (Record::Truncate { from: LogIndex(7) }, form([8, 0, 0, 0, 2, 0], &number(7))),
            (entry(Payload::Noop), form([24, 0, 0, 0, 3, 0], &entry_start)),
            (
                entry(Payload::Command(Bytes::from_static(b"set"))),
                form([27, 0, 0, 0, 3, 1], &[&entry_start[..], b"set"].concat()),
            ),
            (
                entry(Payload::Configuration(configuration())),
                form(
                    [37, 0, 0, 0, 3, 2],
                    // One voter 5; none outgoing; no learners; one member 5 with three strings; none removed.
                    &[&entry_start[..], &[1, 5, 0, 0, 1, 5, 1, b'a', 1, b'b', 1, b'c', 0]].concat(),
                ),
            ),
            (Record::Commit(LogIndex(9)), form([8, 0, 0, 0, 4, 0], &number(9))),
        ]
    }

    #[test]
    fn the_bytes_of_every_record() {
        for (record, bytes) in forms() {
            let mut encoded = Vec::new();
            encode(&record, &mut encoded);
            assert_eq!(encoded, bytes, "{record:?}");
        }
    }

    #[test]
    fn records_come_back_with_their_offsets() {
        let mut bytes = Vec::new();
        let expected: Vec<(u32, Record)> = forms()
            .into_iter()
            .map(|(record, _)| {
                let offset = bytes.len() as u32;
                encode(&record, &mut bytes);
                (offset, record)
            })
            .collect();
        let found: Vec<(u32, Record)> = Records::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(found, expected);
        let third = expected[3].0;
        assert_eq!(Records::from_offset(&bytes, third).next().unwrap().unwrap(), expected[3]);
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_no_record() {
        for (record, bytes) in forms() {
            for length in 1..bytes.len() {
                let found = Records::new(&bytes[..length]).next().unwrap();
                assert!(found.is_err(), "{record:?} cut to {length} bytes");
            }
            let mut longer = bytes.clone();
            longer[0] += 1;
            longer.push(0);
            let found = Records::new(&longer).next().unwrap();
            // A command may have any length; every other record has a fixed one.
            let is_command = matches!(&record, Record::Entry(Entry { payload: Payload::Command(_), .. }));
            assert_eq!(found.is_ok(), is_command, "{record:?} with a byte more");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0u8..8, 0..200)) {
            Records::new(&bytes).for_each(drop);
        }
    }
}
