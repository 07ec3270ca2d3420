//! Any bytes as the files of a log: it opens with the records that its checksums vouch for, or it does not open.
//!
//! The bytes are split into segments wherever the magic of a segment occurs. The expected result is computed here a
//! second time, in the plainest way, from the tables of offsets in `storage/wal/format.rs` and `record.rs`. So both
//! must agree on which records are undamaged.

use kvd::raft::LogBase;
use kvd::raft::{ClusterTime, Entry, HardState, LogIndex, NodeId, Payload, Record, Term};
use kvd::storage::wal::OpenedLog;
use kvd::storage::{Disk, MemoryDisk, StorageError, Wal, WalOptions};
use std::sync::Arc;

/// The node that owns the log.
const NODE: NodeId = NodeId(0xabcd);

const SEGMENT_MAGIC: &[u8] = b"kvd-wal\n";
const SEGMENT_HEADER_BYTES: usize = 512;
const BATCH_MAGIC: &[u8] = b"kvdB";
const BATCH_HEADER_BYTES: usize = 40;
const RECORD_HEADER_BYTES: usize = 8;

/// Number of files beyond which nothing new shows.
const SEGMENTS_MAX: usize = 8;

/// Checks any bytes.
pub fn check(bytes: &[u8]) {
    let mut segments = split(bytes);
    open(&segments);
    // Few inputs have the right checksums. There is more to check in the code behind them.
    seal(&mut segments);
    open(&segments);
    // The same log after a snapshot of its first entries, or of entries before them.
    let before = segments.first().and_then(|segment| number(segment, 56)).unwrap_or(1).wrapping_sub(1);
    for (entries, term) in [(0, 0), (0, 1), (1, 1), (2, 2), (9, 9)] {
        let base = LogBase { index: LogIndex(before.wrapping_add(entries)), term: Term(term) };
        // No log gets this far, so no snapshot can end there.
        if base.index.0 < 1 << 62 {
            open_after(&segments, base);
        }
    }
}

/// Splits the bytes. The first segment begins with the first byte, the others with their magic.
fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts = (1..bytes.len()).filter(|at| bytes[*at..].starts_with(SEGMENT_MAGIC));
    let mut bounds: Vec<usize> = std::iter::once(0).chain(starts).take(SEGMENTS_MAX).collect();
    bounds.push(bytes.len());
    bounds.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

/// Returns a disk with these segments.
fn disk_of(segments: &[Vec<u8>]) -> Arc<dyn Disk> {
    let disk = MemoryDisk::new();
    let first = segments.first().and_then(|segment| number(segment, 24)).unwrap_or(1);
    for (segment, position) in segments.iter().zip(0..) {
        let sequence = first.wrapping_add(position);
        let file = disk.create(&format!("wal-{sequence:016}.log"));
        file.and_then(|file| file.write_all_at(0, segment)).expect("memory takes all");
    }
    Arc::new(disk)
}

/// Opens the log after a base; returns `None` if it is refused.
fn read(disk: &Arc<dyn Disk>, base: LogBase, records: &mut Vec<Record>) -> Option<(Wal, OpenedLog)> {
    let options = WalOptions { segment_bytes: 2048, salt: 0x5a17, base };
    match Wal::open(Arc::clone(disk), options, NODE, &mut |record| records.push(record)) {
        Ok(opened) => Some(opened),
        Err(StorageError::Corrupt { .. } | StorageError::UnknownVersion { .. } | StorageError::OtherNode { .. }) => {
            None
        }
        Err(other) => panic!("an error that says nothing of the bytes: {other}"),
    }
}

/// Checks that the recovered records follow the base, and are found again.
fn open_after(segments: &[Vec<u8>], base: LogBase) {
    let disk = disk_of(segments);
    let mut records = Vec::new();
    let Some((wal, opened)) = read(&disk, base, &mut records) else { return };
    let entries = replay(&records);
    let indexes: Vec<u64> = entries.iter().map(|entry| entry.index.0).collect();
    assert_eq!(indexes, (base.index.0 + 1..=opened.last_index.0).collect::<Vec<_>>());
    assert!(opened.first_index <= base.index.next() && opened.commit >= base.index);
    let back = wal.reader().read(base.index.next(), opened.last_index, usize::MAX).expect("what was opened is read");
    assert_eq!(back, entries);
    drop(wal);
    let mut again = Vec::new();
    let (_, again_opened) = read(&disk, base, &mut again).expect("what was opened once opens again");
    assert_eq!((again_opened.reset, replay(&again), again_opened.hard_state), (false, entries, opened.hard_state));
}

fn open(segments: &[Vec<u8>]) {
    let disk = disk_of(segments);
    let mut records = Vec::new();
    let Some((mut wal, opened)) = read(&disk, LogBase::NONE, &mut records) else { return };
    let expected = vouched_for(segments);
    assert_eq!(records.iter().map(plain).collect::<Vec<_>>(), expected, "what checksums vouch for, and nothing else");

    let entries = replay(&records);
    assert_eq!(opened.last_index.0 + 1, opened.first_index.0 + entries.len() as u64);
    let back = wal.reader().read(opened.first_index, opened.last_index, usize::MAX).expect("what was opened is read");
    assert_eq!(back, entries);

    // The log continues from there.
    let index = opened.last_index.next();
    let next = Record::Entry(Entry { index, term: Term(9), time: ClusterTime(9), payload: Payload::Noop });
    let _ = wal.append(std::slice::from_ref(&next)).expect("memory takes all");
    drop(wal);
    let mut again = Vec::new();
    let (_, opened) = read(&disk, LogBase::NONE, &mut again).expect("what was opened once opens again");
    assert_eq!((again.split_last(), opened.torn_tail), (Some((&next, &records[..])), None));
}

