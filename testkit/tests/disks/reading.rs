//! Looks at what a disk holds.

use kvd_disk::{Disk, File};

pub(crate) fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

pub(crate) fn read_all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.size().unwrap() as usize + 3];
    let read = file.read_full_at(0, &mut bytes).unwrap();
    bytes.truncate(read);
    bytes
}
