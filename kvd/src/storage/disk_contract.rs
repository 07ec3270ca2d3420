//! What every [`Disk`] keeps, tried on each of them.

use super::disk::{Disk, File, lock_data_dir};
use super::error::StorageError;
use super::faulty::{FaultyDisk, Seed};
use super::memory::MemoryDisk;
use super::real::RealDisk;
use std::io::ErrorKind;

#[test]
fn real_disk_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut made = 0;
    disk_contract(|| {
        made += 1;
        RealDisk::open(directory.path().join("data").join(made.to_string())).unwrap()
    });
}

#[test]
fn memory_disk_keeps_the_contract() {
    disk_contract(MemoryDisk::new);
}

#[test]
fn faulty_disk_keeps_the_contract() {
    disk_contract(|| FaultyDisk::new(Seed(7)));
}

#[test]
fn faulty_disk_keeps_the_contract_with_short_writes() {
    disk_contract(|| {
        let disk = FaultyDisk::new(Seed(7));
        disk.set_short_writes(true);
        disk
    });
}

/// Runs every case on an empty disk of its own.
fn disk_contract<D: Disk + 'static>(mut empty: impl FnMut() -> D) {
    names_come_and_go(&empty());
    create_never_takes_what_is_there(&empty());
    rename_replaces(&empty());
    bytes_are_where_they_were_written(&empty());
    handles_share_the_bytes(&empty());
    a_removed_file_lives_as_long_as_its_handles(&empty());
    one_holder_of_the_lock(&empty());
    handles_can_be_used_from_another_thread(&empty());
}

fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

fn read_all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.size().unwrap() as usize + 3];
    let read = file.read_full_at(0, &mut bytes).unwrap();
    bytes.truncate(read);
    bytes
}

fn names_come_and_go(disk: &dyn Disk) {
    assert_eq!(names(disk), [""; 0]);
    assert_eq!(disk.open("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename("a", "b").unwrap_err().kind(), ErrorKind::NotFound);
    disk.create("b").unwrap();
    disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(names(disk), ["a", "b"]);
    disk.remove("a").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(names(disk), ["b"]);
}

fn create_never_takes_what_is_there(disk: &dyn Disk) {
    disk.create("a").unwrap().write_all_at(0, b"kept").unwrap();
    assert_eq!(disk.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(read_all(&*disk.open("a").unwrap()), b"kept");
}

fn rename_replaces(disk: &dyn Disk) {
    disk.create("old").unwrap().write_all_at(0, b"old").unwrap();
    let new = disk.create("new").unwrap();
    new.write_all_at(0, b"new").unwrap();
    disk.rename("new", "old").unwrap();
    assert_eq!(names(disk), ["old"]);
    assert_eq!(read_all(&*disk.open("old").unwrap()), b"new");
    new.write_all_at(3, b"er").unwrap();
    assert_eq!(read_all(&*disk.open("old").unwrap()), b"newer");
}

fn bytes_are_where_they_were_written(disk: &dyn Disk) {
    let file = disk.create("a").unwrap();
    assert_eq!(read_all(&*file), b"");
    file.write_all_at(5, b"world").unwrap();
    assert_eq!(read_all(&*file), b"\0\0\0\0\0world");
    file.write_all_at(0, b"hello").unwrap();
    file.write_all_at(4, b"").unwrap();
    file.sync().unwrap();
    assert_eq!(read_all(&*file), b"helloworld");
    assert_eq!(file.size().unwrap(), 10);
    let mut buffer = [0; 4];
    assert_eq!(file.read_full_at(3, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"lowo");
    assert_eq!(file.read_full_at(8, &mut buffer).unwrap(), 2);
    assert_eq!(&buffer[..2], b"ld");
    assert_eq!(file.read_at(10, &mut buffer).unwrap(), 0);
    assert_eq!(file.read_at(1 << 40, &mut buffer).unwrap(), 0);
}

fn handles_share_the_bytes(disk: &dyn Disk) {
    let writer = disk.create("a").unwrap();
    let reader = disk.open("a").unwrap();
    writer.write_all_at(0, &[7; 2000]).unwrap();
    assert_eq!(read_all(&*reader), [7; 2000]);
}

fn a_removed_file_lives_as_long_as_its_handles(disk: &dyn Disk) {
    let file = disk.create("a").unwrap();
    file.write_all_at(0, b"still here").unwrap();
    disk.remove("a").unwrap();
    disk.create("a").unwrap();
    assert_eq!(read_all(&*file), b"still here");
    assert_eq!(read_all(&*disk.open("a").unwrap()), b"");
}

fn one_holder_of_the_lock(disk: &dyn Disk) {
    let held = lock_data_dir(disk).unwrap();
    let error = lock_data_dir(disk).unwrap_err();
    assert!(matches!(error, StorageError::Locked), "{error}");
    drop(held);
    drop(lock_data_dir(disk).unwrap());
    lock_data_dir(disk).unwrap();
}

fn handles_can_be_used_from_another_thread(disk: &dyn Disk) {
    let file = disk.create("a").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| file.write_all_at(0, b"there").unwrap()).join().unwrap();
    });
    assert_eq!(read_all(&*file), b"there");
}

/// The faults of the faulty disk, without which no test that uses it would mean anything.
mod faults {
    use super::super::faulty::{Call, Fault, SECTOR_BYTES};
    use super::*;
    use std::collections::BTreeSet;

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
        let _held = lock_data_dir(&disk).unwrap();
        let file = disk.create("a").unwrap();
        file.write_all_at(0, b"here").unwrap();
        disk.kill();
        assert!(file.sync().is_err());
        assert_eq!(read_all(&*disk.open("a").unwrap()), b"here");
        lock_data_dir(&disk).unwrap();
    }
}
