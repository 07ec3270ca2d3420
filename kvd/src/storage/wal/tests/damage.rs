//! Torn tails are cut off; all other damage is refused.

use super::*;
use testkit::faulty_disk::SECTOR_BYTES;

/// Returns batches for a log of several segments; the last batch is several sectors long.
fn batches_with_long_end() -> Vec<Vec<Record>> {
    let mut batches: Vec<Vec<Record>> = (1..8).map(|index| one(index, vec![index as u8; 400])).collect();
    batches.push(one(8, (0..1100).map(|n| n as u8 | 1).collect::<Vec<u8>>()));
    batches
}

fn assert_corrupt(disk: &FaultyDisk, expected_file: &str, expected_offset: usize) {
    match open(disk) {
        Err(StorageError::Corrupt { file, offset, .. }) => {
            assert_eq!((file.as_str(), offset), (expected_file, expected_offset as u64));
        }
        other => panic!("{:?}", other.map(|(_, opened, _)| opened)),
    }
}

#[test]
fn every_flipped_bit_is_refused_unless_only_the_last_batch_is_hurt() {
    let batches = workload(5, 30);
    let whole = written(&batches);
    let (last_file, last_range) = last_batch(&whole);
    let (all, all_but_last) = (Model::after(&batches), Model::after(&batches[..batches.len() - 1]));
    let mut refused = 0;
    for name in segments(&whole) {
        let bytes = whole.contents(&name).unwrap();
        let ranges = batches_in(&bytes);
        for offset in 0..bytes.len() {
            let disk = copy(&whole);
            disk.flip_bit(&name, offset as u64, (offset % 8) as u8);
            let batch = ranges.iter().find(|range| range.contains(&offset));
            if name == last_file && last_range.contains(&offset) {
                // Nothing proves that the last batch was ever whole.
                let (_, opened, found) = open(&disk).unwrap();
                assert_eq!(found, all_but_last);
                assert_eq!(opened.torn_tail.unwrap().offset, last_range.start as u64);
            } else if let Some(batch) = batch {
                assert_corrupt(&disk, &name, batch.start);
                refused += 1;
            } else if offset < SEGMENT_HEADER_BYTES {
                let error = open(&disk).unwrap_err();
                assert!(
                    matches!(&error, StorageError::Corrupt { file, .. } | StorageError::UnknownVersion { file, .. }
                        if *file == name),
                    "{error}"
                );
            } else {
                // Between and after batches there is nothing to lose.
                assert_eq!(open(&disk).unwrap().2, all);
            }
        }
    }
    assert!(refused > 5_000, "only {refused} flips hit a batch");
}

#[test]
fn every_flipped_bit_of_the_last_batch_is_refused_once_the_log_is_sealed() {
    let batches = workload(5, 30);
    let whole = written(&batches);
    let (name, last) = last_batch(&whole);
    let (mut wal, ..) = open(&whole).unwrap();
    assert!(!wal.is_sealed(), "nobody knows whether the last batch is a seal");
    let _ = wal.seal().unwrap();
    assert!(wal.is_sealed());
    drop(wal);
    let all = Model::after(&batches);
    assert_eq!(open(&copy(&whole)).unwrap().2, all, "a seal says nothing");
    for offset in last.clone() {
        let disk = copy(&whole);
        disk.flip_bit(&name, offset as u64, (offset % 8) as u8);
        assert_corrupt(&disk, &name, last.start);
    }
    let (seal_name, seal) = last_batch(&whole);
    for offset in seal {
        let disk = copy(&whole);
        disk.flip_bit(&seal_name, offset as u64, (offset % 8) as u8);
        assert_goes_on(&disk, &all);
    }
}

#[test]
fn a_log_is_sealed_once() {
    let disk = written(&workload(5, 3));
    let (mut wal, ..) = open(&disk).unwrap();
    let _ = wal.seal().unwrap();
    let changes = disk.changes();
    assert_eq!(wal.seal().unwrap(), Appended::default());
    assert_eq!(disk.changes(), changes);
}

#[test]
fn a_torn_last_batch_is_cut_off_wherever_it_is_torn() {
    let batches = batches_with_long_end();
    let whole = written(&batches);
    let (name, range) = last_batch(&whole);
    let bytes = whole.contents(&name).unwrap();
    let all_but_last = Model::after(&batches[..batches.len() - 1]);
    let mut rng = StdRng::seed_from_u64(1);
    for cut in range.clone() {
        let cut_short = bytes[..cut].to_vec();
        let mut zeros = bytes.clone();
        zeros[cut..].fill(0);
        let mut garbage = bytes.clone();
        rng.fill(&mut garbage[cut..]);
        for torn in [cut_short, zeros, garbage] {
            let disk = copy(&whole);
            disk.set_contents(&name, &torn);
            assert_goes_on(&disk, &all_but_last);
        }
    }
}