/// Returns the entries that these records leave.
fn replay(records: &[Record]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for record in records {
        match record {
            Record::Entry(entry) => entries.push(entry.clone()),
            Record::Truncate { from } => entries.retain(|entry| entry.index < *from),
            Record::HardState(_) | Record::Commit(_) => {}
        }
    }
    entries
}

/// A record without its types, as in the file: type, variant, and the rest. For a configuration, only its place.
type Plain = (u8, u8, Vec<u8>);

fn plain(record: &Record) -> Plain {
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    match record {
        Record::HardState(HardState { term, vote }) => {
            (1, u8::from(vote.is_some()), numbers(&[term.0, vote.map_or(0, |id| id.0)]))
        }
        Record::Truncate { from } => (2, 0, numbers(&[from.0])),
        Record::Entry(Entry { index, term, time, payload }) => {
            let place = numbers(&[index.0, term.0, time.0]);
            match payload {
                Payload::Noop => (3, 0, place),
                Payload::Command(command) => (3, 1, [&place, &command[..]].concat()),
                Payload::Configuration(_) => (3, 2, place),
            }
        }
        Record::Commit(index) => (4, 0, numbers(&[index.0])),
    }
}

/// Returns the records of all undamaged consecutive batches, up to the first batch of each segment that is not.
fn vouched_for(segments: &[Vec<u8>]) -> Vec<Plain> {
    let mut records = Vec::new();
    let Some(header) = segments.first().filter(|segment| segment.len() >= SEGMENT_HEADER_BYTES) else { return records };
    // A log whose first segments were deleted begins with their state.
    let has_vote = header[12..16] == [1, 0, 0, 0];
    let (term, vote) = (&header[64..72], if has_vote { &header[72..80] } else { &[0; 8] });
    if has_vote || term != [0; 8] {
        records.push((1, u8::from(has_vote), [term, vote].concat()));
    }
    if header[80..88] != [0; 8] {
        records.push((4, 0, header[80..88].to_vec()));
    }
    let mut batch_number = number(header, 40).expect("a whole header");
    let mut chain = &header[48..52];
    for segment in segments {
        let mut rest = &segment[SEGMENT_HEADER_BYTES..];
        while let Some(batch) = undamaged_batch(rest, &segment[32..40], batch_number, chain) {
            (batch_number, chain) = (batch_number.wrapping_add(1), &batch[4..8]);
            let mut bytes = &batch[BATCH_HEADER_BYTES..];
            while let Some((head, after)) = bytes.split_at_checked(RECORD_HEADER_BYTES) {
                let (body, after) = after.split_at(u32::from_le_bytes(head[..4].try_into().expect("four")) as usize);
                let shown = if head[4..6] == [3, 2] { &body[..24] } else { body };
                let mut shown = shown.to_vec();
                if head[4..6] == [1, 0] {
                    // A missing vote is never read.
                    shown[8..].fill(0);
                }
                // A commit of index zero has no meaning.
                if head[4..6] != [4, 0] || shown != [0; 8] {
                    records.push((head[4], head[5], shown));
                }
                bytes = after;
            }
            rest = rest.get(batch.len().next_multiple_of(8)..).unwrap_or_default();
        }
    }
    records
}

fn undamaged_batch<'a>(bytes: &'a [u8], salt: &[u8], number: u64, chain: &[u8]) -> Option<&'a [u8]> {
    let length = BATCH_HEADER_BYTES + length_of_records(bytes)?;
    let batch = bytes.get(..length)?;
    let is_right = batch.starts_with(BATCH_MAGIC)
        && batch[8..16] == *salt
        && batch[16..24] == number.to_le_bytes()
        && batch[32..36] == *chain
        && batch[4..8] == crc32c::crc32c(&batch[8..BATCH_HEADER_BYTES]).to_le_bytes()
        && batch[28..32] == crc32c::crc32c(&batch[BATCH_HEADER_BYTES..]).to_le_bytes();
    is_right.then_some(batch)
}

fn length_of_records(batch: &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(batch.get(24..28)?.try_into().expect("four")) as usize)
}

fn number(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset + 8)?.try_into().expect("eight")))
}

/// Puts the right salts and checksums wherever headers are, and the node's id: a disk never does so by itself, but a
/// defect in the writer of the log might.
fn seal(segments: &mut [Vec<u8>]) {
    let mut chain: Option<[u8; 4]> = None;
    for segment in segments {
        let Some((header, mut rest)) = segment.split_at_mut_checked(SEGMENT_HEADER_BYTES) else { return };
        header[16..24].copy_from_slice(&NODE.0.to_le_bytes());
        if let Some(chain) = chain {
            header[48..52].copy_from_slice(&chain);
        }
        let crc = crc32c::crc32c(&header[..508]);
        header[508..].copy_from_slice(&crc.to_le_bytes());
        let mut last: [u8; 4] = header[48..52].try_into().expect("four");
        while rest.starts_with(BATCH_MAGIC) && rest.len() >= BATCH_HEADER_BYTES {
            let length = length_of_records(rest).expect("a whole header").min(rest.len() - BATCH_HEADER_BYTES);
            let (batch, records) = rest.split_at_mut(BATCH_HEADER_BYTES);
            batch[8..16].copy_from_slice(&header[32..40]);
            batch[28..32].copy_from_slice(&crc32c::crc32c(&records[..length]).to_le_bytes());
            batch[32..36].copy_from_slice(&last);
            let crc = crc32c::crc32c(&batch[8..]);
            batch[4..8].copy_from_slice(&crc.to_le_bytes());
            last = crc.to_le_bytes();
            let next = (BATCH_HEADER_BYTES + length).next_multiple_of(8).min(rest.len());
            rest = &mut rest[next..];
        }
        chain = Some(last);
    }
}
