//! Compaction: the log loses its beginning and nothing else, wherever it is interrupted.

use super::*;
use crate::storage::wal::files::LogFiles;
use kvd_disk::MemoryDisk;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use testkit::faulty_disk::{Call, Fault};

/// Returns a log with one entry in each segment; all but the last are committed.
fn one_a_segment(entries: u64) -> (FaultyDisk, Model) {
    let batches: Vec<Vec<Record>> = (1..=entries)
        .map(|index| vec![Record::Commit(LogIndex(index - 1)), Record::Entry(entry(index, 1, vec![index as u8; 1300]))])
        .collect();
    let mut batches = batches;
    batches.insert(0, vec![Record::HardState(HardState { term: Term(2), vote: Some(NodeId(5)) })]);
    (written(&batches), Model::after(&batches))
}

#[test]
fn whole_segments_go_and_the_hard_state_stays() {
    let (disk, all) = one_a_segment(9);
    assert_eq!(segments(&disk).len(), 9);
    let (wal, _, _) = open(&disk).unwrap();
    let (compactor, reader) = (wal.compactor(), wal.reader());
    for (up_to, gone, first) in [(0, 0, 1), (2, 2, 3), (1, 0, 3), (2, 0, 3), (5, 3, 6)] {
        assert_eq!(compactor.compact(LogIndex(up_to)).unwrap(), gone, "up to {up_to}");
        assert_eq!((reader.first_index(), segments(&disk).len() as u64), (LogIndex(first), 10 - first));
    }
    let error = reader.read(LogIndex(5), LogIndex(9), 1).unwrap_err();
    assert!(matches!(error, StorageError::Compacted { first: LogIndex(6), .. }), "{error}");
    assert_eq!(reader.read(LogIndex(6), LogIndex(9), usize::MAX).unwrap(), all.entries[5..]);

    disk.crash();
    assert_eq!(Wal::begins_with(&disk, NODE).unwrap(), Some(LogIndex(6)));
    let base = all.base_at(7);
    let (wal, opened, found) = open_after(&disk, base).unwrap();
    assert_eq!(found, all.after_base(base));
    assert_eq!(opened.first_index, LogIndex(6));
    // Entries below the base can still be sent to a follower that lacks them.
    assert_eq!(opened.terms.at(LogIndex(6)), Some(Term(1)));
    assert_eq!(wal.reader().read(LogIndex(6), LogIndex(9), usize::MAX).unwrap(), all.entries[5..]);
    let error = open_after(&disk, all.base_at(4)).unwrap_err();
    assert!(error.to_string().contains("the log begins with entry 6"), "{error}");
}

#[test]
fn what_the_log_does_not_show_to_be_committed_stays() {
    let (disk, _) = one_a_segment(9);
    let (mut wal, _, _) = open(&disk).unwrap();
    assert_eq!(wal.compactor().compact(LogIndex(100)).unwrap(), 8, "all but the one that is appended to");
    let _: Appended = wal.append(&[Record::Entry(entry(10, 1, vec![1; 1300]))]).unwrap();
    assert_eq!(wal.compactor().compact(LogIndex(100)).unwrap(), 0, "entry 9 may be cut off yet");
    let _: Appended = wal.append(&[Record::Commit(LogIndex(9))]).unwrap();
    assert_eq!(wal.compactor().compact(LogIndex(100)).unwrap(), 1);
}

#[test]
fn what_the_snapshot_contradicts_stays_until_the_log_knows_it() {
    // Entry 3 of term 2 is on this disk. The other nodes have committed entry 3 of term 3, which was applied here and
    // is in a snapshot before it is durable here. Without the first segments nothing would show that entry 4 does not
    // follow.
    let batch = |index, term| vec![Record::Entry(entry(index, term, vec![1; 1300]))];
    let hard_state = HardState { term: Term(3), vote: None };
    let disk = written(&[
        vec![Record::HardState(hard_state)],
        batch(1, 1),
        batch(2, 1),
        vec![Record::Commit(LogIndex(2))],
        batch(3, 2),
        batch(4, 2),
    ]);
    let (wal, _, _) = open(&disk).unwrap();
    assert_eq!(wal.compactor().compact(LogIndex(3)).unwrap(), 2);
    disk.crash();
    let base = LogBase { index: LogIndex(3), term: Term(3) };
    let (_, opened, found) = open_after(&disk, base).unwrap();
    assert!(opened.reset);
    assert_eq!(found, Model { hard_state, ..Model::starting_after(base) });
}

