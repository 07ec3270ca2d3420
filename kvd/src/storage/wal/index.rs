//! Positions of entries on disk: about one mark for every 64 KiB of log, so that a long log costs little memory.
//!
//! A mark holds the position of one entry. The entries after it are found by reading on from there, up to the next
//! mark. Marks ascend both in position and in index. That holds across truncations because
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
//! The index also tells which segments a snapshot makes superfluous. A log can begin with a segment only if the entries
//! before it, as given in its header, were never truncated later. Suppose that a segment begins with entry 51 and then
//! truncates the log from 45 on: a reader of that segment alone would believe that the void entry 50 is part of the
//! log.

use super::checkpoint::Checkpoint;
use super::format::SEGMENT_HEADER_BYTES;
use crate::raft::{LogIndex, Record};
use std::collections::BTreeMap;

/// Bytes of log after which an entry gets a mark.
const MARK_EVERY_BYTES: u64 = 64 << 10;

/// Position of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index of the entry.
    pub(super) first: LogIndex,
    /// Number of the segment that holds the entry.
    pub(super) segment: u64,
    /// Number of the batch that holds the entry.
    pub(super) batch: u64,
    /// Offset of that batch in the segment.
    pub(super) offset: u32,
    /// Offset of the entry among the records of the batch.
    pub(super) record_offset: u32,
}

/// Facts about a segment.
#[derive(Clone, Copy, Debug)]
struct Extent {
    salt: u64,
    /// End of the segment's last durable batch.
    end: u64,
    /// The next entry according to the segment's header.
    next_at_start: LogIndex,
    /// True if an entry before `next_at_start` was truncated later.
    is_cut: bool,
}

/// A batch that has become durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchPlace {
    /// Number of the batch's segment.
    pub(super) segment: u64,
    /// Number of the batch.
    pub(super) batch: u64,
    /// Offset of the batch in the segment.
    pub(super) offset: u64,
    /// Offset of the next batch.
    pub(super) end: u64,
}

/// Effect of a batch on the index, gathered while the batch is written or read.
#[derive(Debug, Default)]
pub(super) struct Outline {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Entries from this one on are void.
    Truncate { from: LogIndex },
    /// Consecutive entries begin with this one.
    Run { first: LogIndex, record_offset: u32 },
}

impl Outline {
    /// Adds the next record of the batch.
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

    /// Clears the outline for the next batch.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
    }
}

/// The part of the log between two marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Start of the stretch.
    pub(super) mark: Mark,
    /// The first entry that must not be read from this stretch.
    pub(super) until: LogIndex,
    /// Salt of the segment; a stretch never leaves its segment.
    pub(super) salt: u64,
    /// End of the segment's durable batches.
    pub(super) end: u64,
}

/// Extent of the loss if an entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Number of the damaged segment.
    pub segment: u64,
    /// Upper bound of the loss: no entry after this one is lost. The last lost entry may be well before it.
    pub through: LogIndex,
}

/// An entry that the log no longer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// The first entry that the log still has.
    pub(super) first: LogIndex,
}

/// The index of a log.
#[derive(Debug)]
pub(super) struct Index {
    marks: Vec<Mark>,
    segments: BTreeMap<u64, Extent>,
    /// The first entry, or the index that it will get.
    first: LogIndex,
    /// Index after the last durable entry.
    next: LogIndex,
    /// Entries up to this one are committed, and the log says so durably.
    committed: LogIndex,
    /// The next entry needs a mark, however close the last mark is.
    must_mark: bool,
    truncations: u64,
}

impl Index {
    /// Returns the index of a log without entries, whose next entry is `next`; all up to `committed` are committed.
    pub(super) fn new(next: LogIndex, committed: LogIndex) -> Self {
        let (marks, segments) = (Vec::new(), BTreeMap::new());
        Self { marks, segments, first: next, next, committed, must_mark: true, truncations: 0 }
    }

    /// Returns the first entry, or the index that it will get.
    pub(super) fn first(&self) -> LogIndex {
        self.first
    }

    /// Returns the number of truncations so far.
    pub(super) fn truncations(&self) -> u64 {
        self.truncations
    }

