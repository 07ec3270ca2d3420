//! The log over the faulty disk, checked against a model that forgets nothing.

mod base;
mod compaction;
mod crash;
mod damage;
mod failure;
mod fuzz;
mod reading;

use super::super::error::StorageError;
use super::format::{BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, align};
use super::segment::{file_name, sequence_of};
use super::{Appended, LogTerms, OpenedLog, Wal, WalOptions, WalReader};
use crate::raft::{ClusterTime, Entry, HardState, LogBase, LogIndex, NodeId, Payload, Record, Term};
use bytes::Bytes;
use kvd_disk::Disk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::sync::Arc;
use testkit::faulty_disk::{FaultyDisk, Seed};

const NODE: NodeId = NodeId(0xabcd);

/// Small segments, so that a short log has several.
const OPTIONS: WalOptions = WalOptions { segment_bytes: 2048, salt: 0x5a17, base: LogBase::NONE };

/// State of a log after its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    base: LogBase,
    entries: Vec<Entry>,
    hard_state: HardState,
    commit: LogIndex,
}

impl Model {
    /// Returns an empty log after this base.
    fn starting_after(base: LogBase) -> Self {
        Self { base, commit: base.index, ..Self::default() }
    }

    fn apply(&mut self, record: &Record) {
        match record {
            Record::HardState(hard_state) => self.hard_state = *hard_state,
            Record::Truncate { from } => self.entries.truncate((from.0 - self.base.index.0) as usize - 1),
            Record::Entry(entry) => self.entries.push(entry.clone()),
            Record::Commit(commit) => self.commit = *commit,
        }
    }

    fn after(batches: &[Vec<Record>]) -> Self {
        let mut model = Self::default();
        batches.iter().flatten().for_each(|record| model.apply(record));
        model
    }

    fn next_index(&self) -> u64 {
        self.base.index.0 + self.entries.len() as u64 + 1
    }

    /// Returns the entry at an index, as a base.
    fn base_at(&self, index: u64) -> LogBase {
        let term = if index == 0 { Term(0) } else { self.entries[(index - self.base.index.0) as usize - 1].term };
        LogBase { index: LogIndex(index), term }
    }

    /// Returns the state of the same log after a later base.
    fn after_base(&self, base: LogBase) -> Self {
        let entries = self.entries.iter().filter(|entry| entry.index > base.index).cloned().collect();
        Self { base, entries, hard_state: self.hard_state, commit: self.commit.max(base.index) }
    }
}

fn entry(index: u64, term: u64, command: impl Into<Bytes>) -> Entry {
    let payload = Payload::Command(command.into());
    Entry { index: LogIndex(index), term: Term(term), time: ClusterTime(index), payload }
}

/// Returns a batch of one entry.
fn one(index: u64, command: impl Into<Bytes>) -> Vec<Record> {
    vec![Record::Entry(entry(index, 1, command))]
}

/// Returns batches as a node might write them: entries of all sizes, some longer than a segment, truncations of
/// uncommitted entries, terms, votes and commit indexes.
fn workload(seed: u64, batches: usize) -> Vec<Vec<Record>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = Model { hard_state: HardState { term: Term(1), vote: None }, ..Model::default() };
    (0..batches).map(|_| next_batch(&mut rng, &mut model)).collect()
}

/// Returns the next batch of such a workload, and applies it to the model.
fn next_batch(rng: &mut StdRng, model: &mut Model) -> Vec<Record> {
    let mut batch = Vec::new();
    for _ in 0..rng.random_range(1..4) {
        let last = model.next_index() - 1;
        let record = match rng.random_range(0..10) {
            0 => Record::HardState(HardState {
                term: model.hard_state.term.next(),
                vote: rng.random_bool(0.5).then(|| NodeId(rng.random_range(0..3))),
            }),
            1 if last > model.commit.0 => {
                Record::Truncate { from: LogIndex(rng.random_range(model.commit.0 + 1..=last)) }
            }
            2 => Record::Commit(LogIndex(rng.random_range(model.commit.0..=last))),
            _ => {
                let length = match rng.random_range(0..12) {
                    0 => rng.random_range(1500..3000),
                    1 => 0,
                    _ => rng.random_range(0..200),
                };
                let mut bytes = vec![0; length];
                rng.fill(&mut bytes[..]);
                Record::Entry(entry(last + 1, model.hard_state.term.0, bytes))
            }
        };
        model.apply(&record);
        batch.push(record);
    }
    batch
}

/// Opens the log and collects its state.
fn open_with(disk: &FaultyDisk, options: WalOptions) -> Result<(Wal, OpenedLog, Model), StorageError> {
    let mut model = Model::starting_after(options.base);
    let (wal, opened) = Wal::open(Arc::new(disk.clone()), options, NODE, &mut |record| model.apply(&record))?;
    Ok((wal, opened, model))
}