#[test]
fn what_a_snapshot_holds_counts_as_committed_after_a_start() {
    let (disk, all) = one_a_segment(9);
    let (wal, _, _) = open_after(&disk, all.base_at(9)).unwrap();
    assert_eq!(wal.compactor().compact(LogIndex(9)).unwrap(), 8);
    assert_eq!(wal.reader().first_index(), LogIndex(9));
}

#[test]
fn a_log_never_begins_with_a_segment_that_speaks_of_a_void_entry() {
    // The second segment begins after entry 2 of term 1, and replaces it by one of term 2.
    let long = || vec![1; 1000];
    let disk = written(&[
        vec![Record::HardState(HardState { term: Term(2), vote: None })],
        one(1, "a"),
        one(2, long()),
        vec![Record::HardState(HardState { term: Term(3), vote: None }), one(3, long()).remove(0)],
        vec![Record::Truncate { from: LogIndex(2) }, Record::Entry(entry(2, 2, "b")), Record::Commit(LogIndex(2))],
    ]);
    let second = SegmentHeader::decode(&disk.contents(&file_name(2)).unwrap()).unwrap();
    assert_eq!(second.checkpoint.next_index, LogIndex(3));
    let (mut wal, _, _) = open(&disk).unwrap();
    assert_eq!(wal.compactor().compact(LogIndex(2)).unwrap(), 0);
    let _: Appended = wal.append(&[Record::Entry(entry(3, 3, long()))]).unwrap();
    let _: Appended = wal.append(&[Record::Entry(entry(4, 3, long())), Record::Commit(LogIndex(4))]).unwrap();
    assert_eq!(segments(&disk).len(), 4);
    // All entries are valid only from the third segment on.
    assert_eq!(wal.compactor().compact(LogIndex(3)).unwrap(), 3);
    assert_eq!(wal.reader().first_index(), LogIndex(4));
}

#[test]
fn a_failed_compaction_leaves_a_log_that_opens() {
    let (whole, all) = one_a_segment(9);
    let base = all.base_at(7);
    for (call, nth) in [(Call::Remove, 0), (Call::Remove, 1), (Call::Remove, 5), (Call::SyncDir, 0)] {
        for ends in [FaultyDisk::crash, FaultyDisk::kill] {
            let disk = copy(&whole);
            let (wal, _, _) = open_after(&disk, base).unwrap();
            disk.fail_after(call, nth, Fault::Io);
            let error = wal.compactor().compact(base.index).unwrap_err();
            assert!(matches!(error, StorageError::Io { .. }), "{error}");
            ends(&disk);
            let (wal, _, found) = open_after(&disk, base).unwrap();
            assert_eq!(found, all.after_base(base));
            wal.compactor().compact(base.index).unwrap();
            assert_eq!(segments(&disk).len(), 2);
        }
    }
}

#[test]
fn bytes_of_log_are_counted_from_any_entry_and_back() {
    let disk = FaultyDisk::new(Seed(1));
    let options = WalOptions { segment_bytes: 200_000, ..OPTIONS };
    let (mut wal, _, _) = open_with(&disk, options).unwrap();
    let reader = wal.reader();
    assert_eq!((reader.bytes_since(LogIndex(0)), reader.last_with_bytes_after(1)), (0, LogIndex(0)));
    // Each batch takes 40 bytes of header, 8 + 24 of record and entry, and its command.
    const BATCH: u64 = 128;
    for index in 1..=10_000 {
        let _: Appended = wal.append(&[one(index, vec![0; 56]).remove(0)]).unwrap();
    }
    let check = |first: u64| {
        for index in (first - 1..=10_000).step_by(100) {
            let bytes = (10_000 - index) * BATCH;
            assert_eq!(reader.bytes_since(LogIndex(index)), bytes, "after entry {index}");
            for (bytes, expected) in [(bytes + 1, index.saturating_sub(1).max(first - 1)), (bytes, index)] {
                assert_eq!(reader.last_with_bytes_after(bytes), LogIndex(expected), "{bytes} bytes");
            }
        }
    };
    check(1);
    assert_eq!(reader.bytes_since(LogIndex(99_999)), 0);
    assert_eq!(reader.last_with_bytes_after(u64::MAX), LogIndex(0));
    assert_eq!(reader.last_with_bytes_after(0), LogIndex(10_000));

    let _: Appended = wal.append(&[Record::Commit(LogIndex(10_000))]).unwrap();
    let gone = wal.compactor().compact(reader.last_with_bytes_after(500_000)).unwrap();
    assert!(gone >= 3, "{gone}");
    let first = reader.first_index().0;
    let kept = reader.bytes_since(LogIndex(first - 1));
    assert!((500_000..700_000).contains(&kept), "{kept} bytes are kept");
    assert_eq!(reader.bytes_since(LogIndex(0)), kept);
    assert_eq!(reader.last_with_bytes_after(u64::MAX), LogIndex(first - 1));
}

