//! Logs after a base: the part of them that remains, and how they restart.

use super::*;
use testkit::faulty_disk::{Call, Fault};

fn base(index: u64, term: u64) -> LogBase {
    LogBase { index: LogIndex(index), term: Term(term) }
}

#[test]
fn what_follows_any_committed_entry_is_found() {
    for seed in 0..20 {
        let batches = workload(seed, 30);
        let disk = written(&batches);
        let all = Model::after(&batches);
        for index in 0..=all.commit.0 {
            let base = all.base_at(index);
            let (wal, opened, found) = open_after(&disk, base).unwrap();
            assert_eq!(found, all.after_base(base));
            assert!(!opened.reset && !opened.created);
            let (first, last) = (opened.first_index.0, opened.last_index.0);
            assert_eq!((first, last), (1, all.entries.len() as u64));
            assert_eq!((opened.commit, opened.hard_state), (all.commit, all.hard_state));
            for entry in &all.entries {
                assert_eq!(opened.terms.at(entry.index), Some(entry.term), "also up to the base");
            }
            assert_eq!(wal.reader().read(LogIndex(1), opened.last_index, usize::MAX).unwrap(), all.entries);
        }
    }
}

/// Returns a log of twelve entries in several segments, with the first four committed; terms 1 to 3.
fn twelve() -> (FaultyDisk, Model) {
    let mut batches = vec![vec![Record::HardState(HardState { term: Term(3), vote: Some(NodeId(7)) })]];
    batches.extend((1..=12).map(|index| vec![Record::Entry(entry(index, index.div_ceil(4), vec![0; 400]))]));
    batches.insert(6, vec![Record::Commit(LogIndex(4))]);
    (written(&batches), Model::after(&batches))
}

#[test]
fn a_log_that_does_not_follow_its_base_is_begun_anew() {
    let (whole, all) = twelve();
    assert!(segments(&whole).len() > 2);
    for (case, base, hard_state) in [
        ("of another term", base(6, 3), all.hard_state),
        ("of another term, at the end", base(12, 2), all.hard_state),
        ("beyond the end", base(13, 3), all.hard_state),
        ("of a later term than the node has seen", base(20, 5), HardState { term: Term(5), vote: None }),
    ] {
        let disk = copy(&whole);
        let (wal, opened, found) = open_after(&disk, base).unwrap();
        let expected = Model { hard_state, ..Model::starting_after(base) };
        assert_eq!(found, expected, "{case}");
        assert!(opened.reset && opened.torn_tail.is_none());
        let next = base.index.next();
        assert_eq!((opened.first_index, opened.last_index, opened.commit), (next, base.index, base.index));
        assert_eq!((opened.hard_state, wal.last_index()), (hard_state, base.index));
        assert_eq!(opened.terms, LogTerms::starting_at(next));
        assert_eq!(wal.reader().first_index(), next);
        assert_eq!(segments(&disk).len(), 1, "the old log takes no space");
        disk.crash();
        assert_goes_on(&disk, &expected);
    }
}

#[test]
fn a_log_that_has_its_base_keeps_the_entries_after_it() {
    let (disk, all) = twelve();
    for base in [base(4, 1), base(5, 2), base(11, 3), base(12, 3)] {
        assert_eq!(open_after(&disk, base).unwrap().2, all.after_base(base), "also where the log commits less");
    }
}

#[test]
fn what_was_cut_off_and_came_back_follows_as_well() {
    // Entry 2 of term 1 was replaced by one of term 2, and came back with a leader of term 3 (paper figure 8).
    let cut = || vec![Record::Truncate { from: LogIndex(2) }];
    let batches: Vec<Vec<Record>> = vec![
        vec![Record::HardState(HardState { term: Term(3), vote: None })],
        [one(1, "a"), one(2, "b"), one(3, "c")].concat(),
        [cut(), vec![Record::Entry(entry(2, 2, "d")), Record::Entry(entry(3, 2, "e"))]].concat(),
        [cut(), one(2, "b"), vec![Record::Entry(entry(3, 3, "f"))]].concat(),
    ];
    let disk = written(&batches);
    let (_, opened, found) = open_after(&disk, base(2, 1)).unwrap();
    assert_eq!(found.entries, [entry(3, 3, "f")]);
    assert!(!opened.reset);
    let (_, opened, found) = open_after(&disk, base(2, 2)).unwrap();
    assert_eq!((found.entries, opened.reset), (Vec::new(), true));
}

#[test]
fn a_log_can_begin_after_a_base() {
    let disk = FaultyDisk::new(Seed(1));
    let base = base(1000, 7);
    let (_, opened, found) = open_after(&disk, base).unwrap();
    assert!(opened.created && !opened.reset);
    let hard_state = HardState { term: Term(7), vote: None };
    assert_eq!(found, Model { hard_state, ..Model::starting_after(base) });
    assert_eq!((opened.first_index, opened.last_index, opened.commit), (LogIndex(1001), base.index, base.index));
    assert_goes_on(&disk, &found);
    assert_eq!(Wal::begins_with(&disk, NODE).unwrap(), Some(LogIndex(1001)));
    let error = open(&disk).unwrap_err();
    assert!(error.to_string().contains("begins with entry 1001, and all files before it are missing"), "{error}");
}

#[test]
fn a_log_that_contradicts_the_snapshot_is_refused() {
    let (disk, _) = twelve();
    let error = open_after(&disk, base(3, 2)).unwrap_err();
    let StorageError::Corrupt { file, cause, .. } = &error else { panic!("{error}") };
    assert!(segments(&disk).contains(file));
    assert_eq!(cause, "it commits entry 4, but has not entry 3 of term 2, with which a snapshot ends");
}

