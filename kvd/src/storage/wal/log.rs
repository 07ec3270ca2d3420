//! The log as its writer sees it: [`Wal::append`] and [`Wal::reset_to`].

use super::super::error::StorageError;
use super::active::{ActiveSegment, mix};
use super::checkpoint::Checkpoint;
use super::compaction::Compactor;
use super::files::remove_segments;
use super::format::{BATCH_BYTES_MAX, BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, align};
use super::index::{BatchPlace, Index, Outline};
use super::reader::WalReader;
use super::record;
use super::segment::{NEW_FILE, make_zeroed};
use super::spare::SpareMaker;
use crate::mutants::{self, Mutant};
use crate::raft::{HardState, LogBase, LogIndex, LogRestart, LogWrite, NodeId, Record};
use kvd_disk::Disk;
use std::fmt;
use std::sync::{Arc, RwLock};

/// Memory that the batch buffer may keep from one batch to the next, in bytes.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Side effects of an append, apart from making its records durable.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The append began a new segment and used up the spare: call [`SpareMaker::make`].
    pub began_segment: bool,
}

/// The write-ahead log of one node, for one writer.
pub struct Wal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) node_id: NodeId,
    pub(super) salt: u64,
    pub(super) segment_bytes: u64,
    pub(super) active: ActiveSegment,
    pub(super) checkpoint: Checkpoint,
    pub(super) index: Arc<RwLock<Index>>,
    pub(super) compactor: Compactor,
    pub(super) spare: SpareMaker,
    /// Buffer for the batch being written; kept for its memory.
    pub(super) buffer: Vec<u8>,
    pub(super) outline: Outline,
    /// True if something follows the last batch that proves that the batch was durable.
    pub(super) is_sealed: bool,
    pub(super) is_poisoned: bool,
}

impl Wal {
    /// Appends the records as one batch. They are durable when this returns `Ok`. After an error it is unknown whether
    /// they are, and the log accepts no more.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Poisoned`] from every later call: end the process.
    ///
    /// # Panics
    /// If a record cannot follow the current state of the log (an index that leaves a gap, a truncation of committed
    /// entries, a term or vote that goes back), or if the records are longer than [`BATCH_BYTES_MAX`].
    pub fn append(&mut self, records: &[Record]) -> Result<Appended, StorageError> {
        if records.is_empty() && !self.is_poisoned {
            return Ok(Appended::default());
        }
        let appended = self.unless_poisoned(|wal| wal.write_batch(records))?;
        self.is_sealed = false;
        Ok(appended)
    }

    /// Makes a write of consensus durable: resets the log if the write says so, and appends the records.
    ///
    /// # Errors
    /// As [`Wal::append`].
    ///
    /// # Panics
    /// As [`Wal::reset_to`] and [`Wal::append`].
    pub fn write(&mut self, write: &LogWrite) -> Result<Appended, StorageError> {
        let restarted = match write.restart {
            Some(LogRestart { base, hard_state }) => self.reset_to(base, hard_state)?,
            None => Appended::default(),
        };
        let appended = self.append(&write.records)?;
        Ok(Appended { began_segment: restarted.began_segment || appended.began_segment })
    }

