//! Reading the log when the node starts: every batch is read in order, the torn tail is cut off, and damage is refused.
//!
//! The header of [`super`] has the rule that tells a torn tail from damage; `files` decides which files are read, and
//! `base` which records are passed on: those that follow the base.

use super::super::error::StorageError;
use super::active::ActiveSegment;
use super::base::AfterBase;
use super::checkpoint::Checkpoint;
use super::files::{LogFiles, SegmentBytes, SegmentFile, remove_unfinished};
use super::format::{BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, align};
use super::index::{BatchPlace, Index, Outline};
use super::opened::TornTail;
use super::record::Records;
use super::segment::SEGMENTS_MAX;
use super::terms::LogTerms;
use crate::mutants::{self, Mutant};
use crate::raft::{HardState, LogBase, NodeId, Record};
use kvd_disk::Disk;

/// A log that was read completely.
pub(super) struct Recovered {
    pub(super) checkpoint: Checkpoint,
    pub(super) index: Index,
    pub(super) terms: LogTerms,
    /// True if the log has the base, or begins right after it. If not, none of its entries count.
    pub(super) follows_base: bool,
    /// The last segment, which is appended to.
    pub(super) active: ActiveSegment,
    pub(super) torn_tail: Option<TornTail>,
}

impl Recovered {
    /// Returns a new log with only its first segment.
    pub(super) fn begun(header: SegmentHeader, active: ActiveSegment) -> Self {
        let SegmentHeader { sequence, salt, checkpoint, .. } = header;
        let mut index = Index::new(checkpoint.next_index, checkpoint.commit);
        index.add_segment(sequence, salt);
        let terms = LogTerms::starting_at(checkpoint.next_index);
        Self { checkpoint, index, terms, follows_base: true, active, torn_tail: None }
    }
}

/// Reads the whole log and prepares it for appending; `None` if there is no log.
pub(super) fn recover(
    disk: &dyn Disk,
    node_id: NodeId,
    base: LogBase,
    on_record: &mut dyn FnMut(Record),
) -> Result<Option<Recovered>, StorageError> {
    remove_unfinished(disk)?;
    let Some(files) = LogFiles::find(disk)? else { return Ok(None) };
    let mut segment = SegmentFile::open(disk, *files.log.start(), node_id)?.read()?;
    let mut replay = Replay::begin(&files, &segment, base, on_record)?;
    replay.run(&segment)?;
    for sequence in files.log.clone().skip(1) {
        let next = SegmentFile::open(disk, sequence, node_id)?.read()?;
        replay.enter(&segment, &next)?;
        replay.run(&next)?;
        segment = next;
    }
    let recovered = replay.finish(disk, segment)?;
    files.remove_void(disk)?;
    Ok(Some(recovered))
}

/// State of reading the log.
struct Replay<'a> {
    checkpoint: Checkpoint,
    index: Index,
    /// Start and end of the last batch in the present segment, if it has one.
    last_batch: Option<usize>,
    position: usize,
    outline: Outline,
    after_base: AfterBase<'a>,
}

impl<'a> Replay<'a> {
    /// Begins with the first segment.
    fn begin(
        files: &LogFiles,
        segment: &SegmentBytes,
        base: LogBase,
        on_record: &'a mut dyn FnMut(Record),
    ) -> Result<Self, StorageError> {
        let SegmentHeader { sequence, salt, checkpoint, .. } = segment.header;
        let corrupt = |cause| StorageError::corrupt(&segment.name, 0, cause);
        if sequence == 0 || sequence > SEGMENTS_MAX {
            return Err(corrupt(format!("no log has a segment of the number {sequence}")));
        }
        checkpoint.check().map_err(corrupt)?;
        let Checkpoint { next_index, hard_state, commit, .. } = checkpoint;
        // Everything that the header says is committed comes before the segment's first entry, hence is in the
        // snapshot.
        if next_index > base.index.next() {
            return Err(files.refuse_gap(next_index));
        }
        let mut after_base = AfterBase::new(base, next_index, on_record);
        if hard_state != HardState::default() {
            after_base.take(Record::HardState(hard_state)).map_err(corrupt)?;
        }
        let mut index = Index::new(next_index, commit);
        index.add_segment(sequence, salt);
        let position = SEGMENT_HEADER_BYTES;
        Ok(Self { checkpoint, index, last_batch: None, position, outline: Outline::default(), after_base })
    }

    /// Goes on to the next segment, which must begin with the state that the one before ended with.
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
                // The checksum is right but the content is invalid: no disk causes that.
                let (offset, record) = record.map_err(corrupt)?;
                self.checkpoint.apply(&record).map_err(corrupt)?;
                self.outline.note(offset, &record);
                self.after_base.take(record).map_err(corrupt)?;
            }
            let end = self.position + align(header.batch_bytes());
            let place = BatchPlace {
                segment: segment.header.sequence,
                batch: header.sequence,
                offset: self.position as u64,
                end: end as u64,
            };
            self.index.add_batch(place, &self.outline, &self.checkpoint);
            self.checkpoint.end_batch(header.crc);
            self.last_batch = Some(self.position);
            self.position = end;
        }
        Ok(())
    }

    /// Returns the batch at the current position, if it is undamaged and has the next number.
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

    /// Repairs the end of the last segment: after this, everything before it is durable, and zeros follow it.
    fn finish(self, disk: &dyn Disk, mut segment: SegmentBytes) -> Result<Recovered, StorageError> {
        let position = self.position.min(segment.bytes.len());
        let torn_bytes = length_without_zeros(&segment.bytes[position..]);
        self.refuse_if_begun_later(&segment, position + torn_bytes)?;
        segment.bytes[position..position + torn_bytes].fill(0);
        // The last batch is written once more, since a sync of it may have failed before the process ended. Then the
        // operating system shows bytes that it will never write by itself, so a sync alone is not enough. Even without
        // a failure, the process may have been killed between write and sync, or between rename and sync.
        let rewritten = self.last_batch.unwrap_or(position)..position + torn_bytes;
        let SegmentBytes { name, file, header, bytes } = segment;
        file.write_all_at(rewritten.start as u64, &bytes[rewritten]).map_err(StorageError::io("write", &name))?;
        file.sync().map_err(StorageError::io("sync", &name))?;
        disk.sync_dir().map_err(StorageError::io("sync the directory of", &name))?;
        let torn_tail = (torn_bytes > 0).then(|| TornTail {
            file: name.clone(),
            offset: position as u64,
            bytes: torn_bytes as u64,
        });
        let active = ActiveSegment {
            file,
            name,
            sequence: header.sequence,
            salt: header.salt,
            position: self.position as u64,
            bytes: bytes.len() as u64,
        };
        let (follows_base, terms) = self.after_base.finish();
        Ok(Recovered { checkpoint: self.checkpoint, index: self.index, terms, follows_base, active, torn_tail })
    }

    /// Refuses the log if anything shows that the damaged batch was durable once: the header of a later batch, which
    /// would not have been begun otherwise.
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

/// Returns the length of `bytes` without the zeros at the end.
fn length_without_zeros(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    // Compare whole blocks, since most of a segment may be zeros.
    let zero_blocks = bytes.rchunks(BLOCK).take_while(|block| **block == [0; BLOCK][..block.len()]).count();
    let bytes = &bytes[..bytes.len().saturating_sub(zero_blocks * BLOCK)];
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