/// Opens the log after a base.
fn open_after(disk: &FaultyDisk, base: LogBase) -> Result<(Wal, OpenedLog, Model), StorageError> {
    open_with(disk, WalOptions { base, ..OPTIONS })
}

fn open(disk: &FaultyDisk) -> Result<(Wal, OpenedLog, Model), StorageError> {
    open_with(disk, OPTIONS)
}

/// Returns a disk with a log of these batches, written by a process that has ended since.
fn written(batches: &[Vec<Record>]) -> FaultyDisk {
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open(&disk).unwrap();
    for batch in batches {
        let _: Appended = wal.append(batch).unwrap();
    }
    disk.kill();
    disk
}

/// Returns a disk with the same files.
fn copy(disk: &FaultyDisk) -> FaultyDisk {
    let copy = FaultyDisk::new(Seed(2));
    for name in disk.list().unwrap() {
        copy.set_contents(&name, &disk.contents(&name).unwrap());
    }
    copy
}

/// Returns the names of the segments, in order.
fn segments(disk: &FaultyDisk) -> Vec<String> {
    let mut sequences: Vec<u64> = disk.list().unwrap().iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    sequences.into_iter().map(file_name).collect()
}

/// Returns the ranges of the batches in a segment, without the zeros between them.
fn batches_in(segment: &[u8]) -> Vec<Range<usize>> {
    let salt = SegmentHeader::decode(segment).unwrap().salt;
    let mut ranges = Vec::new();
    let mut offset = SEGMENT_HEADER_BYTES;
    while let Some(header) = segment.get(offset..).and_then(|bytes| BatchHeader::decode(bytes, salt)) {
        ranges.push(offset..offset + header.batch_bytes());
        offset += align(header.batch_bytes());
    }
    ranges
}

/// Returns the file and the range of the last batch of a log.
fn last_batch(disk: &FaultyDisk) -> (String, Range<usize>) {
    let name = segments(disk).pop().unwrap();
    let range = batches_in(&disk.contents(&name).unwrap()).pop().unwrap();
    (name, range)
}

/// Checks that the log has the state `model` and accepts more records.
fn assert_goes_on(disk: &FaultyDisk, model: &Model) {
    let (mut wal, _, mut found) = open_after(disk, model.base).unwrap();
    assert_eq!(found, *model);
    let next = found.next_index();
    for index in next..next + 3 {
        let record = Record::Entry(entry(index, found.hard_state.term.0, vec![7; 700]));
        let _: Appended = wal.append(std::slice::from_ref(&record)).unwrap();
        found.apply(&record);
    }
    disk.crash();
    let (_, opened, again) = open_after(disk, model.base).unwrap();
    assert_eq!(again, found);
    assert_eq!((opened.torn_tail, opened.reset), (None, false));
}

#[test]
fn a_new_log_is_empty_and_an_old_one_is_found_again() {
    let disk = FaultyDisk::new(Seed(1));
    assert!(!Wal::exists(&disk).unwrap());
    let (mut wal, opened, model) = open(&disk).unwrap();
    assert!(Wal::exists(&disk).unwrap());
    assert_eq!(
        opened,
        OpenedLog {
            created: true,
            reset: false,
            terms: LogTerms::starting_at(LogIndex(1)),
            first_index: LogIndex(1),
            last_index: LogIndex(0),
            hard_state: HardState::default(),
            commit: LogIndex(0),
            torn_tail: None,
        }
    );
    assert_eq!(model, Model::default());
    let batches = workload(1, 40);
    for batch in &batches {
        let _: Appended = wal.append(batch).unwrap();
    }
    let expected = Model::after(&batches);
    assert_eq!(wal.last_index().0, expected.entries.len() as u64);
    disk.crash();
    let (_, opened, model) = open(&disk).unwrap();
    assert_eq!(model, expected);
    assert!(!opened.created);
    assert_eq!(
        (opened.last_index.0, opened.hard_state, opened.commit),
        (expected.entries.len() as u64, expected.hard_state, expected.commit)
    );
    assert!(segments(&disk).len() > 3, "the log has grown over several segments");
}

#[test]
fn an_append_is_one_write_and_one_sync() {
    use testkit::faulty_disk::Call;
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open(&disk).unwrap();
    let calls = |disk: &FaultyDisk| (disk.count(Call::Write), disk.count(Call::Sync), disk.count(Call::SyncDir));
    let before = calls(&disk);
    assert_eq!(wal.append(&[]).unwrap(), Appended { began_segment: false });
    assert_eq!(calls(&disk), before);
    let batch: Vec<Record> = (1..=10).flat_map(|index| one(index, "x")).collect();
    assert_eq!(wal.append(&batch).unwrap(), Appended { began_segment: false });
    assert_eq!(calls(&disk), (before.0 + 1, before.1 + 1, before.2));
}