    /// Adds a new segment.
    pub(super) fn add_segment(&mut self, sequence: u64, salt: u64) {
        let (end, next_at_start) = (SEGMENT_HEADER_BYTES as u64, self.next);
        self.segments.insert(sequence, Extent { salt, end, next_at_start, is_cut: false });
        // The segment needs a mark of its own: the marks of earlier segments disappear with those segments.
        self.must_mark = true;
    }

    /// Adds a batch that has become durable. `after` is the state of the log after it.
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

    /// Marks everything up to `index` as committed, whatever the log says: a snapshot holds it.
    pub(super) fn commit(&mut self, index: LogIndex) {
        self.committed = self.committed.max(index);
    }

    /// Restarts the log with entry `first`, in a segment that exists already. Returns the numbers of the segments
    /// before that one.
    pub(super) fn reset(&mut self, first: LogIndex, sequence: u64, salt: u64) -> Vec<u64> {
        let void = std::mem::take(&mut self.segments).into_keys().collect();
        let truncations = self.truncations + 1;
        *self = Self { truncations, ..Self::new(first, first.previous()) };
        self.add_segment(sequence, salt);
        void
    }

    /// Forgets all segments before the last one that the log can begin with if everything after `up_to` is kept.
    /// Returns their numbers, ascending.
    ///
    /// Entries that are not known to be committed are kept as well: they may still be truncated.
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

    /// Returns what may be damaged if entry `index` cannot be read: some batch between the mark before it and the next
    /// mark, or the batch with the next mark.
    pub(super) fn lost_with(&self, index: LogIndex) -> Option<Lost> {
        let Stretch { mark, until, .. } = self.find(index).ok()??;
        let after = self.marks.partition_point(|mark| mark.first < until);
        let batch_of_next = self.marks.get(after).map(|mark| mark.batch);
        let is_behind = |mark: &&Mark| batch_of_next.is_some_and(|batch| mark.batch > batch);
        let behind = self.marks[after..].iter().find(is_behind).map_or(self.next, |mark| mark.first);
        Some(Lost { segment: mark.segment, through: behind.previous() })
    }

    /// Returns the last entry before the segment that follows this one, if there is such a segment.
    pub(super) fn last_before_next_segment(&self, sequence: u64) -> Option<LogIndex> {
        self.segments.range(sequence + 1..).next().map(|(_, extent)| extent.next_at_start.previous())
    }

    /// Returns whether the log has the segment of this number.
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

    /// Returns the position to read entry `index` from; `None` if the log does not reach it yet.
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

    /// Returns about how many bytes of log follow entry `index`. Between two marks, all entries are assumed to have the
    /// same length.
    pub(super) fn bytes_after(&self, index: LogIndex) -> u64 {
        let next = index.next().max(self.first);
        let Ok(Some(Stretch { mark, until, .. })) = self.find(next) else { return 0 };
        let after = self.marks.partition_point(|mark| mark.first < until);
        let (begin, end) = (self.bytes_from(&mark), self.marks.get(after).map_or(0, |mark| self.bytes_from(mark)));
        let passed = u128::from(begin - end) * u128::from(next.0 - mark.first.0) / u128::from(until.0 - mark.first.0);
        begin - passed as u64
    }

    /// Returns the last index with `bytes` or more bytes of log after it, as counted by [`Index::bytes_after`]. Returns
    /// the index before the first entry if the log has fewer.
    pub(super) fn last_with_bytes_after(&self, bytes: u64) -> LogIndex {
        // Up to `low`, an index has that many bytes after it or lies before the log; from `high` on, none has.
        let (mut low, mut high) = (self.first.0 - 1, self.next.0);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.bytes_after(LogIndex(middle)) >= bytes { low = middle } else { high = middle }
        }
        LogIndex(low)
    }

    /// Returns the bytes of log from a mark to the end.
    fn bytes_from(&self, mark: &Mark) -> u64 {
        let mut extents = self.segments.range(mark.segment..).map(|(_, extent)| extent.end);
        let own = extents.next().expect("a mark is in a segment that is there") - u64::from(mark.offset);
        own + extents.map(|end| end - SEGMENT_HEADER_BYTES as u64).sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
