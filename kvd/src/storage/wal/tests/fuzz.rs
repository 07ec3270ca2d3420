//! Files of arbitrary bytes: opening them never panics, and never returns records that were not written.

use super::super::checkpoint::Checkpoint;
use super::super::record;
use super::*;
use proptest::prelude::*;

/// Bytes to put over a part of a file.
fn patches() -> impl Strategy<Value = Vec<(prop::sample::Index, prop::sample::Index, Vec<u8>)>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        (1usize..600).prop_map(|length| vec![0; length]),
        (1usize..40).prop_map(|length| vec![0xff; length]),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), bytes), 1..4)
}

proptest! {
    #[test]
    fn arbitrary_files(files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..3)) {
        let disk = FaultyDisk::new(Seed(1));
        for (sequence, bytes) in (1..).zip(&files) {
            disk.set_contents(&file_name(sequence), bytes);
        }
        prop_assert!(open(&disk).is_err());
    }

    #[test]
    fn arbitrary_bytes_after_a_good_header(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let disk = written(&[]);
        let header = disk.contents(&file_name(1)).unwrap()[..SEGMENT_HEADER_BYTES].to_vec();
        disk.set_contents(&file_name(1), &[header, bytes].concat());
        assert_goes_on(&disk, &Model::default());
    }

    #[test]
    fn arbitrary_records_in_a_good_batch(records in prop::collection::vec(0u8..10, 1..200)) {
        let disk = written(&[]);
        let mut bytes = disk.contents(&file_name(1)).unwrap();
        let salt = SegmentHeader::decode(&bytes).unwrap().salt;
        let (header, _) = BatchHeader::encode(salt, 1, 0, &records);
        let batch = [&header[..], &records].concat();
        bytes[SEGMENT_HEADER_BYTES..SEGMENT_HEADER_BYTES + batch.len()].copy_from_slice(&batch);
        disk.set_contents(&file_name(1), &bytes);
        if let Err(error) = open(&disk) {
            prop_assert!(matches!(error, StorageError::Corrupt { .. }), "{}", error);
        }
    }

    #[test]
    fn patched_logs(seed in 0u64..4, patches in patches()) {
        let batches = workload(seed, 20);
        let disk = written(&batches);
        let names = segments(&disk);
        for (file, offset, patch) in patches {
            let name = file.get(&names);
            let mut bytes = disk.contents(name).unwrap();
            let offset = offset.index(bytes.len());
            let length = patch.len().min(bytes.len() - offset);
            bytes[offset..offset + length].copy_from_slice(&patch[..length]);
            disk.set_contents(name, &bytes);
        }
        if let Ok((_, _, found)) = open(&disk) {
            let is_prefix = (0..=batches.len()).any(|count| found == Model::after(&batches[..count]));
            prop_assert!(is_prefix, "{:?}", found);
        }
    }
}

/// Returns the first segment of a log with this state and then these records, with every checksum right.
fn sealed(checkpoint: Checkpoint, records: &[Record]) -> Vec<u8> {
    let header = SegmentHeader { node_id: NODE, sequence: 1, salt: 7, checkpoint };
    let mut bytes = Vec::new();
    records.iter().for_each(|record| record::encode(record, &mut bytes));
    let (batch, _) = BatchHeader::encode(header.salt, checkpoint.next_batch, checkpoint.chain, &bytes);
    [&header.encode()[..], &batch, &bytes].concat()
}

#[test]
fn numbers_that_no_log_reaches_are_refused_whatever_their_checksums_say() {
    let empty = Checkpoint::empty(LogBase::NONE);
    let (index, term, time, payload) = (LogIndex(1), Term(1), ClusterTime(1), Payload::Noop);
    let first = Entry { index, term, time, payload };
    let hard_state = HardState { term: Term(u64::MAX), vote: None };
    for (case, checkpoint, record) in [
        ("no batch", Checkpoint { next_batch: 0, ..empty }, Record::Commit(index)),
        ("a batch", Checkpoint { next_batch: u64::MAX, ..empty }, Record::Commit(index)),
        ("no index", Checkpoint { next_index: LogIndex(0), ..empty }, Record::Commit(index)),
        ("a term", Checkpoint { hard_state, ..empty }, Record::Commit(index)),
        ("a commit index", Checkpoint { commit: LogIndex(u64::MAX), ..empty }, Record::Commit(index)),
        ("a term in a record", empty, Record::HardState(hard_state)),
        ("a commit index in a record", empty, Record::Commit(LogIndex(u64::MAX))),
        ("a term in an entry", empty, Record::Entry(Entry { term: Term(u64::MAX), ..first.clone() })),
        ("a time in an entry", empty, Record::Entry(Entry { time: ClusterTime(u64::MAX), ..first.clone() })),
    ] {
        let disk = FaultyDisk::new(Seed(1));
        disk.set_contents(&file_name(1), &sealed(checkpoint, &[record]));
        let error = open(&disk).expect_err(case);
        assert!(matches!(error, StorageError::Corrupt { .. }), "{case}: {error}");
    }
    let disk = FaultyDisk::new(Seed(1));
    disk.set_contents(&file_name(1), &sealed(empty, &[Record::Entry(first)]));
    assert_eq!(open(&disk).unwrap().2.entries.len(), 1, "others are read");
    for sequence in [0, u64::MAX] {
        let disk = FaultyDisk::new(Seed(1));
        let header = SegmentHeader { node_id: NODE, sequence, salt: 7, checkpoint: empty };
        disk.set_contents(&file_name(sequence), &header.encode());
        let error = open(&disk).expect_err("no segment has that number");
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    }
}