#[test]
fn the_sectors_of_the_last_batch_may_be_lost_in_any_combination() {
    let batches = batches_with_long_end();
    let whole = written(&batches);
    let (name, range) = last_batch(&whole);
    let bytes = whole.contents(&name).unwrap();
    let sectors: Vec<usize> = (range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES)).collect();
    assert!(sectors.len() >= 3);
    for lost in 1..1u32 << sectors.len() {
        let mut torn = bytes.clone();
        for (bit, sector) in sectors.iter().enumerate() {
            if lost & (1 << bit) != 0 {
                // Bytes of the sector before the batch stay.
                torn[(sector * SECTOR_BYTES).max(range.start)..((sector + 1) * SECTOR_BYTES).min(bytes.len())].fill(0);
            }
        }
        let disk = copy(&whole);
        disk.set_contents(&name, &torn);
        let (_, opened, _) = open(&copy(&disk)).unwrap();
        assert_eq!(opened.torn_tail.is_some(), torn[range.start..] != vec![0; bytes.len() - range.start][..]);
        assert_goes_on(&disk, &Model::after(&batches[..batches.len() - 1]));
    }
}

#[test]
fn the_torn_tail_is_told_of_once() {
    let batches = batches_with_long_end();
    let disk = written(&batches);
    let (name, range) = last_batch(&disk);
    disk.flip_bit(&name, range.end as u64 - 1, 0);
    let (_, opened, _) = open(&disk).unwrap();
    let torn = opened.torn_tail.unwrap();
    assert_eq!(
        torn.to_string(),
        format!("cut {} bytes of an unfinished write off the log, at byte {} of {name}", range.len(), range.start)
    );
    disk.crash();
    assert_eq!(open(&disk).unwrap().1.torn_tail, None);
}

#[test]
fn damage_before_a_torn_batch_is_still_damage() {
    // The header of the torn batch alone proves that the batch before it was durable.
    let batches = batches_with_long_end();
    let disk = written(&batches);
    let (name, last) = last_batch(&disk);
    let mut bytes = disk.contents(&name).unwrap();
    assert_eq!(batches_in(&bytes).len(), 1);
    let (mut wal, _, _) = open(&disk).unwrap();
    let _: Appended = wal.append(&one(9, "next")).unwrap();
    bytes = disk.contents(&name).unwrap();
    let ranges = batches_in(&bytes);
    assert_eq!(ranges.len(), 2);
    bytes[ranges[1].end - 1] ^= 1; // torn
    bytes[last.end - 1] ^= 1; // damaged
    disk.set_contents(&name, &bytes);
    assert_corrupt(&disk, &name, last.start);
}

#[test]
fn a_missing_segment_is_refused() {
    let batches = workload(6, 40);
    let whole = written(&batches);
    let names = segments(&whole);
    for missing in &names[..names.len() - 1] {
        let disk = copy(&whole);
        disk.lose(missing);
        let error = open(&disk).unwrap_err();
        let StorageError::Corrupt { file, cause, .. } = &error else { panic!("{error}") };
        if missing == &names[0] {
            assert_eq!(file, &names[1]);
            assert!(cause.contains("all files before it are missing"), "{error}");
        } else {
            assert_eq!(file, missing);
            assert!(cause.contains("the file is missing"), "{error}");
        }
    }
}

#[test]
fn segments_under_each_others_names_are_refused() {
    let disk = written(&workload(6, 40));
    let names = segments(&disk);
    let (first, second) = (disk.contents(&names[0]).unwrap(), disk.contents(&names[1]).unwrap());
    disk.set_contents(&names[0], &second);
    disk.set_contents(&names[1], &first);
    assert_corrupt(&disk, &names[0], 0);
}

#[test]
fn a_segment_without_a_header_is_refused() {
    for bytes in [vec![], vec![0; 100], vec![0; 2048]] {
        let disk = FaultyDisk::new(Seed(1));
        disk.set_contents(&file_name(1), &bytes);
        assert_corrupt(&disk, &file_name(1), 0);
    }
}

