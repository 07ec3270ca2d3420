//! The index: every entry is found at its latest position, and void entries are not found.

use super::*;
use crate::raft::{ClusterTime, Entry, LogBase, Payload, Term};

fn entry(index: u64) -> Record {
    let payload = Payload::Noop;
    Record::Entry(Entry { index: LogIndex(index), term: Term(1), time: ClusterTime(0), payload })
}

/// Returns the state of a log whose next entry is `next`.
fn checkpoint(next: u64) -> Checkpoint {
    Checkpoint { next_index: LogIndex(next), ..Checkpoint::empty(LogBase::NONE) }
}

struct Log {
    index: Index,
    batch: u64,
    offset: u64,
}

impl Log {
    fn new() -> Self {
        let mut index = Index::new(LogIndex(1), LogIndex(0));
        index.add_segment(1, 77);
        Self { index, batch: 1, offset: 512 }
    }

    /// Adds a batch of `bytes` bytes with these records, each taken to be 10 bytes long.
    fn add(&mut self, bytes: u64, records: &[Record], next: u64) -> &mut Self {
        let mut outline = Outline::default();
        for (position, record) in records.iter().enumerate() {
            outline.note(10 * position as u32, record);
        }
        let place = BatchPlace { segment: 1, batch: self.batch, offset: self.offset, end: self.offset + bytes };
        self.index.add_batch(place, &outline, &checkpoint(next));
        self.batch += 1;
        self.offset += bytes;
        self
    }

    /// Returns batch and record offset to read `index` from, and the entry from which to read elsewhere.
    fn find(&self, index: u64) -> (u64, u32, u64) {
        let stretch = self.index.find(LogIndex(index)).unwrap().unwrap();
        (stretch.mark.batch, stretch.mark.record_offset, stretch.until.0)
    }
}

#[test]
fn marks_are_sparse() {
    let mut log = Log::new();
    for index in 1..=10_000 {
        log.add(100, &[entry(index)], index + 1);
    }
    assert_eq!(log.index.marks.len(), 1_000_000usize.div_ceil(65_600), "65,536 bytes are 656 batches");
    assert_eq!(log.find(1), (1, 0, 657));
    assert_eq!(log.find(656), (1, 0, 657));
    assert_eq!(log.find(657), (657, 0, 1313));
    assert!(log.index.find(LogIndex(10_001)).unwrap().is_none());
    assert_eq!(log.index.find(LogIndex(0)).unwrap_err(), Gone { first: LogIndex(1) });
}

#[test]
fn entries_after_a_truncation_are_found_at_their_new_place() {
    let mut log = Log::new();
    log.add(100, &[entry(1), entry(2), entry(3)], 4);
    log.add(100, &[Record::Truncate { from: LogIndex(2) }], 2);
    assert_eq!(log.find(1), (1, 0, 2));
    assert!(log.index.find(LogIndex(2)).unwrap().is_none());
    log.add(100, &[entry(2), entry(3)], 4);
    assert_eq!(log.find(1), (1, 0, 2));
    assert_eq!(log.find(3), (3, 0, 4));
}

#[test]
fn one_batch_may_write_void_and_write_again() {
    let mut log = Log::new();
    let cut = |from| Record::Truncate { from: LogIndex(from) };
    log.add(100, &[entry(1), entry(2), cut(2), entry(2), entry(3), cut(3), entry(3)], 4);
    assert_eq!(log.find(1), (1, 0, 2));
    assert_eq!(log.find(2), (1, 30, 3));
    assert_eq!(log.find(3), (1, 60, 4));
    assert_eq!(log.index.truncations(), 2);
}

#[test]
fn every_segment_has_a_mark_of_its_own() {
    let mut log = Log::new();
    log.add(100, &[entry(1)], 2);
    log.index.add_segment(2, 78);
    let place = BatchPlace { segment: 2, batch: 2, offset: 512, end: 612 };
    let mut outline = Outline::default();
    outline.note(0, &entry(2));
    log.index.add_batch(place, &outline, &checkpoint(3));
    assert_eq!(log.find(2), (2, 0, 3));
}