#[test]
fn entries_are_read_while_the_log_loses_its_beginning() {
    let disk = Arc::new(MemoryDisk::new());
    let (mut wal, _) = Wal::open(disk.clone(), OPTIONS, NODE, &mut |_| {}).unwrap();
    let (reader, compactor) = (wal.reader(), wal.compactor());
    const LAST: u64 = 4000;
    let appended = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in 1..=LAST {
                let records = [one(index, vec![0; 300]).remove(0), Record::Commit(LogIndex(index))];
                let _: Appended = wal.append(&records).unwrap();
                appended.store(index, Ordering::Release);
            }
        });
        scope.spawn(|| {
            while appended.load(Ordering::Acquire) < LAST {
                compactor.compact(LogIndex(appended.load(Ordering::Acquire).saturating_sub(20))).unwrap();
            }
        });
        let (mut read, mut gone) = (0, 0);
        while appended.load(Ordering::Acquire) < LAST {
            let first = reader.first_index();
            match reader.read(first, LogIndex(u64::MAX), 4000) {
                Ok(page) => {
                    let indexes: Vec<u64> = page.iter().map(|entry| entry.index.0).collect();
                    assert_eq!(indexes, (first.0..first.0 + page.len() as u64).collect::<Vec<_>>());
                    read += 1;
                }
                Err(StorageError::Compacted { .. }) => gone += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(read > 0, "{read} reads, {gone} came too late");
    });
    compactor.compact(LogIndex(LAST - 20)).unwrap();
    assert!(disk.list().unwrap().len() < 10);
}

/// A node that takes snapshots, compacts its log, is sent snapshots and is interrupted in all of it.
struct Life {
    rng: StdRng,
    disk: FaultyDisk,
    /// Acknowledged state, after the base of the newest durable snapshot.
    model: Model,
    /// Entries up to the base that the log may still have.
    below: BTreeMap<LogIndex, Entry>,
    compactions: usize,
}

impl Life {
    fn new(seed: u64) -> Self {
        let hard_state = HardState { term: Term(1), vote: None };
        let disk = FaultyDisk::new(Seed(seed));
        let mut model = Model::default();
        let (mut wal, _, _) = open(&disk).unwrap();
        let _: Appended = wal.append(&[Record::HardState(hard_state)]).unwrap();
        model.hard_state = hard_state;
        Self { rng: StdRng::seed_from_u64(seed), disk, model, below: BTreeMap::new(), compactions: 0 }
    }

    /// Records that a snapshot ending with this entry has become durable. The next start restarts a log that lacks the
    /// entry.
    fn snapshot(&mut self, base: LogBase) {
        let at_base = self.model.entries.iter().find(|entry| entry.index == base.index);
        self.model = if base == self.model.base || at_base.is_some_and(|entry| entry.term == base.term) {
            self.model.after_base(base)
        } else {
            let later = HardState { term: base.term, vote: None };
            let hard_state = if later.term > self.model.hard_state.term { later } else { self.model.hard_state };
            Model { hard_state, ..Model::starting_after(base) }
        };
    }

    /// Records that the log may still have these entries after a snapshot holds them.
    fn keep_below(&mut self, model: &Model, base: LogBase) {
        let below = model.entries.iter().filter(|entry| entry.index <= base.index);
        self.below.extend(below.map(|entry| (entry.index, entry.clone())));
    }