    /// Returns whether damage to any batch that matters would be noticed; see [`Wal::seal`].
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Appends a batch of no records if the last batch has some. The new batch proves that the last records were
    /// durable, so that damage to them is refused like any other and not mistaken for a write that never finished. Call
    /// this once the log has been idle for a moment: the next batch with records would have the same effect.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn seal(&mut self) -> Result<Appended, StorageError> {
        if self.is_sealed && !self.is_poisoned {
            return Ok(Appended::default());
        }
        let appended = self.unless_poisoned(|wal| wal.write_batch(&[]))?;
        self.is_sealed = true;
        Ok(appended)
    }

    /// Restarts the log after `base`, the last entry of a durable snapshot, with this hard state: all entries of the
    /// log become void. Durable when this returns `Ok`; after an error the log is the old one or the new one, and
    /// accepts no more.
    ///
    /// A crash before that leaves the old log, which [`Wal::open`] then restarts, unless it has the base: then the
    /// entries after the base stay, as they may (paper Figure 13, step 6).
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Poisoned`] from every later call: end the process.
    ///
    /// # Panics
    /// If entries after the base are committed, if the hard state goes back, or if its term is before the term of the
    /// base.
    pub fn reset_to(&mut self, base: LogBase, hard_state: HardState) -> Result<Appended, StorageError> {
        let after = match self.checkpoint.reset_to(base, hard_state) {
            Ok(after) => after,
            Err(mistake) => panic!("the log cannot be begun anew: {mistake}"),
        };
        self.unless_poisoned(|wal| {
            // A gap in the numbers of segments makes everything before it void.
            let header = wal.begin_segment(wal.active.sequence + 2, after, 0)?;
            wal.checkpoint = after;
            let void = wal.with_index(|index| index.reset(after.next_index, header.sequence, header.salt));
            remove_segments(&*wal.disk, &void)?;
            // The new header proves it, for everything before it.
            wal.is_sealed = true;
            Ok(Appended { began_segment: true })
        })
    }

    /// Starts a new segment if segment `sequence` is the one appended to. A segment that has ended can be removed once
    /// a snapshot holds all of it.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn leave_segment(&mut self, sequence: u64) -> Result<Appended, StorageError> {
        if self.active.sequence != sequence && !self.is_poisoned {
            return Ok(Appended::default());
        }
        self.unless_poisoned(|wal| {
            let header = wal.begin_segment(wal.active.sequence + 1, wal.checkpoint, 0)?;
            wal.with_index(|index| index.add_segment(header.sequence, header.salt));
            // The new header proves it, for everything before it.
            wal.is_sealed = true;
            Ok(Appended { began_segment: true })
        })
    }

    /// Runs a step that may fail. After a failure the log accepts no more.
    fn unless_poisoned<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.is_poisoned {
            return Err(StorageError::Poisoned);
        }
        self.is_poisoned = true; // until all has gone well
        let done = act(self)?;
        self.is_poisoned = false;
        Ok(done)
    }

    fn with_index<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.index.write().expect("nothing panics while it holds the index"))
    }

    /// Returns the last entry that was appended and not truncated; zero in an empty log.
    pub fn last_index(&self) -> LogIndex {
        self.checkpoint.next_index.previous()
    }

    /// Returns a reader for entries, usable while this log is appended to.
    pub fn reader(&self) -> WalReader {
        WalReader::new(Arc::clone(&self.disk), Arc::clone(&self.index))
    }

    /// Returns the compactor, which removes the beginning of the log once a snapshot holds it.
    pub fn compactor(&self) -> Compactor {
        self.compactor.clone()
    }

    /// Returns the spare maker, which makes segments ahead of use, so that no append waits for one.
    pub fn spare_maker(&self) -> SpareMaker {
        self.spare.clone()
    }

    fn write_batch(&mut self, records: &[Record]) -> Result<Appended, StorageError> {
        let mut after = self.encode_records(records);
        let batch_bytes = self.buffer.len();
        let padded_bytes = align(batch_bytes);
        assert!(padded_bytes <= BATCH_BYTES_MAX, "a batch of {padded_bytes} bytes, of {BATCH_BYTES_MAX} at most");
        self.buffer.resize(padded_bytes, 0);

        let began_segment = !self.active.has_room(padded_bytes as u64);
        if began_segment {
            let header = self.begin_segment(self.active.sequence + 1, self.checkpoint, padded_bytes as u64)?;
            self.with_index(|index| index.add_segment(header.sequence, header.salt));
        }
        let Checkpoint { next_batch, chain, .. } = self.checkpoint;
        let records = &self.buffer[BATCH_HEADER_BYTES..batch_bytes];
        let (header, crc) = BatchHeader::encode(self.active.salt, next_batch, chain, records);
        self.buffer[..BATCH_HEADER_BYTES].copy_from_slice(&header);
        let ActiveSegment { file, name, position, .. } = &self.active;
        file.write_all_at(*position, &self.buffer).map_err(StorageError::io("write", name))?;
        let synced =
            file.sync().or_else(|error| if mutants::is_on(Mutant::SyncRetried) { file.sync() } else { Err(error) });
        synced.map_err(StorageError::io("sync", name))?;

        after.end_batch(crc);
        self.checkpoint = after;
        let offset = self.active.position;
        self.active.position += padded_bytes as u64;
        let place = BatchPlace { segment: self.active.sequence, batch: next_batch, offset, end: self.active.position };
        self.with_index(|index| index.add_batch(place, &self.outline, &after));
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(Appended { began_segment })
    }

    /// Puts the records into the buffer, after room for the header, and their outline beside it. Returns the state of
    /// the log after them.
    fn encode_records(&mut self, records: &[Record]) -> Checkpoint {
        let mut after = self.checkpoint;
        self.outline.clear();
        self.buffer.clear();
        self.buffer.resize(BATCH_HEADER_BYTES, 0);
        for record in records {
            if let Err(mistake) = after.apply(record) {
                panic!("a record that cannot be appended to the log: {mistake}");
            }
            self.outline.note((self.buffer.len() - BATCH_HEADER_BYTES) as u32, record);
            record::encode(record, &mut self.buffer);
            // Checked here, before lengths and offsets no longer fit their fields.
            assert!(self.buffer.len() <= BATCH_BYTES_MAX, "a batch of more than {BATCH_BYTES_MAX} bytes");
        }
        after
    }

    /// Starts a new segment of this number with room for a batch of this length.
    fn begin_segment(
        &mut self,
        sequence: u64,
        checkpoint: Checkpoint,
        batch_bytes: u64,
    ) -> Result<SegmentHeader, StorageError> {
        let bytes_needed = SEGMENT_HEADER_BYTES as u64 + batch_bytes;
        let (file, bytes) = if bytes_needed <= self.segment_bytes {
            (self.spare.take()?, self.segment_bytes)
        } else {
            // A batch longer than a segment gets a segment that fits it.
            (make_zeroed(&*self.disk, NEW_FILE, bytes_needed)?, bytes_needed)
        };
        let header = SegmentHeader { node_id: self.node_id, sequence, salt: mix(self.salt, sequence), checkpoint };
        self.active = ActiveSegment::begin(&*self.disk, file, &header, bytes)?;
        Ok(header)
    }
}

// Not derived: the buffer holds users' values.
impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("file", &self.active.name)
            .field("position", &self.active.position)
            .field("checkpoint", &self.checkpoint)
            .field("is_poisoned", &self.is_poisoned)
            .finish_non_exhaustive()
    }
}
