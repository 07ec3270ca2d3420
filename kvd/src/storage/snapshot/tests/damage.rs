//! Damage to files is found wherever it is.

use super::*;

/// A small snapshot, and an older one.
fn two() -> (FaultyDisk, String) {
    let disk = FaultyDisk::new(Seed(1));
    write(&disk, &meta(entry(10, 1)), &[b"old"]).unwrap();
    write(&disk, &meta(entry(20, 2)), &[b"some", b"more"]).unwrap();
    (disk, file_name(entry(20, 2)))
}

/// Checks that a start does not use the damaged newer snapshot, whether or not the older one suffices.
fn assert_found(disk: &FaultyDisk, name: &str, damage: &str) {
    let recovered = |begins_with| recover::<_, StorageError>(disk, CLUSTER, begins_with, read_all);
    let error = recovered(Some(LogIndex(12))).map(|found| found.base()).expect_err(damage);
    match &error {
        StorageError::Corrupt { file, .. } => {
            assert_eq!(file, name, "{damage}");
            let older = recovered(Some(LogIndex(11))).expect(damage);
            assert_eq!(older.base(), entry(10, 1), "{damage}");
        }
        // A file from a newer version does not count as damage.
        StorageError::UnknownVersion { file, .. } => assert_eq!(file, name, "{damage}"),
        other => panic!("{damage}: {other}"),
    }
}

#[test]
fn every_flipped_bit_of_a_file_is_found() {
    let (disk, name) = two();
    for offset in 0..disk.contents(&name).unwrap().len() as u64 {
        for bit in 0..8 {
            disk.flip_bit(&name, offset, bit);
            assert_found(&disk, &name, &format!("bit {bit} of byte {offset}"));
            disk.flip_bit(&name, offset, bit);
        }
    }
    assert_eq!(read(&disk, entry(20, 2)).unwrap(), b"somemore", "undamaged it is read");
}

#[test]
fn a_file_that_is_shorter_or_longer_is_found() {
    let (disk, name) = two();
    let whole = disk.contents(&name).unwrap();
    for length in 0..whole.len() {
        disk.set_contents(&name, &whole[..length]);
        assert_found(&disk, &name, &format!("cut at {length}"));
        let mut zeros = whole.clone();
        zeros[length..].fill(0);
        disk.set_contents(&name, &zeros);
        if zeros != whole {
            assert_found(&disk, &name, &format!("zeros from {length}"));
        }
    }
    for more in [&[0][..], b"x", &whole] {
        disk.set_contents(&name, &[&whole, more].concat());
        assert_found(&disk, &name, &format!("{} bytes more", more.len()));
    }
}

#[test]
fn sectors_in_each_others_place_are_found() {
    let (disk, name) = two();
    let pieces: Vec<Vec<u8>> = (0..8).map(|n| vec![n; 512 - PART_HEADER_BYTES]).collect();
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    write(&disk, &meta(entry(20, 2)), &pieces).unwrap();
    let whole = disk.contents(&name).unwrap();
    // Each piece is a sector long, so that it can change places with another as a whole.
    for (from, to) in (0..8).flat_map(|from| (0..8).map(move |to| (from, to))).filter(|(from, to)| from != to) {
        disk.set_contents(&name, &whole);
        disk.stray_write((&name, from * 512), (&name, to * 512), 512);
        assert_found(&disk, &name, &format!("sector {from} in the place of {to}"));
        let offset = whole.len() as u64 - 28 - 8 * 512;
        disk.set_contents(&name, &whole);
        disk.stray_write((&name, offset + from * 512), (&name, offset + to * 512), 512);
        assert_found(&disk, &name, &format!("piece {from} in the place of {to}"));
    }
}
