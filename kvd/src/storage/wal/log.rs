//! The log as its writer sees it: [`Wal::open`] and [`Wal::append`].

use super::super::disk::{Disk, File};
use super::super::error::StorageError;
use super::checkpoint::Checkpoint;
use super::format::{BATCH_ALIGN, BATCH_HEADER_BYTES, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, align};
use super::index::{BatchPlace, Index, Outline};
use super::reader::WalReader;
use super::record;
use super::recovery::{LastSegment, OpenedLog, recover};
use super::segment::{NEW_FILE, SEGMENT_BYTES_MAX, activate, file_name, make_zeroed, sequence_of};
use super::spare::SpareMaker;
use crate::mutants::{self, Mutant};
use crate::raft::{LogIndex, NodeId, Record};
use std::fmt;
use std::sync::{Arc, RwLock};

/// Longest batch, with its header.
pub const BATCH_BYTES_MAX: usize = 256 << 20;

/// Length of a segment if nothing else is asked for.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 << 20;

/// Shortest segment.
const SEGMENT_BYTES_MIN: u64 = 1024;

/// What the buffer for batches may keep of its memory from one to the next.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Length of new segments in bytes, within limits and rounded down to a multiple of eight.
    pub segment_bytes: u64,
    /// A random number, drawn anew each time the log is opened. It keeps users' data from looking like a batch.
    pub salt: u64,
    /// The last entry that need not be in the log, because a snapshot has it; zero without one.
    pub snapshot_index: LogIndex,
}

impl WalOptions {
    /// Segments of [`SEGMENT_BYTES_DEFAULT`] and no snapshot.
    pub fn new(salt: u64) -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT, salt, snapshot_index: LogIndex(0) }
    }
}

/// What an append did beside making its records durable.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// It began a new segment, so the spare is used up: time for [`SpareMaker::make`].
    pub began_segment: bool,
}

/// The write-ahead log of one node, for one writer.
pub struct Wal {
    disk: Arc<dyn Disk>,
    node_id: NodeId,
    salt: u64,
    segment_bytes: u64,
    active: ActiveSegment,
    checkpoint: Checkpoint,
    index: Arc<RwLock<Index>>,
    spare: SpareMaker,
    /// The batch being written; kept for its memory.
    buffer: Vec<u8>,
    outline: Outline,
    /// The last batch is followed by one that bears witness of it.
    is_sealed: bool,
    is_poisoned: bool,
}

/// The segment that is appended to.
struct ActiveSegment {
    file: Box<dyn File>,
    name: String,
    sequence: u64,
    salt: u64,
    /// Where the next batch goes.
    position: u64,
    /// Length of the file.
    bytes: u64,
}

