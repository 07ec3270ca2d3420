//! [`Wal::open`]: reads an existing log, or begins a new one.

use super::super::error::StorageError;
use super::active::{ActiveSegment, mix};
use super::checkpoint::Checkpoint;
use super::compaction::Compactor;
use super::files::{LogFiles, SegmentFile};
use super::format::{BATCH_ALIGN, SegmentHeader};
use super::index::Outline;
use super::log::{Appended, Wal};
use super::opened::OpenedLog;
use super::recovery::{Recovered, recover};
use super::segment::SEGMENT_BYTES_MAX;
use super::spare::SpareMaker;
use super::terms::LogTerms;
use crate::raft::{HardState, LogBase, LogIndex, NodeId, Record};
use kvd_disk::Disk;
use std::sync::{Arc, RwLock};

/// Default length of a segment, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 << 20;

/// Shortest segment, in bytes.
const SEGMENT_BYTES_MIN: u64 = 1024;

/// Options for opening a log.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Length of new segments in bytes, within limits and rounded down to a multiple of eight.
    pub segment_bytes: u64,
    /// A random number, drawn anew each time the log is opened. It keeps users' data from looking like a batch.
    pub salt: u64,
    /// The last entry that the log need not have, because a durable snapshot holds it.
    pub base: LogBase,
}

impl WalOptions {
    /// Returns the options for segments of [`SEGMENT_BYTES_DEFAULT`] and no snapshot.
    pub fn new(salt: u64) -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT, salt, base: LogBase::NONE }
    }
}

impl Wal {
    /// Returns whether `disk` has a log, even an empty or damaged one.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn exists(disk: &dyn Disk) -> Result<bool, StorageError> {
        Ok(LogFiles::find(disk)?.is_some())
    }

    /// Returns the first entry of the log in `disk`, or the index that it will get; `None` if there is no log. The log
    /// can only be opened with a base at or after the entry right before that.
    ///
    /// # Errors
    /// Those of [`Wal::open`].
    pub fn begins_with(disk: &dyn Disk, node_id: NodeId) -> Result<Option<LogIndex>, StorageError> {
        let Some(files) = LogFiles::find(disk)? else { return Ok(None) };
        let first = SegmentFile::open(disk, *files.log.start(), node_id)?;
        Ok(Some(first.header.checkpoint.next_index))
    }

    /// Opens the log in `disk`, or begins one if there is none, and passes every record that follows the base to
    /// `on_record`, in order. If the first segments were removed, their hard state comes first.
    ///
    /// A log that does not follow its base is restarted after it: such a log ends before the base, or has an entry of
    /// another term there (paper Figure 13, step 7).
    ///
    /// All records passed to `on_record` are durable when this returns `Ok`, and mean nothing if it does not.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::UnknownVersion`], [`StorageError::OtherNode`],
    /// [`StorageError::Io`]: the node must not start.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        node_id: NodeId,
        on_record: &mut dyn FnMut(Record),
    ) -> Result<(Self, OpenedLog), StorageError> {
        let WalOptions { segment_bytes, salt, base } = options;
        let segment_bytes =
            segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / BATCH_ALIGN as u64 * BATCH_ALIGN as u64;
        let spare = SpareMaker::new(Arc::clone(&disk), segment_bytes);
        let found = recover(&*disk, node_id, base, on_record)?;
        let created = found.is_none();
        let found = match found {
            Some(found) => found,
            None => {
                let checkpoint = Checkpoint::empty(base);
                let header = SegmentHeader { node_id, sequence: 1, salt: mix(salt, 1), checkpoint };
                let active = ActiveSegment::begin(&*disk, spare.take()?, &header, segment_bytes)?;
                if checkpoint.hard_state != HardState::default() {
                    on_record(Record::HardState(checkpoint.hard_state));
                }
                Recovered::begun(header, active)
            }
        };
        let Recovered { checkpoint, mut index, mut terms, follows_base, active, torn_tail } = found;
        if follows_base {
            index.commit(base.index);
        }
        let index = Arc::new(RwLock::new(index));
        let mut wal = Self {
            compactor: Compactor::new(Arc::clone(&disk), Arc::clone(&index)),
            disk,
            node_id,
            salt,
            segment_bytes,
            active,
            checkpoint,
            index,
            spare,
            buffer: Vec::new(),
            outline: Outline::default(),
            is_sealed: created,
            is_poisoned: false,
        };
        if !follows_base {
            let mut hard_state = checkpoint.hard_state;
            if hard_state.term < base.term {
                // The node got the snapshot in a later term than its disk records, and promised nothing in that term.
                hard_state = HardState { term: base.term, vote: None };
                on_record(Record::HardState(hard_state));
            }
            terms = LogTerms::starting_at(base.index.next());
            let _: Appended = wal.reset_to(base, hard_state)?;
        }
        let opened = OpenedLog {
            created,
            reset: !follows_base,
            first_index: terms.first_index(),
            last_index: wal.last_index(),
            terms,
            hard_state: wal.checkpoint.hard_state,
            commit: wal.checkpoint.commit.max(base.index),
            torn_tail,
        };
        Ok((wal, opened))
    }
}
