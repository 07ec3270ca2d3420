//! The contract of every [`Disk`], tested on each of them.

use crate::reading::{names, read_all};
use kvd_disk::{Disk, MemoryDisk, RealDisk};
use std::io::ErrorKind;
use testkit::faulty_disk::{FaultyDisk, Seed};

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
    let held = disk.try_lock("lock").unwrap();
    assert_eq!(disk.try_lock("lock").unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(held);
    drop(disk.try_lock("lock").unwrap());
    disk.try_lock("lock").unwrap();
}

fn handles_can_be_used_from_another_thread(disk: &dyn Disk) {
    let file = disk.create("a").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| file.write_all_at(0, b"there").unwrap()).join().unwrap();
    });
    assert_eq!(read_all(&*file), b"there");
}
