//! The faults of the faulty disk, without which no test that uses it would mean anything.

use crate::reading::{names, read_all};
use kvd_disk::Disk;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use testkit::faulty_disk::{Call, Fault, FaultyDisk, SECTOR_BYTES, Seed};

fn for_seeds(mut run: impl FnMut(FaultyDisk)) {
    (0..200).for_each(|seed| run(FaultyDisk::new(Seed(seed))));
}

#[test]
fn the_same_seed_does_the_same() {
    let run = || {
        let disk = FaultyDisk::new(Seed(9));
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_all_at(0, &[1; 40 * SECTOR_BYTES]).unwrap();
        disk.crash();
        disk.contents("a").unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_crash_keeps_what_was_synced() {
    for_seeds(|disk| {
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_all_at(0, &[1; 1500]).unwrap();
        file.sync().unwrap();
        disk.crash();
        assert_eq!(disk.contents("a").unwrap(), [1; 1500]);
        assert!(file.write_all_at(0, b"dead").is_err());
    });
}

#[test]
fn a_crash_keeps_any_part_of_what_was_not_synced_by_whole_sectors() {
    let mut outcomes = BTreeSet::new();
    for_seeds(|disk| {
        let file = disk.create("a").unwrap();
        file.write_all_at(0, &[1; 3 * SECTOR_BYTES]).unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        file.write_all_at(0, &[2; 3 * SECTOR_BYTES]).unwrap();
        disk.crash();
        let bytes = disk.contents("a").unwrap();
        outcomes.insert(
            bytes
                .chunks(SECTOR_BYTES)
                .map(|sector| {
                    assert!(sector.iter().all(|byte| *byte == sector[0]), "a torn sector");
                    sector[0]
                })
                .collect::<Vec<u8>>(),
        );
    });
    assert_eq!(outcomes.len(), 8, "all subsets: {outcomes:?}");
}

#[test]
fn a_crash_keeps_any_length_of_a_file_that_grew() {
    let mut lengths = BTreeSet::new();
    for_seeds(|disk| {
        let file = disk.create("a").unwrap();
        file.write_all_at(0, &[1; 700]).unwrap();
        file.sync().unwrap();
        disk.sync_dir().unwrap();
        file.write_all_at(700, &[2; 2000]).unwrap();
        disk.crash();
        let bytes = disk.contents("a").unwrap();
        assert_eq!(bytes[..700], [1; 700]);
        lengths.insert(bytes.len());
    });
    assert!(lengths.contains(&700) && lengths.contains(&2700) && lengths.len() > 10, "{lengths:?}");
}

#[test]
fn a_crash_undoes_any_names_that_were_not_synced() {
    let mut outcomes = BTreeSet::new();
    for_seeds(|disk| {
        for name in ["old", "gone"] {
            disk.create(name).unwrap();
        }
        disk.sync_dir().unwrap();
        disk.create("new").unwrap();
        disk.rename("old", "moved").unwrap();
        disk.remove("gone").unwrap();
        disk.crash();
        let names = names(&disk);
        let has = |name: &str| names.iter().any(|found| found == name);
        assert!(has("old") != has("moved"), "a rename is whole: {names:?}");
        outcomes.insert((has("new"), has("moved"), has("gone")));
    });
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
}

#[test]
fn a_failed_sync_loses_bytes_for_good_though_they_can_be_read() {
    let mut lost = 0;
    for_seeds(|disk| {
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_all_at(0, &[1; 5 * SECTOR_BYTES]).unwrap();
        disk.fail_after(Call::Sync, 0, Fault::Io);
        assert!(file.sync().is_err());
        assert_eq!(read_all(&*file), [1; 5 * SECTOR_BYTES]);
        file.sync().unwrap();
        disk.crash();
        lost += usize::from(disk.contents("a").unwrap() != [1; 5 * SECTOR_BYTES]);
    });
    assert!(lost > 50, "only {lost} of 200");
}

#[test]
fn a_power_cut_ends_everything_until_the_crash() {
    for_seeds(|disk| {
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        disk.cut_power_after(1);
        file.write_all_at(0, b"1").unwrap();
        assert!(file.sync().is_err());
        assert!(file.write_all_at(0, b"2").is_err() && disk.list().is_err() && disk.open("a").is_err());
        disk.crash();
        let bytes = read_all(&*disk.open("a").unwrap());
        assert!([&b""[..], b"1", b"\0"].contains(&&bytes[..]), "{bytes:?}");
    });
}

#[test]
fn the_chosen_call_fails_once() {
    let disk = FaultyDisk::new(Seed(1));
    disk.fail_after(Call::Create, 1, Fault::NoSpace);
    disk.create("a").unwrap();
    assert_eq!(disk.create("b").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.create("b").unwrap();
    assert_eq!(disk.count(Call::Create), 3);
}

#[test]
fn a_full_disk_takes_what_fits_and_frees_what_is_removed() {
    let disk = FaultyDisk::new(Seed(1));
    disk.set_capacity_bytes(Some(1000));
    let file = disk.create("a").unwrap();
    assert_eq!(file.write_at(0, &[1; 1500]).unwrap(), 1000);
    assert_eq!(file.write_all_at(1000, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_all_at(0, &[2; 1000]).unwrap();
    disk.remove("a").unwrap();
    disk.create("b").unwrap().write_all_at(0, &[1; 1000]).unwrap();
}

#[test]
fn a_killed_process_leaves_its_bytes_and_frees_its_lock() {
    let disk = FaultyDisk::new(Seed(1));
    let _held = disk.try_lock("lock").unwrap();
    let file = disk.create("a").unwrap();
    file.write_all_at(0, b"here").unwrap();
    disk.kill();
    assert!(file.sync().is_err());
    assert_eq!(read_all(&*disk.open("a").unwrap()), b"here");
    disk.try_lock("lock").unwrap();
}
