//! Calls that fail: the log stops, and a restart finds everything that was acknowledged.

use super::super::segment::SPARE_FILE;
use super::*;
use testkit::faulty_disk::{Call, Fault};

const CHANGING_CALLS: [Call; 6] = [Call::Create, Call::Rename, Call::SyncDir, Call::Write, Call::Sync, Call::Remove];

#[test]
fn any_failure_stops_the_log_and_a_restart_loses_nothing() {
    let mut failures = 0;
    for seed in 0..8 {
        let batches = workload(seed, 12);
        for call in CHANGING_CALLS {
            for (nth, fault) in (0..20).flat_map(|nth| [(nth, Fault::Io), (nth, Fault::NoSpace)]) {
                let disk = FaultyDisk::new(Seed(seed));
                let (mut wal, _, _) = open(&disk).unwrap();
                disk.fail_after(call, nth, fault);
                let acknowledged = batches.iter().take_while(|batch| wal.append(batch).is_ok()).count();
                if acknowledged < batches.len() {
                    failures += 1;
                    let error = wal.append(&batches[acknowledged]).unwrap_err();
                    assert!(matches!(error, StorageError::Poisoned), "{error}");
                }
                // The process ends and is started again, and then the power is cut: data that the second process has
                // read must survive, even if a failed sync of the first had lost it.
                disk.kill();
                let (_, _, found) = open(&disk).unwrap();
                let at_least = Model::after(&batches[..acknowledged]);
                let at_most = Model::after(&batches[..(acknowledged + 1).min(batches.len())]);
                assert!(found == at_least || found == at_most, "{call:?} {nth} {fault:?}");
                disk.crash();
                assert_goes_on(&disk, &found);
            }
        }
    }
    assert!(failures > 500, "only {failures} failures were met");
}

#[test]
fn a_failed_read_or_repair_refuses_the_start_and_harms_nothing() {
    let batches = workload(2, 12);
    let disk = written(&batches);
    for call in [Call::List, Call::Open, Call::Read, Call::Write, Call::Sync, Call::SyncDir] {
        disk.fail_after(call, 0, Fault::Io);
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{call:?}: {error}");
        disk.crash();
    }
    assert_goes_on(&disk, &Model::after(&batches));
}

#[test]
fn a_full_disk_stops_the_log_and_space_lets_it_go_on() {
    for capacity in (2048..20_000).step_by(512) {
        let disk = FaultyDisk::new(Seed(capacity));
        disk.set_capacity_bytes(Some(capacity));
        let (mut wal, _, _) = open(&disk).unwrap();
        let batches: Vec<Vec<Record>> = (1..40).map(|index| one(index, vec![1; 500])).collect();
        let acknowledged = batches.iter().take_while(|batch| wal.append(batch).is_ok()).count();
        assert!(acknowledged < batches.len());
        disk.kill();
        // Starting needs no space: the node can serve reads and report the problem.
        let expected = Model::after(&batches[..acknowledged]);
        let (_, _, found) = open(&disk).unwrap();
        assert_eq!(found, expected);
        disk.crash();
        disk.set_capacity_bytes(None);
        assert_goes_on(&disk, &expected);
    }
}

#[test]
fn a_failed_spare_leaves_the_log_as_it_was() {
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open(&disk).unwrap();
    for (call, fault) in [(Call::Create, Fault::NoSpace), (Call::Write, Fault::NoSpace), (Call::Sync, Fault::Io)] {
        disk.fail_after(call, 0, fault);
        wal.spare_maker().make().unwrap_err();
        assert_eq!(disk.contents(SPARE_FILE), None, "half a spare takes no space");
    }
    let batches: Vec<Vec<Record>> = (1..6).map(|index| one(index, vec![1; 900])).collect();
    for batch in &batches {
        let _: Appended = wal.append(batch).unwrap();
    }
    wal.spare_maker().make().unwrap();
    disk.crash();
    assert_goes_on(&disk, &Model::after(&batches));
}

#[test]
fn short_and_interrupted_writes_are_continued() {
    for seed in 0..10 {
        let batches = workload(seed, 12);
        let disk = FaultyDisk::new(Seed(seed));
        disk.set_short_writes(true);
        let (mut wal, _, _) = open(&disk).unwrap();
        for batch in &batches {
            let _: Appended = wal.append(batch).unwrap();
        }
        disk.crash();
        assert_goes_on(&disk, &Model::after(&batches));
    }
}