#[test]
fn batches_in_the_wrong_place_are_refused() {
    // Two batches of the same length change places: each is valid by itself.
    let batches: Vec<Vec<Record>> = (1..4).map(|index| one(index, vec![9; 100])).collect();
    let disk = written(&batches);
    let name = file_name(1);
    let mut bytes = disk.contents(&name).unwrap();
    let ranges = batches_in(&bytes);
    let (first, second) = (bytes[ranges[0].clone()].to_vec(), bytes[ranges[1].clone()].to_vec());
    bytes[ranges[0].clone()].copy_from_slice(&second);
    bytes[ranges[1].clone()].copy_from_slice(&first);
    disk.set_contents(&name, &bytes);
    assert_corrupt(&disk, &name, ranges[0].start);
}

#[test]
fn an_older_version_of_a_batch_in_its_own_place_is_refused() {
    // Batch 2 was written once, torn, cut off and written again with other content. A disk that brings the old batch
    // back shows one that is valid by itself, at the right place and with the right number. Only the batch after it
    // reveals the mistake.
    for third in [100, 1500] {
        let old = written(&[one(1, "one"), one(2, "old")]);
        let disk = written(&[one(1, "one"), one(2, "new"), one(3, vec![3; third])]);
        let name = file_name(1);
        let (old, mut bytes) = (old.contents(&name).unwrap(), disk.contents(&name).unwrap());
        let range = batches_in(&bytes)[1].clone();
        bytes[range.clone()].copy_from_slice(&old[range.clone()]);
        disk.set_contents(&name, &bytes);
        assert_eq!(segments(&disk).len(), if third > 1000 { 2 } else { 1 });
        assert_corrupt(&disk, &name, align(range.end));
    }
}

#[test]
fn old_batches_after_the_end_are_no_part_of_the_log() {
    let batches = workload(5, 30);
    let whole = written(&batches);
    let (last_name, last) = last_batch(&whole);
    let end = align(last.end);
    let bytes = whole.contents(&last_name).unwrap();
    let mut tried = 0;
    for name in segments(&whole) {
        let source = whole.contents(&name).unwrap();
        for range in batches_in(&source) {
            let stale = &source[range];
            if end + stale.len() > bytes.len() {
                continue;
            }
            let mut with_stale = bytes.clone();
            with_stale[end..end + stale.len()].copy_from_slice(stale);
            let disk = copy(&whole);
            disk.set_contents(&last_name, &with_stale);
            assert_goes_on(&disk, &Model::after(&batches));
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
}

#[test]
fn a_value_that_looks_like_a_batch_is_not_taken_for_one() {
    // A user stores a copy of the log itself, and an imitation of a later batch with a guessed salt. The batch with
    // that value is torn, so that recovery searches the value for headers of later batches.
    let mut batches = vec![one(1, "one"), one(2, "two")];
    let mut value = written(&batches).contents(&file_name(1)).unwrap()[SEGMENT_HEADER_BYTES..].to_vec();
    for salt in [0, 1, OPTIONS.salt] {
        value.extend_from_slice(&BatchHeader::encode(salt, 99, 0, b"").0);
    }
    // The payload begins 72 bytes into the batch, a multiple of eight, so the copies lie where batches may begin.
    batches.push(one(3, value));
    let disk = written(&batches);
    let (name, range) = last_batch(&disk);
    disk.flip_bit(&name, range.end as u64 - 1, 3);
    assert_goes_on(&disk, &Model::after(&batches[..2]));
}

#[test]
fn another_nodes_log_is_refused() {
    let disk = written(&workload(1, 3));
    let error = Wal::open(Arc::new(disk), OPTIONS, NodeId(0xeeee), &mut |_| {}).unwrap_err();
    assert!(matches!(error, StorageError::OtherNode { found: NODE, expected: NodeId(0xeeee), .. }), "{error}");
}

#[test]
fn another_format_version_is_refused() {
    let disk = written(&workload(1, 3));
    let mut bytes = disk.contents(&file_name(1)).unwrap();
    bytes[8] = 2;
    disk.set_contents(&file_name(1), &bytes);
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StorageError::UnknownVersion { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn the_error_names_file_and_offset_and_says_what_to_do() {
    let disk = written(&[one(1, "one"), one(2, "two"), one(3, "three")]);
    disk.flip_bit(&file_name(1), 600, 0);
    let message = open(&disk).unwrap_err().to_string();
    let expected = "wal-0000000000000001.log is damaged at byte 592: \
                    batch 2 is damaged, though batch 3 was begun after it. \
                    Acknowledged writes may be missing from this node";
    assert!(message.starts_with(expected) && message.contains("Restore the latest version of the file"), "{message}");
}
