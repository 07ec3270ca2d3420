//! Reading entries back, for followers that need older entries than memory holds.
//!
//! A reader sees durable entries that are not void, while another thread appends to the log. It locates entries by the
//! sparse [`Index`] and checks every batch as recovery does.

use super::super::error::StorageError;
use super::format::{BATCH_HEADER_BYTES, BatchHeader, align};
use super::index::{Gone, Index, Lost, Stretch};
use super::record::Records;
use super::segment::file_name;
use crate::raft::{Entry, LogIndex, Record};
use kvd_disk::{Disk, File};
use std::sync::{Arc, RwLock};

/// Bytes per read.
const READ_BYTES: usize = 64 << 10;

/// Reads entries out of a [`Wal`](super::Wal). Cheap to clone, for use on any thread.
#[derive(Clone, Debug)]
pub struct WalReader {
    disk: Arc<dyn Disk>,
    index: Arc<RwLock<Index>>,
}

impl WalReader {
    pub(super) fn new(disk: Arc<dyn Disk>, index: Arc<RwLock<Index>>) -> Self {
        Self { disk, index }
    }

    /// Reads the entries from `from` up to and including `to`, as they were at one moment of the call. Returns fewer if
    /// the log ends earlier, if they exceed `bytes_max` by [`Entry::size_bytes`], or if a later entry is damaged.
    /// Returns at least one, whatever its size, if the log reaches `from`.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] if the log begins after `from`; [`StorageError::Io`] and [`StorageError::Corrupt`]
    /// if `from` cannot be read: see [`WalReader::lost_with`].
    pub fn read(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Result<Vec<Entry>, StorageError> {
        // A truncation in mid-read would mix older entries with newer ones: then read again.
        loop {
            if let Some(entries) = self.read_unless_truncated(from, to, bytes_max)? {
                return Ok(entries);
            }
        }
    }

    /// Returns what may be lost if entry `index` cannot be read; `None` if the log does not have it.
    pub fn lost_with(&self, index: LogIndex) -> Option<Lost> {
        self.with_index(|log| log.lost_with(index))
    }

    /// Returns the last entry before the segment that follows this one; `None` while this one is the last.
    pub fn last_before_next_segment(&self, sequence: u64) -> Option<LogIndex> {
        self.with_index(|log| log.last_before_next_segment(sequence))
    }

    /// Returns whether the log has the segment of this number.
    pub fn has_segment(&self, sequence: u64) -> bool {
        self.with_index(|log| log.has_segment(sequence))
    }

    /// Returns the first entry of the log, or the index that it will get.
    pub fn first_index(&self) -> LogIndex {
        self.with_index(Index::first)
    }

    /// Returns about how many bytes of log follow entry `index`; the length of the whole log if the entry has left it.
    pub fn bytes_since(&self, index: LogIndex) -> u64 {
        self.with_index(|log| log.bytes_after(index))
    }

    /// Returns the last index with `bytes` or more bytes of log after it, as counted by [`WalReader::bytes_since`].
    /// Returns the index before the first entry if the log has fewer. Compaction up to that index leaves that many
    /// bytes for followers that are a little behind.
    pub fn last_with_bytes_after(&self, bytes: u64) -> LogIndex {
        self.with_index(|log| log.last_with_bytes_after(bytes))
    }

    fn read_unless_truncated(
        &self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Option<Vec<Entry>>, StorageError> {
        let mut page = Page { next: from, to, bytes_left: bytes_max, is_full: false, entries: Vec::new() };
        let truncations = self.with_index(Index::truncations);
        while page.wants_more() {
            let stretch = match self.with_index(|index| index.find(page.next)) {
                Ok(Some(stretch)) => stretch,
                Ok(None) => break,
                Err(Gone { first }) => return Err(StorageError::Compacted { index: page.next, first }),
            };
            // If compaction has removed the segment since, the index already says what is left.
            match self.read_stretch(&stretch, &mut page) {
                Ok(_is_there) => {}
                Err(damage) if damage.is_of_lost_bytes() && !page.entries.is_empty() => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok((self.with_index(Index::truncations) == truncations).then_some(page.entries))
    }

    /// Reads on from a mark until the page is full or the next mark takes over. Returns whether the segment still
    /// exists.
    fn read_stretch(&self, stretch: &Stretch, page: &mut Page) -> Result<bool, StorageError> {
        let mark = stretch.mark;
        let mut window = match Window::open(&*self.disk, file_name(mark.segment), stretch.end) {
            Ok(window) => window,
            Err(_) if !self.with_index(|index| index.has_segment(mark.segment)) => return Ok(false),
            Err(failure) => return Err(failure),
        };
        let (mut offset, mut sequence, mut record_offset) = (u64::from(mark.offset), mark.batch, mark.record_offset);
        while page.wants_more() && page.next < stretch.until {
            let header = BatchHeader::decode(window.get(offset, BATCH_HEADER_BYTES)?, stretch.salt);
            let header = header.filter(|header| header.sequence == sequence);
            let header = header.ok_or_else(|| window.corrupt(offset, format!("batch {sequence} is not there")))?;
            let batch = window.get(offset, header.batch_bytes())?;
            let Some(records) = header.records(batch) else {
                return Err(window.corrupt(offset, format!("batch {sequence} does not match its checksum")));
            };
            for record in Records::from_offset(records, record_offset) {
                match record {
                    Ok((_, Record::Entry(entry))) if entry.index < stretch.until => page.offer(entry),
                    Ok(_) => {}
                    Err(cause) => return Err(window.corrupt(offset, cause)),
                }
            }
            offset += align(header.batch_bytes()) as u64;
            sequence += 1;
            record_offset = 0;
        }
        Ok(true)
    }

    fn with_index<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read().expect("nothing panics while it holds the index"))
    }
}

/// Entries gathered by one call.
struct Page {
    /// Next entry that the page needs.
    next: LogIndex,
    to: LogIndex,
    bytes_left: usize,
    is_full: bool,
    entries: Vec<Entry>,
}

impl Page {
    fn wants_more(&self) -> bool {
        self.next <= self.to && !self.is_full
    }

    /// Takes the entry if it is the next one and there is room.
    fn offer(&mut self, entry: Entry) {
        if !self.wants_more() || entry.index != self.next {
            return;
        }
        let bytes = entry.size_bytes();
        if bytes > self.bytes_left && !self.entries.is_empty() {
            self.is_full = true;
            return;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.next = self.next.next();
        self.entries.push(entry);
    }
}

/// A part of a segment in memory, moved along as needed.
struct Window {
    file: Box<dyn File>,
    name: String,
    /// End of the readable part: an append may be writing after it.
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn open(disk: &dyn Disk, name: String, end: u64) -> Result<Self, StorageError> {
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        Ok(Self { file, name, end, start: 0, bytes: Vec::new() })
    }

    /// Returns the bytes at `offset`.
    fn get(&mut self, offset: u64, length: usize) -> Result<&[u8], StorageError> {
        let is_there = offset >= self.start && offset + length as u64 <= self.start + self.bytes.len() as u64;
        if !is_there {
            let left = self.end.saturating_sub(offset);
            if (length as u64) > left {
                return Err(self.corrupt(offset, "a batch goes on beyond the end of the log".to_owned()));
            }
            self.start = offset;
            self.bytes.resize(length.max(READ_BYTES).min(left as usize), 0);
            let read = self.file.read_full_at(offset, &mut self.bytes).map_err(StorageError::io("read", &self.name))?;
            self.bytes.truncate(read);
            if read < length {
                return Err(self.corrupt(offset, "the file is shorter than the log that was written to it".to_owned()));
            }
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + length])
    }

    fn corrupt(&self, offset: u64, cause: String) -> StorageError {
        StorageError::corrupt(&self.name, offset, cause)
    }
}
