//! Choice of the snapshot that a node starts from.

use super::super::super::wal::{Wal, WalOptions};
use super::*;
use crate::raft::{ClusterTime, Entry, HardState, Payload, Record};

const NODE: NodeId = NodeId(0xabcd);

fn options(base: LogBase) -> WalOptions {
    WalOptions { segment_bytes: 1024, salt: 0x5a17, base }
}

/// Starts. Returns the base, the restored data, and the damage to report.
fn start(disk: &FaultyDisk) -> Result<(LogBase, Vec<u8>, Vec<String>), StorageError> {
    let begins_with = Wal::begins_with(disk, NODE)?;
    let recovered = recover(disk, CLUSTER, begins_with, read_all)?;
    let options = options(recovered.base());
    let (_, opened) = Wal::open(Arc::new(disk.clone()), options, NODE, &mut |_| {})?;
    let warnings = recovered.check(&opened)?.iter().map(ToString::to_string).collect();
    Ok((recovered.base(), recovered.found.map(|found| found.state).unwrap_or_default(), warnings))
}

/// Returns a log of ten entries of term 1 in several segments, with snapshots that end at these indexes.
fn log_with_snapshots(indexes: &[u64]) -> FaultyDisk {
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _) = Wal::open(Arc::new(disk.clone()), options(LogBase::NONE), NODE, &mut |_| {}).unwrap();
    let mut append = |records: &[Record]| assert!(wal.append(records).is_ok());
    append(&[Record::HardState(HardState { term: Term(1), vote: None })]);
    for index in 1..=10 {
        let payload = Payload::Command(vec![index as u8; 300].into());
        let entry = Entry { index: LogIndex(index), term: Term(1), time: ClusterTime(index), payload };
        append(&[Record::Entry(entry), Record::Commit(LogIndex(index))]);
    }
    for index in indexes {
        write(&disk, &meta(entry(*index, 1)), &[format!("state at {index}").as_bytes()]).unwrap();
    }
    disk
}

/// Compacts the log as after a snapshot that ends with this entry.
fn compact(disk: &FaultyDisk, index: u64) {
    let (wal, _) = Wal::open(Arc::new(disk.clone()), options(entry(index, 1)), NODE, &mut |_| {}).unwrap();
    assert!(wal.compactor().compact(LogIndex(index)).unwrap() > 0);
}

fn damage(disk: &FaultyDisk, index: u64) {
    let name = file_name(entry(index, 1));
    disk.flip_bit(&name, disk.contents(&name).unwrap().len() as u64 / 2, 3);
}

#[test]
fn a_node_starts_from_its_newest_snapshot() {
    let disk = log_with_snapshots(&[2, 6, 9]);
    assert_eq!(start(&disk).unwrap(), (entry(9, 1), b"state at 9".to_vec(), vec![]));
    compact(&disk, 9);
    assert_eq!(start(&disk).unwrap(), (entry(9, 1), b"state at 9".to_vec(), vec![]));
    let none = FaultyDisk::new(Seed(1));
    assert_eq!(start(&none).unwrap(), (LogBase::NONE, vec![], vec![]));
}

#[test]
fn a_damaged_snapshot_does_no_harm_if_an_older_one_and_the_log_have_it_all() {
    let disk = log_with_snapshots(&[2, 6, 9]);
    compact(&disk, 6);
    damage(&disk, 9);
    let (base, state, warnings) = start(&disk).unwrap();
    assert_eq!((base, &state[..], warnings.len()), (entry(6, 1), &b"state at 6"[..], 1));
    let name = file_name(entry(9, 1));
    let expected = format!("{name}: the snapshot is damaged at byte 32: a part does not match its checksum");
    assert!(warnings[0].starts_with(&expected), "{warnings:?}");
    // Once there is a newer snapshot, the damaged one is removed.
    let file = write(&disk, &meta(entry(10, 1)), &[b"state at 10"]).unwrap();
    remove_older(&disk, &file).unwrap();
    assert_eq!(start(&disk).unwrap(), (entry(10, 1), b"state at 10".to_vec(), vec![]));
}

#[test]
fn a_damaged_snapshot_does_no_harm_if_the_log_has_it_all() {
    let disk = log_with_snapshots(&[2, 9]);
    damage(&disk, 9);
    damage(&disk, 2);
    let (base, _, warnings) = start(&disk).unwrap();
    assert_eq!((base, warnings.len()), (LogBase::NONE, 2));
}