#[test]
fn a_spare_saves_the_append_that_needs_a_segment_from_making_one() {
    use testkit::faulty_disk::Call;
    let disk = FaultyDisk::new(Seed(1));
    let (mut wal, _, _) = open(&disk).unwrap();
    let spare = wal.spare_maker();
    spare.make().unwrap();
    spare.make().unwrap();
    let _: Appended = wal.append(&one(1, vec![1; 1000])).unwrap();
    let before = (disk.count(Call::Create), disk.count(Call::Write), disk.count(Call::Sync));
    assert_eq!(wal.append(&one(2, vec![2; 1000])).unwrap(), Appended { began_segment: true });
    let after = (disk.count(Call::Create), disk.count(Call::Write), disk.count(Call::Sync));
    // The header and the batch.
    assert_eq!(after, (before.0, before.1 + 2, before.2 + 2));
    spare.make().unwrap();
    for index in 3..8 {
        let _: Appended = wal.append(&one(index, vec![3; 1000])).unwrap();
        spare.make().unwrap();
    }
    drop(wal);
    let (_, _, model) = open(&disk).unwrap();
    assert_eq!(model.entries.len(), 7);
    assert!(!disk.list().unwrap().iter().any(|name| name.ends_with(".tmp")), "the unused spare is gone");
}

#[test]
fn batches_of_every_size_around_the_end_of_a_segment() {
    // The records of a batch of one entry take 32 bytes in addition to its command.
    let fits = OPTIONS.segment_bytes as usize - SEGMENT_HEADER_BYTES - BATCH_HEADER_BYTES - 32;
    for length in fits - 20..fits + 20 {
        let disk = FaultyDisk::new(Seed(1));
        let (mut wal, _, _) = open(&disk).unwrap();
        let batches: Vec<Vec<Record>> = (1..4).map(|index| one(index, vec![index as u8; length])).collect();
        for batch in &batches {
            let _: Appended = wal.append(batch).unwrap();
        }
        disk.crash();
        // An empty first segment remains if the first batch does not fit into it.
        assert_eq!(segments(&disk).len(), if length > fits { 4 } else { 3 });
        assert_goes_on(&disk, &Model::after(&batches));
    }
}

#[test]
fn segments_may_change_their_size_from_one_start_to_the_next() {
    let batches = workload(3, 60);
    let disk = FaultyDisk::new(Seed(1));
    for (life, batches) in batches.chunks(6).enumerate() {
        let options = WalOptions { segment_bytes: 1024 << (life % 4), ..OPTIONS };
        let (mut wal, _, _) = open_with(&disk, options).unwrap();
        for batch in batches {
            let _: Appended = wal.append(batch).unwrap();
        }
        disk.crash();
    }
    assert_goes_on(&disk, &Model::after(&batches));
}

#[test]
fn works_on_a_real_disk_with_a_thread_that_makes_spares() {
    use kvd_disk::RealDisk;
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(directory.path()).unwrap());
    let batches = workload(4, 60);
    let (mut wal, _) = Wal::open(disk.clone(), OPTIONS, NODE, &mut |_| {}).unwrap();
    let spare = wal.spare_maker();
    std::thread::scope(|scope| {
        let (began, wanted) = std::sync::mpsc::channel();
        scope.spawn(move || wanted.iter().for_each(|()| spare.make().unwrap()));
        for batch in &batches {
            if wal.append(batch).unwrap().began_segment {
                began.send(()).unwrap();
            }
        }
    });
    let mut model = Model::default();
    Wal::open(disk, OPTIONS, NODE, &mut |record| model.apply(&record)).unwrap();
    assert_eq!(model, Model::after(&batches));
}

#[test]
#[should_panic(expected = "entry 3 stands where 2 should")]
fn a_gap_is_a_mistake_of_the_caller() {
    let (mut wal, _, _) = open(&FaultyDisk::new(Seed(1))).unwrap();
    let _ = wal.append(&[one(1, "a"), one(3, "b")].concat());
}

#[test]
#[should_panic(expected = "entries from 1 on are cut off, with 1 committed")]
fn cutting_off_what_is_committed_is_a_mistake_of_the_caller() {
    let (mut wal, _, _) = open(&FaultyDisk::new(Seed(1))).unwrap();
    let _ =
        wal.append(&[one(1, "a"), vec![Record::Commit(LogIndex(1)), Record::Truncate { from: LogIndex(1) }]].concat());
}

#[test]
#[should_panic(expected = "the hard state goes back")]
fn a_second_vote_in_one_term_is_a_mistake_of_the_caller() {
    let (mut wal, _, _) = open(&FaultyDisk::new(Seed(1))).unwrap();
    let vote = |id| Record::HardState(HardState { term: Term(1), vote: Some(NodeId(id)) });
    let _ = wal.append(&[vote(1), vote(2)]);
}
