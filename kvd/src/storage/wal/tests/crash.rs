//! Power cuts and kills at every step: everything that was acknowledged is there afterwards, and of the rest at most
//! the one batch that was being written.

use super::*;

/// Writes batches until one fails. Returns how many were acknowledged.
fn write_until_failure(disk: &FaultyDisk, batches: &[Vec<Record>], makes_spares: bool) -> usize {
    let Ok((mut wal, _, model)) = open(disk) else { return 0 };
    assert_eq!(model, Model::default());
    let spare = wal.spare_maker();
    for (acknowledged, batch) in batches.iter().enumerate() {
        match wal.append(batch) {
            Ok(_) if makes_spares => drop(spare.make()),
            Ok(_) => {}
            Err(StorageError::Io { .. }) => {
                assert!(matches!(wal.append(batch), Err(StorageError::Poisoned)));
                return acknowledged;
            }
            Err(other) => panic!("{other}"),
        }
    }
    batches.len()
}

/// Opens the log after a crash. Returns how many batches are in it.
fn assert_nothing_lost(disk: &FaultyDisk, batches: &[Vec<Record>], acknowledged: usize) -> usize {
    let (_, _, found) = open(disk).unwrap_or_else(|error| panic!("after {acknowledged} batches: {error}"));
    if found == Model::after(&batches[..acknowledged]) {
        return acknowledged;
    }
    assert_eq!(found, Model::after(&batches[..acknowledged + 1]), "after {acknowledged} batches");
    acknowledged + 1
}

#[test]
fn a_power_cut_at_every_step() {
    let mut torn_tails = 0;
    for seed in 0..24 {
        let batches = workload(seed, 16);
        let changes = {
            let disk = FaultyDisk::new(Seed(seed));
            write_until_failure(&disk, &batches, seed % 2 == 0);
            disk.changes()
        };
        for cut in 0..changes {
            let disk = FaultyDisk::new(Seed(seed));
            disk.cut_power_after(cut);
            let acknowledged = write_until_failure(&disk, &batches, seed % 2 == 0);
            disk.crash();
            // The next start may be interrupted as well, at any of its own steps.
            disk.cut_power_after(cut % 6);
            torn_tails += open(&disk).map_or(0, |(_, opened, _)| u32::from(opened.torn_tail.is_some()));
            disk.crash();
            let present = assert_nothing_lost(&disk, &batches, acknowledged);
            assert_goes_on(&disk, &Model::after(&batches[..present]));
        }
    }
    assert!(torn_tails > 20, "the cuts tore {torn_tails} batches only");
}

#[test]
fn what_a_killed_process_left_is_durable_once_the_next_one_has_opened_it() {
    for seed in 0..24 {
        let batches = workload(seed, 8);
        for cut in 0..80 {
            let disk = FaultyDisk::new(Seed(seed));
            disk.cut_power_after(cut); // The process ends there, but this time the power stays.
            let acknowledged = write_until_failure(&disk, &batches, false);
            disk.kill();
            let present = assert_nothing_lost(&disk, &batches, acknowledged);
            let mut model = Model::after(&batches[..present]);
            if cut % 2 == 0 {
                // The records that it adds must not depend on a name that the killed process had not made durable.
                let (mut wal, _, _) = open(&disk).unwrap();
                let record = Record::Entry(entry(model.entries.len() as u64 + 1, model.hard_state.term.0, "more"));
                let _: Appended = wal.append(std::slice::from_ref(&record)).unwrap();
                model.apply(&record);
            }
            disk.crash();
            assert_goes_on(&disk, &model);
        }
    }
}

#[test]
fn many_crashes_in_a_row() {
    for seed in 0..30 {
        let disk = FaultyDisk::new(Seed(seed));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut model = Model::default();
        for _ in 0..20 {
            let Ok((mut wal, _, found)) = open(&disk) else {
                disk.crash();
                continue;
            };
            assert_eq!(found.entries[..model.entries.len()], model.entries);
            model = found;
            disk.cut_power_after(rng.random_range(0..30));
            loop {
                let length = rng.random_range(0..900);
                let record = Record::Entry(entry(model.entries.len() as u64 + 1, 1, vec![seed as u8; length]));
                if wal.append(std::slice::from_ref(&record)).is_err() {
                    break;
                }
                model.apply(&record);
            }
            disk.crash();
            disk.cut_power_after(rng.random_range(0..10));
        }
    }
}
