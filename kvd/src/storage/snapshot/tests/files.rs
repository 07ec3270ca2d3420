//! Snapshot files on disks that fail: a snapshot is there as a whole, or not at all.

use super::*;
use kvd_disk::MemoryDisk;
use kvd_disk::RealDisk;

const DATA: [&[u8]; 3] = [&[7; 700], b"", &[8; 1300]];

fn all_data() -> Vec<u8> {
    DATA.concat()
}

#[test]
fn what_is_written_is_read_on_every_disk() {
    let directory = tempfile::tempdir().unwrap();
    let short = FaultyDisk::new(Seed(1));
    short.set_short_writes(true);
    let disks: [Arc<dyn Disk>; 3] =
        [Arc::new(RealDisk::open(directory.path()).unwrap()), Arc::new(MemoryDisk::new()), Arc::new(short)];
    for disk in disks {
        let meta = meta(entry(70, 3));
        assert_eq!(newest(&*disk), None);
        let mut writer = SnapshotWriter::begin(Arc::clone(&disk), &meta).unwrap();
        // Longer than one read, and longer than the bytes between two syncs.
        let data = vec![vec![1; PART_BYTES_MAX], vec![2; 300_000], vec![3; 1], vec![4; PART_BYTES_MAX]];
        data.iter().for_each(|piece| writer.write_data(piece).unwrap());
        let file = writer.finish().unwrap();
        assert_eq!((file.last(), newest(&*disk)), (meta.place.last, Some(meta.place.last)));

        let mut reader = SnapshotReader::open(&*disk, meta.place.last).unwrap();
        assert_eq!((reader.meta(), reader.bytes().unwrap()), (&meta, file.bytes()));
        // It can be read on although the file is removed.
        disk.remove(&file_name(meta.place.last)).unwrap();
        for piece in data {
            assert_eq!(reader.next_piece().unwrap(), Some(Piece::Data(piece.clone().into())));
        }
        assert_eq!((reader.next_piece().unwrap(), reader.next_piece().unwrap()), (None, None));
        assert_eq!(disk.list().unwrap(), [""; 0]);
    }
}

#[test]
fn a_file_is_what_the_encoder_makes_and_so_is_a_copy_from_another_node() {
    let disk = FaultyDisk::new(Seed(1));
    let meta = meta(entry(70, 3));
    write(&disk, &meta, &DATA).unwrap();
    let bytes = disk.contents(&file_name(meta.place.last)).unwrap();
    assert_eq!(bytes, encode(&meta, &DATA));

    // A follower that is sent the bytes does the same.
    let other = FaultyDisk::new(Seed(2));
    let (mut decoder, mut writer) = (Decoder::new(), None);
    for piece in bytes.chunks(100) {
        decoder.feed(piece);
        while let Some(part) = decoder.next_part().unwrap() {
            match part {
                Part::Head(head) => {
                    let meta = SnapshotMeta::of(head).unwrap();
                    writer = Some(SnapshotWriter::begin(Arc::new(other.clone()), &meta).unwrap());
                }
                Part::Data(data) => writer.as_mut().unwrap().write_data(&data).unwrap(),
                Part::History(history) => writer.as_mut().unwrap().write_history(&history).unwrap(),
                Part::End(_) => {}
            }
        }
    }
    decoder.finish().unwrap();
    writer.unwrap().finish().unwrap();
    assert_eq!(other.contents(&file_name(meta.place.last)).unwrap(), bytes);
}

#[test]
fn two_may_be_written_at_the_same_time() {
    let disk = FaultyDisk::new(Seed(1));
    let meta = meta(entry(70, 3));
    let begin = || SnapshotWriter::begin(Arc::new(disk.clone()), &meta).unwrap();
    let (mut one, mut other) = (begin(), begin());
    one.write_data(b"one").unwrap();
    other.write_data(b"other").unwrap();
    one.finish().unwrap();
    assert_eq!(read(&disk, meta.place.last).unwrap(), b"one");
    other.finish().unwrap();
    assert_eq!(read(&disk, meta.place.last).unwrap(), b"other");
    begin().abandon().unwrap();
    assert_eq!(names(&disk), [file_name(meta.place.last)]);
}

#[test]
fn only_older_ones_are_removed() {
    let disk = FaultyDisk::new(Seed(1));
    for last in [entry(10, 1), entry(20, 2), entry(40, 2)] {
        write(&disk, &meta(last), &DATA).unwrap();
    }
    let file = write(&disk, &meta(entry(30, 2)), &DATA).unwrap();
    remove_older(&disk, &file).unwrap();
    assert_eq!(names(&disk), [file_name(entry(30, 2)), file_name(entry(40, 2))]);
}

