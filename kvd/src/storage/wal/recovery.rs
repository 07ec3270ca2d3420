//! Reading the log when the node starts: every batch in order, the torn tail cut off, damage refused.
//!
//! The rule by which a torn tail is told from damage is in the header of [`super`].

use super::super::disk::{Disk, File, remove_if_present};
use super::super::error::StorageError;
use super::checkpoint::Checkpoint;
use super::format::{
    BATCH_ALIGN, BATCH_HEADER_BYTES, BadSegmentHeader, BatchHeader, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader, align,
};
use super::index::{BatchPlace, Index, Outline};
use super::record::Records;
use super::segment::{NEW_FILE, SEGMENT_BYTES_MAX, SEGMENTS_MAX, SPARE_FILE, file_name, sequence_of};
use crate::mutants::{self, Mutant};
use crate::raft::{HardState, LogIndex, NodeId, Record};
use std::fmt;

/// What [`Wal::open`](super::Wal::open) found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedLog {
    /// There was no log, and one was begun.
    pub created: bool,
    /// The first entry of the log, or where it will stand.
    pub first_index: LogIndex,
    /// The last entry of the log; the one before `first_index` if there are none.
    pub last_index: LogIndex,
    /// Term and vote.
    pub hard_state: HardState,
    /// The highest index known to be committed when the log was last written; more may be.
    pub commit: LogIndex,
    /// What was left of a write that never finished, now cut off. Worth a warning.
    pub torn_tail: Option<TornTail>,
}

/// What was left of a write that a crash interrupted. Nobody had been told that it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Name of the file within the data directory.
    pub file: String,
    /// Where in the file it began.
    pub offset: u64,
    /// How many bytes were overwritten with zeros.
    pub bytes: u64,
}

impl fmt::Display for TornTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes } = self;
        write!(f, "cut {bytes} bytes of an unfinished write off the log, at byte {offset} of {file}")
    }
}

/// A log that was read through.
pub(super) struct Recovered {
    pub(super) checkpoint: Checkpoint,
    pub(super) index: Index,
    /// The last segment, which is appended to.
    pub(super) active: LastSegment,
    pub(super) torn_tail: Option<TornTail>,
}

/// The segment with the end of the log.
pub(super) struct LastSegment {
    pub(super) file: Box<dyn File>,
    pub(super) sequence: u64,
    pub(super) salt: u64,
    /// Where the next batch goes.
    pub(super) position: u64,
    pub(super) bytes: u64,
}

/// Reads the whole log and makes it ready for appending; `None` if there is no log.
///
/// `snapshot_index` is the last entry that need not be in the log.
pub(super) fn recover(
    disk: &dyn Disk,
    node_id: NodeId,
    snapshot_index: LogIndex,
    on_record: &mut dyn FnMut(Record),
) -> Result<Option<Recovered>, StorageError> {
    let sequences = find_segments(disk)?;
    let (Some(first), Some(last)) = (sequences.first().copied(), sequences.last().copied()) else {
        return Ok(None);
    };
    let mut segment = SegmentBytes::read(disk, first, node_id)?;
    let mut replay = Replay::begin(&segment, snapshot_index, on_record)?;
    replay.run(&segment)?;
    for sequence in first + 1..=last {
        let next = SegmentBytes::read(disk, sequence, node_id)?;
        replay.enter(&segment, &next)?;
        replay.run(&next)?;
        segment = next;
    }
    replay.finish(disk, segment).map(Some)
}

/// Numbers of all segments, ascending. Files that a crash left unfinished are removed.
fn find_segments(disk: &dyn Disk) -> Result<Vec<u64>, StorageError> {
    for unfinished in [NEW_FILE, SPARE_FILE] {
        remove_if_present(disk, unfinished)?;
    }
    let names = disk.list().map_err(StorageError::io("list", "the data directory"))?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    for pair in sequences.windows(2) {
        if pair[1] != pair[0] + 1 {
            let cause = format!("the file is missing, though {} is there", file_name(pair[1]));
            return Err(StorageError::corrupt(&file_name(pair[0] + 1), 0, cause));
        }
    }
    Ok(sequences)
}

/// A segment in memory.
struct SegmentBytes {
    name: String,
    file: Box<dyn File>,
    header: SegmentHeader,
    bytes: Vec<u8>,
}

