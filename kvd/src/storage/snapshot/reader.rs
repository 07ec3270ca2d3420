//! Reading a snapshot file, checking every byte of it.

use super::super::error::StorageError;
use super::error::{SnapshotError, in_file};
use super::meta::SnapshotMeta;
use super::names::file_name;
use crate::raft::LogBase;
use bytes::Bytes;
use kvclient::snapshot::{Decoder, Encoder, Part};
use kvd_disk::{Disk, File};

/// Bytes per read.
const READ_BYTES: usize = 256 << 10;

/// Reads one snapshot. The reader can go on even if the file is removed meanwhile.
#[derive(Debug)]
pub struct SnapshotReader {
    source: Source,
    meta: SnapshotMeta,
    damage: Option<SnapshotError>,
}

impl SnapshotReader {
    /// Opens the snapshot that ends with this entry, and reads its beginning.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Corrupt`], [`StorageError::UnknownVersion`].
    pub fn open(disk: &dyn Disk, last: LogBase) -> Result<Self, StorageError> {
        let name = file_name(last);
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        let mut source = Source { name, file, position: 0, chunk: vec![0; READ_BYTES], decoder: Decoder::new() };
        let first = source.next_part().map_err(|error| error.in_file(&source.name))?;
        let Some(Part::Head(head)) = first else { unreachable!("a snapshot begins with its head") };
        let meta = SnapshotMeta::of(head).map_err(|error| in_file(error, &source.name))?;
        if meta.place.last != last {
            let cause = format!("it is the snapshot that ends with entry {}, under a wrong name", meta.place.last);
            return Err(StorageError::corrupt(&source.name, 0, cause));
        }
        Ok(Self { source, meta, damage: None })
    }

    /// Returns the beginning of the snapshot.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Returns the length of the file in bytes.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn bytes(&self) -> Result<u64, StorageError> {
        self.source.file.size().map_err(StorageError::io("read", &self.source.name))
    }

    /// Returns the next piece, as it was written. Returns `None` after the last piece, once the whole file was found
    /// undamaged.
    ///
    /// # Errors
    /// [`StorageError::Io`], and [`StorageError::Corrupt`]: then the pieces before it are invalid as well.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, StorageError> {
        loop {
            match self.source.next_part() {
                Ok(Some(Part::Data(data))) => return Ok(Some(Piece::Data(data))),
                Ok(Some(Part::History(history))) => return Ok(Some(Piece::History(history))),
                Ok(Some(Part::Head(_) | Part::End(_))) => {}
                Ok(None) => return Ok(None),
                Err(ReadError::Storage(error)) => return Err(error),
                Err(ReadError::Snapshot(error)) => {
                    self.damage = Some(error.clone());
                    return Err(in_file(error, &self.source.name));
                }
            }
        }
    }

    /// Returns the damage that was found, if any.
    pub(super) fn damage(&self) -> Option<&SnapshotError> {
        self.damage.as_ref()
    }
}

/// A piece of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A piece of the state.
    Data(Bytes),
    /// A piece of the history before the state.
    History(Bytes),
}

/// Bytes of a snapshot file for sending, checked while they are read.
#[derive(Debug)]
pub struct SnapshotBytes {
    reader: SnapshotReader,
    encoder: Option<Encoder>,
    /// Bytes before the first piece.
    beginning: Vec<u8>,
    has_history: bool,
}

impl SnapshotBytes {
    /// Opens the snapshot that ends with this entry.
    ///
    /// # Errors
    /// As [`SnapshotReader::open`].
    pub fn open(disk: &dyn Disk, last: LogBase) -> Result<Self, StorageError> {
        let reader = SnapshotReader::open(disk, last)?;
        let (encoder, beginning) = Encoder::begin(&reader.meta().to_head());
        Ok(Self { reader, encoder: Some(encoder), beginning, has_history: true })
    }

    /// Leaves out the history: the state alone is a whole snapshot, too.
    #[must_use]
    pub fn without_history(self) -> Self {
        Self { has_history: false, ..self }
    }

    /// Returns the beginning of the snapshot.
    pub fn meta(&self) -> &SnapshotMeta {
        self.reader.meta()
    }

    /// Returns the number of bytes of the file, history included.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn length(&self) -> Result<u64, StorageError> {
        self.reader.bytes()
    }

    /// Replaces the content of `chunk` by the next bytes: by none at the end.
    ///
    /// # Errors
    /// As [`SnapshotReader::next_piece`].
    pub fn next_chunk(&mut self, chunk: &mut Vec<u8>) -> Result<(), StorageError> {
        chunk.clear();
        chunk.append(&mut self.beginning);
        let Some(encoder) = self.encoder.as_mut().filter(|_| chunk.is_empty()) else { return Ok(()) };
        loop {
            match self.reader.next_piece()? {
                Some(Piece::Data(data)) => {
                    chunk.extend_from_slice(&encoder.data(&data));
                    chunk.extend_from_slice(&data);
                }
                Some(Piece::History(_)) if !self.has_history => continue,
                Some(Piece::History(history)) => {
                    chunk.extend_from_slice(&encoder.history(&history));
                    chunk.extend_from_slice(&history);
                }
                None => chunk.extend(self.encoder.take().map(Encoder::end).into_iter().flatten()),
            }
            return Ok(());
        }
    }
}

/// A file with the decoder for its bytes.
#[derive(Debug)]
struct Source {
    name: String,
    file: Box<dyn File>,
    /// Offset of the next read.
    position: u64,
    chunk: Vec<u8>,
    decoder: Decoder,
}

enum ReadError {
    Storage(StorageError),
    Snapshot(SnapshotError),
}

impl ReadError {
    fn in_file(self, name: &str) -> StorageError {
        match self {
            Self::Storage(error) => error,
            Self::Snapshot(error) => in_file(error, name),
        }
    }
}

impl Source {
    /// Returns the next part; `None` at the end of the file, once all of it was found undamaged.
    fn next_part(&mut self) -> Result<Option<Part>, ReadError> {
        loop {
            if let Some(part) = self.decoder.next_part().map_err(ReadError::Snapshot)? {
                return Ok(Some(part));
            }
            let read = self.file.read_full_at(self.position, &mut self.chunk);
            let read = read.map_err(|cause| ReadError::Storage(StorageError::io("read", &self.name)(cause)))?;
            if read == 0 {
                return self.decoder.finish().map(|_| None).map_err(ReadError::Snapshot);
            }
            self.decoder.feed(&self.chunk[..read]);
            self.position += read as u64;
        }
    }
}