    /// Does a random step. If it fails, returns the state that it would have led to.
    fn step(&mut self, wal: &mut Wal) -> Result<(), Option<Model>> {
        match self.rng.random_range(0..10) {
            0 => {
                let index = self.rng.random_range(self.model.base.index.0..=self.model.commit.0);
                let base = if index == self.model.base.index.0 { self.model.base } else { self.model.base_at(index) };
                self.keep_below(&self.model.clone(), base);
                self.snapshot(base);
            }
            1 | 2 => {
                let up_to = LogIndex(self.rng.random_range(0..=self.model.base.index.0));
                self.compactions += wal.compactor().compact(up_to).map_err(|_| None)?;
            }
            3 if self.rng.random_bool(0.3) => {
                // A leader sends a snapshot that goes beyond the log.
                let index = LogIndex(self.rng.random_range(self.model.commit.0 + 1..self.model.next_index() + 5));
                let hard_state = HardState { term: self.model.hard_state.term.next(), vote: None };
                let base = LogBase { index, term: hard_state.term };
                let _vote: Appended = wal
                    .append(&[Record::HardState(hard_state)])
                    .map_err(|_| Some(Model { hard_state, ..self.model.clone() }))?;
                self.model.hard_state = hard_state;
                self.snapshot(base);
                self.below.clear();
                let _: Appended = wal.reset_to(base, hard_state).map_err(|_| None)?;
            }
            4 => {
                // Entries that the other nodes have made durable are applied, and a snapshot is taken of them, before
                // they are durable here.
                let mut after = self.model.clone();
                let batch = next_batch(&mut self.rng, &mut after);
                if after.commit > self.model.base.index {
                    let base = after.base_at(after.commit.0);
                    self.snapshot(base);
                    self.keep_below(&after, base);
                    self.compactions += wal.compactor().compact(base.index).map_err(|_| None)?;
                    after = after.after_base(base);
                }
                return self.append(wal, &batch, after);
            }
            _ => {
                let mut after = self.model.clone();
                let batch = next_batch(&mut self.rng, &mut after);
                return self.append(wal, &batch, after);
            }
        }
        Ok(())
    }

    fn append(&mut self, wal: &mut Wal, batch: &[Record], after: Model) -> Result<(), Option<Model>> {
        match wal.append(batch) {
            Ok(_) => self.model = after,
            Err(_) => return Err(Some(after)),
        }
        Ok(())
    }

    /// Starts, and checks the recovered state: it must be the acknowledged one, or that plus the write that failed.
    fn start(&mut self, unfinished: Option<Model>) -> Option<Wal> {
        let (wal, opened, mut found) = match open_after(&self.disk, self.model.base) {
            Ok(opened) => opened,
            Err(StorageError::Io { .. }) => return None,
            Err(other) => panic!("{other}\n{:?}", self.model.base),
        };
        // If the log has committed less than the snapshot, only the snapshot tells.
        found.commit = found.commit.max(self.model.base.index);
        let known = std::mem::take(&mut self.model);
        self.model = if found == known { known } else { unfinished.unwrap_or(known) };
        assert_eq!(found, self.model);
        let below = wal.reader().read(opened.first_index, self.model.base.index, usize::MAX).unwrap();
        assert_eq!(below.len() as u64, self.model.base.index.next().0 - opened.first_index.0);
        for entry in below {
            assert_eq!(Some(&entry), self.below.get(&entry.index));
            assert_eq!(opened.terms.at(entry.index), Some(entry.term));
        }
        assert_bytes_add_up(&wal.reader(), opened.last_index);
        Some(wal)
    }
}

/// Checks that later entries have fewer bytes after them, that the last has none, and the way back from bytes to
/// entries.
fn assert_bytes_add_up(reader: &WalReader, last: LogIndex) {
    let before_all = reader.first_index().previous();
    let mut bytes_before = u64::MAX;
    for index in (before_all.0..=last.0).map(LogIndex) {
        let bytes = reader.bytes_since(index);
        assert!(bytes < bytes_before, "{bytes} bytes after {index}, {bytes_before} after the one before");
        assert_eq!(reader.last_with_bytes_after(bytes), index);
        bytes_before = bytes;
    }
    assert_eq!(reader.bytes_since(last), 0);
}

#[test]
fn nothing_is_lost_but_what_a_snapshot_holds_wherever_the_power_is_cut() {
    let (mut compactions, mut half_done) = (0, 0);
    for seed in 0..400 {
        let mut life = Life::new(seed);
        let mut unfinished = None;
        for _ in 0..25 {
            if life.rng.random_bool(0.7) {
                life.disk.crash()
            } else {
                life.disk.kill()
            }
            half_done += usize::from(LogFiles::find(&life.disk).unwrap().is_some_and(|files| !files.void.is_empty()));
            if life.rng.random_bool(0.3) {
                life.disk.cut_power_after(life.rng.random_range(0..12));
            }
            let Some(mut wal) = life.start(unfinished.clone()) else { continue };
            unfinished = None;
            life.disk.cut_power_after(life.rng.random_range(0..60));
            for _ in 0..100 {
                if let Err(failed) = life.step(&mut wal) {
                    unfinished = failed;
                    break;
                }
            }
        }
        compactions += life.compactions;
    }
    assert!(compactions > 3000 && half_done > 100, "{compactions} segments went, {half_done} starts found some going");
}