impl SegmentBytes {
    fn read(disk: &dyn Disk, sequence: u64, node_id: NodeId) -> Result<Self, StorageError> {
        let name = file_name(sequence);
        let corrupt = |cause: &str| StorageError::corrupt(&name, 0, cause);
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        let size = file.size().map_err(StorageError::io("read", &name))?;
        if size > SEGMENT_BYTES_MAX {
            return Err(corrupt("it is longer than a segment can be"));
        }
        let mut bytes = vec![0; size as usize];
        let read = file.read_full_at(0, &mut bytes).map_err(StorageError::io("read", &name))?;
        bytes.truncate(read);
        let header = SegmentHeader::decode(&bytes).map_err(|bad| match bad {
            BadSegmentHeader::Damaged => corrupt("its header does not match its checksum, or is cut short"),
            BadSegmentHeader::Version(found) => {
                StorageError::UnknownVersion { file: name.clone(), found, supported: FORMAT }
            }
        })?;
        if header.node_id != node_id {
            return Err(StorageError::OtherNode { file: name, found: header.node_id, expected: node_id });
        }
        if header.sequence != sequence {
            return Err(corrupt(&format!("it is segment {} under a wrong name", header.sequence)));
        }
        Ok(Self { name, file, header, bytes })
    }
}

/// How far the log has been read.
struct Replay<'a> {
    checkpoint: Checkpoint,
    index: Index,
    /// Where in the present segment its last batch begins, if it has one, and where that ends.
    last_batch: Option<usize>,
    position: usize,
    outline: Outline,
    on_record: &'a mut dyn FnMut(Record),
}

impl<'a> Replay<'a> {
    /// Begins with the first segment there is.
    fn begin(
        segment: &SegmentBytes,
        snapshot_index: LogIndex,
        on_record: &'a mut dyn FnMut(Record),
    ) -> Result<Self, StorageError> {
        let SegmentHeader { sequence, checkpoint, .. } = segment.header;
        let corrupt = |cause| StorageError::corrupt(&segment.name, 0, cause);
        if sequence == 0 || sequence > SEGMENTS_MAX {
            return Err(corrupt(format!("no log has a segment of the number {sequence}")));
        }
        checkpoint.check().map_err(corrupt)?;
        let Checkpoint { next_index, hard_state, commit, .. } = checkpoint;
        if next_index > snapshot_index.next() {
            let cause = format!("the log begins with entry {next_index}, and all files before it are missing");
            return Err(corrupt(cause));
        }
        if hard_state != HardState::default() {
            on_record(Record::HardState(hard_state));
        }
        if commit != LogIndex::default() {
            on_record(Record::Commit(commit));
        }
        let mut index = Index::new(next_index);
        index.add_segment(segment.header.sequence, segment.header.salt);
        let position = SEGMENT_HEADER_BYTES;
        Ok(Self { checkpoint, index, last_batch: None, position, outline: Outline::default(), on_record })
    }

    /// Goes on to the next segment, which must begin as the one before ended.
    fn enter(&mut self, before: &SegmentBytes, next: &SegmentBytes) -> Result<(), StorageError> {
        let expected = next.header.checkpoint;
        if (self.checkpoint.next_batch, self.checkpoint.chain) != (expected.next_batch, expected.chain) {
            let (found, last) = (self.checkpoint.next_batch, expected.next_batch.saturating_sub(1));
            let cause = format!("batch {found} is damaged, though {} shows that batch {last} was written", next.name);
            return Err(StorageError::corrupt(&before.name, self.position as u64, cause));
        }
        if self.checkpoint != expected {
            return Err(StorageError::corrupt(
                &next.name,
                0,
                "it does not go on from where the segment before it ends",
            ));
        }
        self.index.add_segment(next.header.sequence, next.header.salt);
        self.last_batch = None;
        self.position = SEGMENT_HEADER_BYTES;
        Ok(())
    }

