//! Reading entries back: never a void one, however often the log was truncated.

use super::*;
use crate::storage::wal::Lost;
use kvd_disk::MemoryDisk;
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index.0).collect()
}

#[test]
fn reads_what_is_asked_for_within_limits() {
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open(&disk).unwrap();
    let reader = wal.reader();
    assert_eq!(reader.read(LogIndex(1), LogIndex(9), 1000).unwrap(), []);
    for index in 1..=30 {
        let _: Appended = wal.append(&one(index, vec![0; 68])).unwrap(); // an entry counts as 100 bytes
    }
    let read = |from, to, bytes_max| indexes(&reader.read(LogIndex(from), LogIndex(to), bytes_max).unwrap());
    assert_eq!(read(1, 30, usize::MAX), (1..=30).collect::<Vec<_>>());
    assert_eq!(read(7, 9, usize::MAX), [7, 8, 9]);
    assert_eq!(read(29, 99, usize::MAX), [29, 30]);
    assert_eq!(read(31, 99, usize::MAX), [0; 0]);
    assert_eq!(read(9, 7, usize::MAX), [0; 0]);
    assert_eq!(read(7, 30, 399), [7, 8, 9]);
    assert_eq!(read(7, 30, 400), [7, 8, 9, 10]);
    assert_eq!(read(7, 30, 0), [7], "one, whatever its size");
    let error = reader.read(LogIndex(0), LogIndex(9), 1000).unwrap_err();
    assert!(matches!(error, StorageError::Compacted { first: LogIndex(1), .. }), "{error}");
}

#[test]
fn damage_is_never_handed_out() {
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open(&disk).unwrap();
    for index in 1..=3 {
        let _: Appended = wal.append(&one(index, vec![0; 50])).unwrap();
    }
    let second = batches_in(&disk.contents(&file_name(1)).unwrap())[1].clone();
    disk.flip_bit(&file_name(1), second.end as u64 - 1, 0);
    assert_eq!(indexes(&wal.reader().read(LogIndex(1), LogIndex(1), 1000).unwrap()), [1]);
    assert_eq!(indexes(&wal.reader().read(LogIndex(1), LogIndex(3), 1000).unwrap()), [1], "up to the damage");
    let error = wal.reader().read(LogIndex(2), LogIndex(3), 1000).unwrap_err();
    assert!(matches!(&error, StorageError::Corrupt { offset, .. } if *offset == second.start as u64), "{error}");
}