/// Checks that every start is refused because of the snapshot that ends with this entry, however often it is tried.
fn assert_refused(disk: &FaultyDisk, index: u64) {
    for _ in 0..2 {
        let error = start(disk).unwrap_err();
        let StorageError::Corrupt { file, offset, .. } = &error else { panic!("{error}") };
        assert_eq!((file, *offset), (&file_name(entry(index, 1)), 32));
        disk.crash();
    }
}

#[test]
fn a_damaged_snapshot_is_refused_if_the_log_does_not_reach_back() {
    let disk = log_with_snapshots(&[2, 9]);
    compact(&disk, 9);
    damage(&disk, 9);
    assert_refused(&disk, 9);
    let disk = log_with_snapshots(&[9]);
    compact(&disk, 9);
    damage(&disk, 9);
    assert_refused(&disk, 9);
}

#[test]
fn a_damaged_snapshot_is_refused_if_the_log_does_not_reach_as_far() {
    // The leader sent the snapshot, and the node acknowledged it and was about to restart the log.
    let disk = log_with_snapshots(&[2]);
    write(&disk, &meta(entry(20, 1)), &[b"state at 20"]).unwrap();
    damage(&disk, 20);
    assert_refused(&disk, 20);
    // Once it is put back undamaged, the node starts again.
    write(&disk, &meta(entry(20, 1)), &[b"state at 20"]).unwrap();
    assert_eq!(start(&disk).unwrap(), (entry(20, 1), b"state at 20".to_vec(), vec![]));
}

#[test]
fn a_damaged_snapshot_is_refused_if_the_log_has_other_entries() {
    let disk = log_with_snapshots(&[2]);
    write(&disk, &meta(entry(8, 2)), &[b"state at 8"]).unwrap();
    let name = file_name(entry(8, 2));
    disk.flip_bit(&name, 100, 0);
    let error = start(&disk).unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt { file, .. } if *file == name), "{error}");
}

#[test]
fn what_is_undamaged_and_no_snapshot_of_this_node_is_refused() {
    let disk = log_with_snapshots(&[2]);
    let foreign = SnapshotMeta { cluster_id: 7, ..meta(entry(9, 1)) };
    write(&disk, &foreign, &[b"foreign"]).unwrap();
    let error = start(&disk).unwrap_err();
    assert!(matches!(error, StorageError::OtherCluster { found: 7, expected: CLUSTER, .. }), "{error}");

    let disk = log_with_snapshots(&[2]);
    let mut bytes = encode(&meta(entry(9, 1)), &[]);
    bytes[8] = 2;
    disk.set_contents(&file_name(entry(9, 1)), &bytes);
    let error = start(&disk).unwrap_err();
    assert!(matches!(error, StorageError::UnknownVersion { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn a_snapshot_under_another_name_is_damage() {
    let disk = log_with_snapshots(&[2]);
    compact(&disk, 2);
    disk.set_contents(&file_name(entry(9, 1)), &disk.contents(&file_name(entry(2, 1))).unwrap());
    let (base, _, warnings) = start(&disk).unwrap();
    assert_eq!(base, entry(2, 1));
    assert!(warnings[0].contains("ends with entry 2 of term 1, under a wrong name"), "{warnings:?}");
}

#[test]
fn a_call_that_fails_is_no_damage() {
    for call in [Call::List, Call::Open, Call::Read, Call::SyncDir] {
        let disk = log_with_snapshots(&[2, 9]);
        disk.fail_after(call, 0, Fault::Io);
        let error = recover(&disk, CLUSTER, Some(LogIndex(1)), read_all).map(drop).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{call:?}: {error}");
    }
}

#[test]
fn what_the_state_machine_refuses_is_its_own_affair() {
    let disk = log_with_snapshots(&[2, 9]);
    let mut asked = 0;
    let error = recover(&disk, CLUSTER, Some(LogIndex(1)), |_| -> Result<(), StorageError> {
        asked += 1;
        Err(StorageError::Locked)
    });
    assert!(matches!(error, Err(StorageError::Locked)));
    assert_eq!(asked, 1);
    // `load` need not read to the end for all bytes to be checked.
    let name = file_name(entry(9, 1));
    disk.flip_bit(&name, disk.contents(&name).unwrap().len() as u64 - 1, 0);
    let recovered = recover(&disk, CLUSTER, Some(LogIndex(1)), |_| Ok::<(), StorageError>(())).unwrap();
    assert_eq!(recovered.base(), entry(2, 1));
}
