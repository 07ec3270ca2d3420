//! Where entries lie on disk: about one mark for every 64 KiB of log, so that a long log costs little memory.
//!
//! A mark stands at an entry; the entries after it are found by reading on from there, up to the next mark. Marks
//! are in the order of their positions and of their indexes at once. That holds across truncations because
//! 1. a truncation takes away the marks of all void entries, and
//! 2. the first entry after a truncation always gets a mark of its own.
//!
//! ```text
//! log        entry 1 .. entry 50 | truncate from 30 | entry 30' .. entry 60'
//! marks      1         25                              30'
//! ```
//! Entries 25 to 29 are read from the second mark. Reading on from there would come upon the void entry 30 next,
//! but the third mark says that 30 and all after it are found elsewhere.

use super::format::SEGMENT_HEADER_BYTES;
use crate::raft::{LogIndex, Record};
use std::collections::BTreeMap;

/// Bytes of log after which an entry gets a mark.
const MARK_EVERY_BYTES: u64 = 64 << 10;

/// The place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index of the entry.
    pub(super) first: LogIndex,
    /// Number of the segment that has it.
    pub(super) segment: u64,
    /// Number of the batch that has it.
    pub(super) batch: u64,
    /// Where in the segment that batch begins.
    pub(super) offset: u32,
    /// Where among the records of the batch the entry begins.
    pub(super) record_offset: u32,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug)]
struct Extent {
    salt: u64,
    /// Where its last durable batch ends.
    end: u64,
}

/// A batch that has become durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchPlace {
    /// Number of its segment.
    pub(super) segment: u64,
    /// Number of the batch.
    pub(super) batch: u64,
    /// Where in the segment it begins.
    pub(super) offset: u64,
    /// Where the next one will begin.
    pub(super) end: u64,
}

/// What a batch does to the index, gathered while the batch is written or read.
#[derive(Debug, Default)]
pub(super) struct Outline {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Entries from here on are void.
    Truncate { from: LogIndex },
    /// Consecutive entries begin here.
    Run { first: LogIndex, record_offset: u32 },
}

impl Outline {
    /// Takes in the next record of the batch.
    pub(super) fn note(&mut self, record_offset: u32, record: &Record) {
        match record {
            Record::Truncate { from } => self.steps.push(Step::Truncate { from: *from }),
            Record::Entry(entry) => {
                if !matches!(self.steps.last(), Some(Step::Run { .. })) {
                    self.steps.push(Step::Run { first: entry.index, record_offset });
                }
            }
            Record::HardState(_) | Record::Commit(_) => {}
        }
    }

    /// Begins anew, for the next batch.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }
}

/// The part of the log between two marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Where it begins.
    pub(super) mark: Mark,
    /// The first entry that is not to be read from here.
    pub(super) until: LogIndex,
    /// Salt of the segment; a stretch never leaves its segment.
    pub(super) salt: u64,
    /// Where the durable batches of the segment end.
    pub(super) end: u64,
}

/// An entry that the log no longer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// The first entry that it has.
    pub(super) first: LogIndex,
}

/// The index of a log.
#[derive(Debug)]
pub(super) struct Index {
    marks: Vec<Mark>,
    segments: BTreeMap<u64, Extent>,
    /// The first entry, or where it will stand.
    first: LogIndex,
    /// The entry after the last durable one.
    next: LogIndex,
    /// The next entry needs a mark, however short the way from the last one.
    must_mark: bool,
    truncations: u64,
}

impl Index {
    /// The index of a log without entries, whose next one is `next`.
    pub(super) fn new(next: LogIndex) -> Self {
        Self { marks: Vec::new(), segments: BTreeMap::new(), first: next, next, must_mark: true, truncations: 0 }
    }

    /// The first entry, or where it will stand.
    pub(super) fn first(&self) -> LogIndex {
        self.first
    }

    /// How many truncations there have been.
    pub(super) fn truncations(&self) -> u64 {
        self.truncations
    }

    /// A new segment is there.
    pub(super) fn add_segment(&mut self, sequence: u64, salt: u64) {
        self.segments.insert(sequence, Extent { salt, end: SEGMENT_HEADER_BYTES as u64 });
        // When the segments before it go, what finds its entries must not go with them.
        self.must_mark = true;
    }

    /// A batch has become durable; `next` is the index that the next entry gets.
    pub(super) fn add_batch(&mut self, place: BatchPlace, outline: &Outline, next: LogIndex) {
        let extent = self.segments.get_mut(&place.segment).expect("a batch is in a segment that was added");
        extent.end = place.end;
        for step in &outline.steps {
            match *step {
                Step::Truncate { from } => self.truncate(from),
                Step::Run { first, record_offset } => self.mark(place, first, record_offset),
            }
        }
        self.next = next;
    }

    fn truncate(&mut self, from: LogIndex) {
        while self.marks.last().is_some_and(|mark| mark.first >= from) {
            self.marks.pop();
        }
        // The first segment kept may begin by cutting into what went with the segments before it.
        self.first = self.first.min(from);
        self.must_mark = true;
        self.truncations += 1;
    }

    fn mark(&mut self, place: BatchPlace, first: LogIndex, record_offset: u32) {
        let is_far = |mark: &Mark| place.offset >= u64::from(mark.offset) + MARK_EVERY_BYTES;
        if self.must_mark || self.marks.last().is_none_or(is_far) {
            let offset = u32::try_from(place.offset).expect("a segment is shorter than SEGMENT_BYTES_MAX");
            self.marks.push(Mark { first, segment: place.segment, batch: place.batch, offset, record_offset });
            self.must_mark = false;
        }
    }

    /// Where to read entry `index`; `None` if the log does not reach it yet.
    pub(super) fn find(&self, index: LogIndex) -> Result<Option<Stretch>, Gone> {
        if index < self.first {
            return Err(Gone { first: self.first });
        }
        if index >= self.next {
            return Ok(None);
        }
        let after = self.marks.partition_point(|mark| mark.first <= index);
        let mark = after.checked_sub(1).map(|at| self.marks[at]).expect("the first entry of a log has a mark");
        let until = self.marks.get(after).map_or(self.next, |mark| mark.first);
        let Extent { salt, end } = self.segments[&mark.segment];
        Ok(Some(Stretch { mark, until, salt, end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{ClusterTime, Entry, Payload, Term};

    fn entry(index: u64) -> Record {
        let payload = Payload::Noop;
        Record::Entry(Entry { index: LogIndex(index), term: Term(1), time: ClusterTime(0), payload })
    }

    struct Log {
        index: Index,
        batch: u64,
        offset: u64,
    }

    impl Log {
        fn new() -> Self {
            let mut index = Index::new(LogIndex(1));
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
            self.index.add_batch(place, &outline, LogIndex(next));
            self.batch += 1;
            self.offset += bytes;
            self
        }

        /// Batch and record offset to read `index` from, and the entry at which to go elsewhere.
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
        log.index.add_batch(place, &outline, LogIndex(3));
        assert_eq!(log.find(2), (2, 0, 3));
    }
}