/// Writes a snapshot and removes the previous one. Returns whether that was acknowledged.
fn replace(disk: &FaultyDisk) -> Result<(), StorageError> {
    let file = write(disk, &meta(entry(20, 2)), &DATA)?;
    remove_older(disk, &file)
}

/// Returns a disk with a snapshot, and room for another.
fn with_one(seed: u64) -> FaultyDisk {
    let disk = FaultyDisk::new(Seed(seed));
    write(&disk, &meta(entry(10, 1)), &[b"old"]).unwrap();
    disk
}

/// Starts, and checks that there is either the old snapshot or the new one, whole, and nothing else.
fn assert_one_of_two(disk: &FaultyDisk, is_new: bool) {
    let recovered = recover(disk, CLUSTER, Some(LogIndex(11)), read_all).unwrap();
    let found = recovered.found.expect("one of the two");
    match found.meta.place.last.index.0 {
        10 => assert!(!is_new && found.state == b"old"),
        _ => assert_eq!(found.state, all_data()),
    }
    let (last, names) = (found.meta.place.last, names(disk));
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
    // From here on the node relies on it.
    remove_older(disk, &found.file).unwrap();
    disk.crash();
    assert_eq!(newest(disk), Some(last));
    read(disk, last).unwrap();
}

#[test]
fn a_power_cut_or_a_kill_at_every_step_leaves_the_old_one_or_the_new_one() {
    let changes = {
        let disk = with_one(0);
        let before = disk.changes();
        replace(&disk).unwrap();
        disk.changes() - before
    };
    let mut unfinished = 0;
    for (seed, cut) in (0..100).flat_map(|seed| (0..=changes).map(move |cut| (seed, cut))) {
        let disk = with_one(seed);
        disk.cut_power_after(cut);
        let is_new = replace(&disk).is_ok();
        if seed % 2 == 0 {
            disk.crash()
        } else {
            disk.kill()
        }
        unfinished += usize::from(names(&disk).iter().any(|name| name.ends_with(".tmp")));
        // The next start may be interrupted as well.
        disk.cut_power_after(seed % 3);
        let _ = recover(&disk, CLUSTER, None, read_all);
        if seed % 5 == 0 {
            disk.kill()
        } else {
            disk.crash()
        }
        assert_one_of_two(&disk, is_new);
    }
    assert!(unfinished > 300, "only {unfinished} unfinished snapshots were found");
}

#[test]
fn a_failed_call_fails_the_snapshot_and_takes_no_space() {
    let mut failures = 0;
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        for (nth, fault) in (0..12).flat_map(|nth| [(nth, Fault::Io), (nth, Fault::NoSpace)]) {
            let disk = with_one(nth);
            disk.fail_after(call, nth, fault);
            if let Err(error) = write(&disk, &meta(entry(20, 2)), &DATA) {
                assert!(matches!(error, StorageError::Io { .. }), "{error}");
                failures += 1;
                assert!(names(&disk).iter().all(|name| !name.ends_with(".tmp")), "half a snapshot takes no space");
                // Another may succeed.
                replace(&disk).unwrap();
            }
            disk.crash();
            assert_one_of_two(&disk, true);
        }
    }
    assert!(failures > 20, "only {failures} failures were met");
}

#[test]
fn after_a_failure_a_writer_writes_no_more() {
    let disk = FaultyDisk::new(Seed(1));
    let mut writer = SnapshotWriter::begin(Arc::new(disk.clone()), &meta(entry(20, 2))).unwrap();
    disk.fail_after(Call::Write, 0, Fault::NoSpace);
    writer.write_data(b"some").unwrap_err();
    assert!(matches!(writer.write_data(b"more"), Err(StorageError::Poisoned)));
    assert!(matches!(writer.finish(), Err(StorageError::Poisoned)));
    assert_eq!(names(&disk), [""; 0]);
}

#[test]
fn a_long_snapshot_is_synced_on_the_way() {
    let disk = FaultyDisk::new(Seed(1));
    let mut writer = SnapshotWriter::begin(Arc::new(disk.clone()), &meta(entry(20, 2))).unwrap();
    (0..64).for_each(|_| writer.write_data(&[1; 1 << 18]).unwrap());
    assert_eq!(disk.count(Call::Sync), 4, "each 4 MiB");
    writer.finish().unwrap();
    assert_eq!(disk.count(Call::Sync), 5);
}
