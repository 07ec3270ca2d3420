//! [`Wal::open`]: the log that is there is read, or one is begun.

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

/// Length of a segment if nothing else is asked for.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 << 20;

/// Shortest segment.
const SEGMENT_BYTES_MIN: u64 = 1024;

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Length of new segments in bytes, within limits and rounded down to a multiple of eight.
    pub segment_bytes: u64,
    /// A random number, drawn anew each time the log is opened. It keeps users' data from looking like a batch.
    pub salt: u64,
    /// The last entry that need not be in the log, because a durable snapshot has it.
    pub base: LogBase,
}

impl WalOptions {
    /// Segments of [`SEGMENT_BYTES_DEFAULT`] and no snapshot.
    pub fn new(salt: u64) -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT, salt, base: LogBase::NONE }
    }
}

impl Wal {
    /// Whether there is a log in `disk`, be it empty or damaged.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn exists(disk: &dyn Disk) -> Result<bool, StorageError> {
        Ok(LogFiles::find(disk)?.is_some())
    }

    /// The first entry that the log in `disk` has, or where it will stand; `None` if there is no log. It cannot be
    /// opened with a base further back than right before that.
    ///
    /// # Errors
    /// As those of [`Wal::open`].
    pub fn begins_with(disk: &dyn Disk, node_id: NodeId) -> Result<Option<LogIndex>, StorageError> {
        let Some(files) = LogFiles::find(disk)? else { return Ok(None) };
        let first = SegmentFile::open(disk, *files.log.start(), node_id)?;
        Ok(Some(first.header.checkpoint.next_index))
    }

    /// Opens the log in `disk`, or begins one if there is none, and hands every record that follows the base to
    /// `on_record`, in order. Where the first segments have gone, what they said of the hard state comes first.
    ///
    /// A log that does not follow its base is begun anew after it: it ends before the base, or has an entry of another
    /// term there (paper Figure 13, step 7).
    ///
    /// All that `on_record` was given is durable when this returns `Ok`, and means nothing if it does not.
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
                // It got the snapshot in a later term than it has on its disk, and promised nothing in that one.
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