#[test]
fn what_may_be_lost_ends_before_what_is_read_from_elsewhere() {
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open_with(&disk, WalOptions { segment_bytes: 1 << 20, ..OPTIONS }).unwrap();
    for index in 1..=40 {
        let _: Appended = wal.append(&one(index, vec![0; 10_000])).unwrap();
    }
    let reader = wal.reader();
    let mut before = LogIndex(0);
    for index in (1..=40).map(LogIndex) {
        let Lost { segment, through } = reader.lost_with(index).expect("the log has it");
        assert!(segment == 1 && through >= index.max(before) && through.0 <= index.0 + 20, "{index}: {through}");
        before = through;
    }
    assert_eq!(reader.lost_with(LogIndex(40)), Some(Lost { segment: 1, through: LogIndex(40) }));
    assert_eq!(reader.lost_with(LogIndex(41)), None);

    // Another segment may begin at any time, once.
    assert_eq!(reader.last_before_next_segment(1), None);
    assert!(wal.leave_segment(1).unwrap().began_segment && wal.is_sealed());
    assert!(!wal.leave_segment(1).unwrap().began_segment);
    assert_eq!(reader.last_before_next_segment(1), Some(LogIndex(40)));
    let _: Appended = wal.append(&[Record::Commit(LogIndex(40)), one(41, vec![1; 10])[0].clone()]).unwrap();
    assert_eq!(reader.lost_with(LogIndex(20)).map(|lost| lost.segment), Some(1));
    assert_eq!(wal.compactor().compact(LogIndex(40)).unwrap(), 1);
    assert!(!reader.has_segment(1) && reader.has_segment(2));
    drop(wal);
    disk.crash();
    let last = LogBase { index: LogIndex(40), term: Term(1) };
    let (_, opened, _) = open_after(&disk, last).unwrap();
    assert_eq!((opened.first_index, opened.last_index), (LogIndex(41), LogIndex(41)));
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// Append batches with entries of these sizes.
    Append(Vec<Vec<usize>>),
    /// Make the last few entries void, by a batch of its own or by one that also has new entries.
    Truncate { entries: usize, then: Vec<usize> },
    /// End the process, or cut the power, and open the log again.
    Reopen { crash: bool },
    /// Read and compare.
    Read { from: usize, count: usize, bytes_max: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sizes = || prop::collection::vec(prop_oneof![4 => 0usize..100, 1 => 0usize..40_000], 0..4);
    let step = prop_oneof![
        4 => prop::collection::vec(sizes(), 1..5).prop_map(Step::Append),
        2 => (0usize..12, sizes()).prop_map(|(entries, then)| Step::Truncate { entries, then }),
        1 => any::<bool>().prop_map(|crash| Step::Reopen { crash }),
        3 => (0usize..60, 0usize..40, 0usize..100_000)
            .prop_map(|(from, count, bytes_max)| Step::Read { from, count, bytes_max }),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn agrees_with_a_plain_list(steps in steps(), segment_bytes in 1024u64..200_000) {
        let options = WalOptions { segment_bytes, ..OPTIONS };
        let disk = FaultyDisk::new(Seed(1));
        let (mut wal, _, mut model) = open_with(&disk, options).unwrap();
        let mut term = 1; // rises with every truncation, so that void entries differ from those in their place
        for step in steps {
            match step {
                Step::Append(batches) => {
                    for sizes in batches {
                        append(&mut wal, &mut model, Vec::new(), term, &sizes);
                    }
                }
                Step::Truncate { entries, then } => {
                    term += 1;
                    let from = LogIndex(model.entries.len().saturating_sub(entries) as u64 + 1);
                    append(&mut wal, &mut model, vec![Record::Truncate { from }], term, &then);
                }
                Step::Reopen { crash } => {
                    if crash { disk.crash() } else { disk.kill() }
                    let (reopened, _, found) = open_with(&disk, options).unwrap();
                    prop_assert_eq!(&found, &model);
                    wal = reopened;
                }
                Step::Read { from, count, bytes_max } => {
                    let (from, to) = (from as u64 + 1, (from + count) as u64);
                    let found = wal.reader().read(LogIndex(from), LogIndex(to), bytes_max).unwrap();
                    prop_assert_eq!(found, page_of(&model.entries, from, to, bytes_max));
                }
            }
        }
        let all = wal.reader().read(LogIndex(1), LogIndex(u64::MAX), usize::MAX).unwrap();
        prop_assert_eq!(all, model.entries);
    }
}

/// Appends one batch: `records`, then entries of these sizes.
fn append(wal: &mut Wal, model: &mut Model, mut records: Vec<Record>, term: u64, sizes: &[usize]) {
    records.iter().for_each(|record| model.apply(record));
    for size in sizes {
        let next = model.entries.len() as u64 + 1;
        let record = Record::Entry(entry(next, term, vec![term as u8; *size]));
        model.apply(&record);
        records.push(record);
    }
    let _: Appended = wal.append(&records).unwrap();
}

/// Returns the expected result of reading from `entries`.
fn page_of(entries: &[Entry], from: u64, to: u64, bytes_max: usize) -> Vec<Entry> {
    let mut page = Vec::new();
    let mut bytes = 0;
    for entry in entries.iter().filter(|entry| (from..=to).contains(&entry.index.0)) {
        bytes += entry.size_bytes();
        if bytes > bytes_max && !page.is_empty() {
            break;
        }
        page.push(entry.clone());
    }
    page
}

#[test]
fn a_read_shows_one_moment_of_a_log_that_is_being_written_and_cut() {
    let disk = Arc::new(MemoryDisk::new());
    let options = WalOptions { segment_bytes: 300_000, ..OPTIONS };
    let (mut wal, _) = Wal::open(disk, options, NODE, &mut |_| {}).unwrap();
    let reader = wal.reader();
    // The terms of the entries left by each truncation. All later entries have the number of the truncation as their
    // term.
    let kept: Mutex<Vec<Vec<u64>>> = Mutex::new(vec![Vec::new()]);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = StdRng::seed_from_u64(1);
            let mut terms: Vec<u64> = Vec::new();
            for term in 0..60 {
                for _ in 0..20 {
                    terms.push(term);
                    let record = Record::Entry(entry(terms.len() as u64, term, vec![0; 3000]));
                    let _: Appended = wal.append(&[record]).unwrap();
                }
                terms.truncate(terms.len() - rng.random_range(0..30).min(terms.len()));
                kept.lock().unwrap().push(terms.clone());
                let from = LogIndex(terms.len() as u64 + 1);
                let _: Appended = wal.append(&[Record::Truncate { from }]).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        let mut reads = 0;
        while !is_done.load(Ordering::Acquire) || reads == 0 {
            let page = reader.read(LogIndex(1), LogIndex(u64::MAX), usize::MAX).unwrap();
            let terms: Vec<u64> = page.iter().map(|entry| entry.term.0).collect();
            let kept = kept.lock().unwrap();
            let is_of_one_moment = kept.iter().enumerate().any(|(term, kept)| {
                let common = kept.len().min(terms.len());
                terms[..common] == kept[..common] && terms[common..].iter().all(|found| *found == term as u64)
            });
            assert!(is_of_one_moment, "{terms:?}");
            assert_eq!(indexes(&page), (1..=page.len() as u64).collect::<Vec<_>>());
            reads += 1;
        }
    });
}