#[test]
fn readers_see_the_new_log_or_the_old_one() {
    let (disk, all) = twelve();
    let (mut wal, _, _) = open(&disk).unwrap();
    let reader = wal.reader();
    let read = |from| reader.read(LogIndex(from), LogIndex(u64::MAX), usize::MAX);
    assert_eq!(read(1).unwrap(), all.entries);
    let appended = wal.reset_to(base(10, 4), HardState { term: Term(4), vote: None }).unwrap();
    assert!(appended.began_segment);
    assert!(matches!(read(10), Err(StorageError::Compacted { first: LogIndex(11), .. })));
    assert_eq!(read(11).unwrap(), []);
    let next = entry(11, 4, "new");
    let _: Appended = wal.append(&[Record::Entry(next.clone())]).unwrap();
    assert_eq!(read(11).unwrap(), [next]);
}

/// Restarts the log after a base and appends an entry. Returns how many of these two steps were acknowledged.
fn reset_and_append(disk: &FaultyDisk, base: LogBase, hard_state: HardState) -> usize {
    let Ok((mut wal, _, _)) = open(disk) else { return 0 };
    if wal.reset_to(base, hard_state).is_err() {
        assert!(matches!(wal.append(&[]), Err(StorageError::Poisoned)));
        return 0;
    }
    let next = Record::Entry(entry(base.index.0 + 1, hard_state.term.0, "new"));
    usize::from(wal.append(&[next]).is_ok()) + 1
}

#[test]
fn a_power_cut_or_a_kill_at_every_step_of_a_new_beginning() {
    let (whole, all) = twelve();
    let hard_state = HardState { term: Term(4), vote: Some(NodeId(9)) };
    // Three bases: beyond the end, in conflict, and matching. After the last, the old entries may stay.
    for base in [base(20, 4), base(9, 2), base(8, 2)] {
        let old = if base.index.0 == 8 { all.after_base(base) } else { Model::starting_after(base) };
        let changes = {
            let disk = copy(&whole);
            let before = disk.changes();
            assert_eq!(reset_and_append(&disk, base, hard_state), 2);
            disk.changes() - before
        };
        for (seed, cut) in (0..20).flat_map(|seed| (0..=changes).map(move |cut| (seed, cut))) {
            let disk = FaultyDisk::new(Seed(seed));
            whole.list().unwrap().iter().for_each(|name| disk.set_contents(name, &whole.contents(name).unwrap()));
            disk.cut_power_after(cut);
            let acknowledged = reset_and_append(&disk, base, hard_state);
            // The next start may be interrupted as well.
            if seed % 2 == 0 {
                disk.crash()
            } else {
                disk.kill()
            }
            disk.cut_power_after(seed % 7);
            let _ = open_after(&disk, base);
            if seed % 3 == 0 {
                disk.kill()
            } else {
                disk.crash()
            }
            let (_, _, found) = open_after(&disk, base).unwrap();
            let next = entry(base.index.0 + 1, 4, "new");
            let new = Model { hard_state, ..Model::starting_after(base) };
            match acknowledged {
                0 if found.hard_state != hard_state => {
                    let hard_state = if base.term > all.hard_state.term { found.hard_state } else { all.hard_state };
                    assert_eq!(found, Model { hard_state, ..old.clone() });
                    assert_eq!(found.hard_state.term, all.hard_state.term.max(base.term));
                }
                0 => assert_eq!(found, new),
                1 if found.entries.is_empty() => assert_eq!(found, new),
                _ => assert_eq!(found, Model { entries: vec![next], ..new }),
            }
            disk.crash();
            assert_goes_on(&disk, &found);
        }
    }
}

#[test]
fn any_failure_of_a_new_beginning_stops_the_log() {
    let (whole, _) = twelve();
    let mut failures = 0;
    for call in [Call::Create, Call::Rename, Call::SyncDir, Call::Write, Call::Sync, Call::Remove] {
        for nth in 0..4 {
            let disk = copy(&whole);
            let (mut wal, _, _) = open(&disk).unwrap();
            disk.fail_after(call, nth, Fault::Io);
            let hard_state = HardState { term: Term(4), vote: None };
            if let Err(error) = wal.reset_to(base(20, 4), hard_state) {
                assert!(matches!(error, StorageError::Io { .. }), "{error}");
                let error = wal.reset_to(base(20, 4), hard_state).unwrap_err();
                assert!(matches!(error, StorageError::Poisoned), "{error}");
                failures += 1;
            }
            disk.crash();
            let (_, _, found) = open_after(&disk, base(20, 4)).unwrap();
            assert_eq!(found.entries, []);
        }
    }
    assert!(failures > 8, "only {failures} failures were met");
}

#[test]
#[should_panic(expected = "the base is 3 of term 1, with 4 committed")]
fn taking_back_what_is_committed_is_a_mistake_of_the_caller() {
    let (mut wal, _, _) = open(&twelve().0).unwrap();
    let _ = wal.reset_to(base(3, 1), HardState { term: Term(4), vote: None });
}

#[test]
#[should_panic(expected = "the base is 20 of term 5, beyond the term")]
fn a_base_of_a_later_term_than_the_node_is_in_is_a_mistake_of_the_caller() {
    let (mut wal, _, _) = open(&twelve().0).unwrap();
    let _ = wal.reset_to(base(20, 5), HardState { term: Term(4), vote: None });
}

#[test]
#[should_panic(expected = "the hard state goes back")]
fn forgetting_a_vote_is_a_mistake_of_the_caller() {
    let (mut wal, _, _) = open(&twelve().0).unwrap();
    let _ = wal.reset_to(base(20, 3), HardState { term: Term(3), vote: None });
}