impl Wal {
    /// Whether there is a log in `disk`, be it empty or damaged.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn exists(disk: &dyn Disk) -> Result<bool, StorageError> {
        let names = disk.list().map_err(StorageError::io("list", "the data directory"))?;
        Ok(names.iter().any(|name| sequence_of(name).is_some()))
    }

    /// Opens the log in `disk`, or begins one if there is none, and hands every record in it to `on_record`, in
    /// order. Where the first segments have gone, what they said of hard state and commit index comes first.
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
        let WalOptions { segment_bytes, salt, snapshot_index } = options;
        let segment_bytes =
            segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / BATCH_ALIGN as u64 * BATCH_ALIGN as u64;
        let spare = SpareMaker::new(Arc::clone(&disk), segment_bytes);
        let (checkpoint, index, active, torn_tail, created) = match recover(&*disk, node_id, snapshot_index, on_record)?
        {
            Some(found) => (found.checkpoint, found.index, found.active.into(), found.torn_tail, false),
            None => {
                let checkpoint = Checkpoint::EMPTY;
                let header = SegmentHeader { node_id, sequence: 1, salt: mix(salt, 1), checkpoint };
                let active = ActiveSegment::begin(&*disk, spare.take()?, &header, segment_bytes)?;
                let mut index = Index::new(checkpoint.next_index);
                index.add_segment(header.sequence, header.salt);
                (checkpoint, index, active, None, true)
            }
        };
        let opened = OpenedLog {
            created,
            first_index: index.first(),
            last_index: checkpoint.next_index.previous(),
            hard_state: checkpoint.hard_state,
            commit: checkpoint.commit,
            torn_tail,
        };
        let wal = Self {
            disk,
            node_id,
            salt,
            segment_bytes,
            active,
            checkpoint,
            index: Arc::new(RwLock::new(index)),
            spare,
            buffer: Vec::new(),
            outline: Outline::default(),
            is_sealed: created,
            is_poisoned: false,
        };
        Ok((wal, opened))
    }

    /// Appends the records as one batch. They are durable when this returns `Ok`; after an error it is unknown
    /// whether they are, and the log takes no more.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Poisoned`] ever after: end the process.
    ///
    /// # Panics
    /// If a record cannot follow what the log says already (an index that leaves a gap, a truncation of what is
    /// committed, a term or vote that goes back), or if the records are longer than [`BATCH_BYTES_MAX`].
    pub fn append(&mut self, records: &[Record]) -> Result<Appended, StorageError> {
        if self.is_poisoned {
            return Err(StorageError::Poisoned);
        }
        if records.is_empty() {
            return Ok(Appended::default());
        }
        self.is_poisoned = true; // until all has gone well
        let appended = self.write_batch(records)?;
        self.is_poisoned = false;
        self.is_sealed = false;
        Ok(appended)
    }

    /// Whether damage to any batch that matters would be noticed; see [`Wal::seal`].
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Appends a batch of no records if the last one has some. Then something bears witness that the last records were
    /// durable, so that damage to them is refused like any other and not taken for a write that never finished. To be
    /// called once the log has been idle for a moment: the next batch would do the same.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn seal(&mut self) -> Result<Appended, StorageError> {
        if self.is_poisoned {
            return Err(StorageError::Poisoned);
        }
        if self.is_sealed {
            return Ok(Appended::default());
        }
        self.is_poisoned = true; // until all has gone well
        let appended = self.write_batch(&[])?;
        self.is_poisoned = false;
        self.is_sealed = true;
        Ok(appended)
    }

    /// The last entry that was appended and not cut off; zero in an empty log.
    pub fn last_index(&self) -> LogIndex {
        self.checkpoint.next_index.previous()
    }

    /// Reads entries back while this log is appended to.
    pub fn reader(&self) -> WalReader {
        WalReader::new(Arc::clone(&self.disk), Arc::clone(&self.index))
    }

    /// Makes segments ahead of use, so that no append waits for one.
    pub fn spare_maker(&self) -> SpareMaker {
        self.spare.clone()
    }

    fn write_batch(&mut self, records: &[Record]) -> Result<Appended, StorageError> {
        let mut after = self.encode_records(records);
        let batch_bytes = self.buffer.len();
        let padded_bytes = align(batch_bytes);
        assert!(padded_bytes <= BATCH_BYTES_MAX, "a batch of {padded_bytes} bytes, of {BATCH_BYTES_MAX} at most");
        self.buffer.resize(padded_bytes, 0);

        let began_segment = self.active.position + padded_bytes as u64 > self.active.bytes;
        if began_segment {
            self.begin_segment(padded_bytes as u64)?;
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
        let mut index = self.index.write().expect("nothing panics while it holds the index");
        index.add_batch(place, &self.outline, after.next_index);
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        Ok(Appended { began_segment })
    }

    /// Puts the records into the buffer, after room for the header, and their outline beside it. Returns what the
    /// log will say after them.
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
            // Here, before lengths and offsets no longer fit their fields.
            assert!(self.buffer.len() <= BATCH_BYTES_MAX, "a batch of more than {BATCH_BYTES_MAX} bytes");
        }
        after
    }

    /// Goes on to a new segment with room for a batch of this length.
    fn begin_segment(&mut self, batch_bytes: u64) -> Result<(), StorageError> {
        let bytes_needed = SEGMENT_HEADER_BYTES as u64 + batch_bytes;
        let (file, bytes) = if bytes_needed <= self.segment_bytes {
            (self.spare.take()?, self.segment_bytes)
        } else {
            // A batch longer than a segment gets one that fits it.
            (make_zeroed(&*self.disk, NEW_FILE, bytes_needed)?, bytes_needed)
        };
        let sequence = self.active.sequence + 1;
        let salt = mix(self.salt, sequence);
        let header = SegmentHeader { node_id: self.node_id, sequence, salt, checkpoint: self.checkpoint };
        self.active = ActiveSegment::begin(&*self.disk, file, &header, bytes)?;
        self.index.write().expect("nothing panics while it holds the index").add_segment(sequence, salt);
        Ok(())
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

impl ActiveSegment {
    /// Turns a file of zeros into the segment to append to.
    fn begin(disk: &dyn Disk, file: Box<dyn File>, header: &SegmentHeader, bytes: u64) -> Result<Self, StorageError> {
        activate(disk, &*file, header)?;
        let SegmentHeader { sequence, salt, .. } = *header;
        Ok(Self { file, name: file_name(sequence), sequence, salt, position: SEGMENT_HEADER_BYTES as u64, bytes })
    }
}

impl From<LastSegment> for ActiveSegment {
    fn from(found: LastSegment) -> Self {
        let LastSegment { file, sequence, salt, position, bytes } = found;
        Self { file, name: file_name(sequence), sequence, salt, position, bytes }
    }
}

/// The salt of a segment: random as long as `salt` is, and another for each segment (splitmix64).
fn mix(salt: u64, sequence: u64) -> u64 {
    let mut mixed = salt.wrapping_add(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
