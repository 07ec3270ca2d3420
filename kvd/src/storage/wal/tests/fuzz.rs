//! Files of arbitrary bytes: opening them never panics, and never brings back what was not written.

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