    /// Reads batches until one does not check.
    fn run(&mut self, segment: &SegmentBytes) -> Result<(), StorageError> {
        while let Some((header, records)) = self.next_batch(segment) {
            let corrupt = |cause: String| StorageError::corrupt(&segment.name, self.position as u64, cause);
            self.outline.clear();
            for record in Records::new(records) {
                // The checksum is right and the content is not: no disk does that.
                let (offset, record) = record.map_err(corrupt)?;
                self.checkpoint.apply(&record).map_err(corrupt)?;
                self.outline.note(offset, &record);
                (self.on_record)(record);
            }
            let end = self.position + align(header.batch_bytes());
            let place = BatchPlace {
                segment: segment.header.sequence,
                batch: header.sequence,
                offset: self.position as u64,
                end: end as u64,
            };
            self.index.add_batch(place, &self.outline, self.checkpoint.next_index);
            self.checkpoint.end_batch(header.crc);
            self.last_batch = Some(self.position);
            self.position = end;
        }
        Ok(())
    }

    /// The batch that stands here, if it is undamaged and the one to follow.
    fn next_batch<'b>(&self, segment: &'b SegmentBytes) -> Option<(BatchHeader, &'b [u8])> {
        let batch = segment.bytes.get(self.position..)?;
        let header = BatchHeader::decode(batch, segment.header.salt)?;
        if (header.sequence, header.chain) != (self.checkpoint.next_batch, self.checkpoint.chain) {
            return None;
        }
        let torn = || {
            let rest = batch.get(BATCH_HEADER_BYTES..header.batch_bytes())?;
            mutants::is_on(Mutant::TornTailKept).then_some(rest)
        };
        Some((header, header.records(batch).or_else(torn)?))
    }

    /// Settles the end of the last segment: everything before it is durable after this, and after it are zeros.
    fn finish(self, disk: &dyn Disk, mut segment: SegmentBytes) -> Result<Recovered, StorageError> {
        let position = self.position.min(segment.bytes.len());
        let torn_bytes = length_without_zeros(&segment.bytes[position..]);
        self.refuse_if_begun_later(&segment, position + torn_bytes)?;
        segment.bytes[position..position + torn_bytes].fill(0);
        // The last batch is written once more, since a sync of it may have failed before the process ended: then
        // the operating system shows bytes that it will never write by itself (thus not a sync alone). And without
        // any failure the process may have been killed between write and sync, or between rename and sync.
        let rewritten = self.last_batch.unwrap_or(position)..position + torn_bytes;
        let SegmentBytes { name, file, header, bytes } = segment;
        file.write_all_at(rewritten.start as u64, &bytes[rewritten]).map_err(StorageError::io("write", &name))?;
        file.sync().map_err(StorageError::io("sync", &name))?;
        disk.sync_dir().map_err(StorageError::io("sync the directory of", &name))?;
        let torn_tail =
            (torn_bytes > 0).then_some(TornTail { file: name, offset: position as u64, bytes: torn_bytes as u64 });
        let active = LastSegment {
            file,
            sequence: header.sequence,
            salt: header.salt,
            position: self.position as u64,
            bytes: bytes.len() as u64,
        };
        Ok(Recovered { checkpoint: self.checkpoint, index: self.index, active, torn_tail })
    }

    /// Refuses the log if anything shows that the batch that does not check here was durable once: the header of a
    /// later one, which would not have been begun otherwise.
    fn refuse_if_begun_later(&self, segment: &SegmentBytes, end: usize) -> Result<(), StorageError> {
        let missing = self.checkpoint.next_batch;
        for offset in (self.position..end).step_by(BATCH_ALIGN) {
            let Some(header) = BatchHeader::decode(&segment.bytes[offset..], segment.header.salt) else { continue };
            if mutants::is_on(Mutant::CorruptionCut) {
                continue;
            }
            let cause = if header.sequence > missing {
                format!("batch {missing} is damaged, though batch {} was begun after it", header.sequence)
            } else if header.sequence == missing && header.chain != self.checkpoint.chain {
                format!("batch {missing} does not follow the batch before it")
            } else {
                continue;
            };
            return Err(StorageError::corrupt(&segment.name, self.position as u64, cause));
        }
        Ok(())
    }
}

/// Length of `bytes` without the zeros at the end.
fn length_without_zeros(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    // By blocks, since most of a segment may be zeros.
    let zero_blocks = bytes.rchunks(BLOCK).take_while(|block| **block == [0; BLOCK][..block.len()]).count();
    let bytes = &bytes[..bytes.len().saturating_sub(zero_blocks * BLOCK)];
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
