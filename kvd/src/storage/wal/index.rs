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
//!
//! The index also says which segments a snapshot makes superfluous. A log can begin with a segment only if what the
//! header says of the entries before it was never taken back: a segment that begins with entry 51 and then cuts off all
//! from 45 on would tell whoever reads no more than it that the void entry 50 is a part of the log.

use super::checkpoint::Checkpoint;
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
    /// The entry that its header says is next.
    next_at_start: LogIndex,
    /// An entry before that was cut off since.
    is_cut: bool,
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

/// What cannot be read where an entry cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Number of the segment that is damaged.
    pub segment: u64,
    /// No entry after this one is lost. The last that is may well be before it.
    pub through: LogIndex,
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
    /// Entries up to here are committed, and the log says so durably.
    committed: LogIndex,
    /// The next entry needs a mark, however short the way from the last one.
    must_mark: bool,
    truncations: u64,
}

impl Index {
    /// The index of a log without entries, whose next one is `next`; all up to `committed` are committed.
    pub(super) fn new(next: LogIndex, committed: LogIndex) -> Self {
        let (marks, segments) = (Vec::new(), BTreeMap::new());
        Self { marks, segments, first: next, next, committed, must_mark: true, truncations: 0 }
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
        let (end, next_at_start) = (SEGMENT_HEADER_BYTES as u64, self.next);
        self.segments.insert(sequence, Extent { salt, end, next_at_start, is_cut: false });
        // When the segments before it go, what finds its entries must not go with them.
        self.must_mark = true;
    }

    /// A batch has become durable, and this is what the log says now.
    pub(super) fn add_batch(&mut self, place: BatchPlace, outline: &Outline, after: &Checkpoint) {
        let extent = self.segments.get_mut(&place.segment).expect("a batch is in a segment that was added");
        extent.end = place.end;
        for step in &outline.steps {
            match *step {
                Step::Truncate { from } => self.truncate(from),
                Step::Run { first, record_offset } => self.mark(place, first, record_offset),
            }
        }
        self.next = after.next_index;
        self.committed = self.committed.max(after.commit);
    }

    /// All up to `index` are committed, whatever the log says: a snapshot has them.
    pub(super) fn commit(&mut self, index: LogIndex) {
        self.committed = self.committed.max(index);
    }

    /// The log begins anew with entry `first`, in a segment that is there. Returns the numbers of those before it.
    pub(super) fn reset(&mut self, first: LogIndex, sequence: u64, salt: u64) -> Vec<u64> {
        let void = std::mem::take(&mut self.segments).into_keys().collect();
        let truncations = self.truncations + 1;
        *self = Self { truncations, ..Self::new(first, first.previous()) };
        self.add_segment(sequence, salt);
        void
    }

    /// Forgets the segments before the last one that the log can begin with if all after `up_to` is kept. Returns their
    /// numbers, ascending.
    ///
    /// What is not known to be committed is kept as well: it may be cut off yet.
    pub(super) fn forget(&mut self, up_to: LogIndex) -> Vec<u64> {
        let up_to = up_to.min(self.committed);
        let can_begin = |extent: &Extent| !extent.is_cut && extent.next_at_start <= up_to.next();
        let Some((&first, extent)) = self.segments.iter().rev().find(|(_, extent)| can_begin(extent)) else {
            return Vec::new();
        };
        self.first = extent.next_at_start;
        self.marks.drain(..self.marks.partition_point(|mark| mark.segment < first));
        let kept = self.segments.split_off(&first);
        std::mem::replace(&mut self.segments, kept).into_keys().collect()
    }

    /// What may be damaged where entry `index` cannot be read: some batch between the mark before it and the next mark, or
    /// the batch that has that one.
    pub(super) fn lost_with(&self, index: LogIndex) -> Option<Lost> {
        let Stretch { mark, until, .. } = self.find(index).ok()??;
        let after = self.marks.partition_point(|mark| mark.first < until);
        let batch_of_next = self.marks.get(after).map(|mark| mark.batch);
        let is_behind = |mark: &&Mark| batch_of_next.is_some_and(|batch| mark.batch > batch);
        let behind = self.marks[after..].iter().find(is_behind).map_or(self.next, |mark| mark.first);
        Some(Lost { segment: mark.segment, through: behind.previous() })
    }

    /// The last entry before the segment after this one, if there is one.
    pub(super) fn last_before_next_segment(&self, sequence: u64) -> Option<LogIndex> {
        self.segments.range(sequence + 1..).next().map(|(_, extent)| extent.next_at_start.previous())
    }

    /// Whether the log has the segment of this number.
    pub(super) fn has_segment(&self, sequence: u64) -> bool {
        self.segments.contains_key(&sequence)
    }

    fn truncate(&mut self, from: LogIndex) {
        while self.marks.last().is_some_and(|mark| mark.first >= from) {
            self.marks.pop();
        }
        for extent in self.segments.values_mut() {
            extent.is_cut |= from < extent.next_at_start;
        }
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
        let Extent { salt, end, .. } = self.segments[&mark.segment];
        Ok(Some(Stretch { mark, until, salt, end }))
    }

    /// About how many bytes of log there are after entry `index`. Between two marks the entries are taken to be of the
    /// same length.
    pub(super) fn bytes_after(&self, index: LogIndex) -> u64 {
        let next = index.next().max(self.first);
        let Ok(Some(Stretch { mark, until, .. })) = self.find(next) else { return 0 };
        let after = self.marks.partition_point(|mark| mark.first < until);
        let (begin, end) = (self.bytes_from(&mark), self.marks.get(after).map_or(0, |mark| self.bytes_from(mark)));
        let passed = u128::from(begin - end) * u128::from(next.0 - mark.first.0) / u128::from(until.0 - mark.first.0);
        begin - passed as u64
    }

    /// The last index after which there are `bytes` bytes of log or more, as [`Index::bytes_after`] counts them. The
    /// one before the first entry if there are fewer.
    pub(super) fn last_with_bytes_after(&self, bytes: u64) -> LogIndex {
        // Indexes up to `low` have as many after them, or are before the log; from `high` on none has.
        let (mut low, mut high) = (self.first.0 - 1, self.next.0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.bytes_after(LogIndex(middle)) >= bytes { low = middle } else { high = middle }
        }
        LogIndex(low)
    }

    /// Bytes of log from a mark to the end.
    fn bytes_from(&self, mark: &Mark) -> u64 {
        let mut extents = self.segments.range(mark.segment..).map(|(_, extent)| extent.end);
        let own = extents.next().expect("a mark is in a segment that is there") - u64::from(mark.offset);
        own + extents.map(|end| end - SEGMENT_HEADER_BYTES as u64).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
