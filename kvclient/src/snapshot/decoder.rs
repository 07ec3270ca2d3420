//! Decodes the bytes of a snapshot, in whatever pieces they arrive.

use super::error::SnapshotError;
use super::format::{
    BadHeader, FORMAT, HEADER_BYTES, PART_HEADER_BYTES, PartHeader, PartKind, Totals, decode_header, may_become_header,
};
use super::head::Head;
use bytes::{Buf, Bytes, BytesMut};

/// Parts of a snapshot, in this order: the head, then the data in pieces as they were written, then the history in
/// pieces, then the totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The snapshot's description of itself.
    Head(Head),
    /// A piece of data.
    Data(Bytes),
    /// A piece of the history before the state. Neither backups nor snapshots below level 3 have one.
    History(Bytes),
    /// The end of the snapshot.
    End(Totals),
}

/// Decodes one snapshot: [`Decoder::feed`] takes bytes as they arrive, [`Decoder::next_part`] returns parts that are
/// complete and checked, [`Decoder::finish`] checks that nothing is missing.
///
/// Keeps at most one part and the bytes fed last, if the parts are taken after each feeding.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    buffer: BytesMut,
    /// Offset in the snapshot at which the buffer begins.
    offset: u64,
    totals: Totals,
}

/// The expected next part.
#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    Head {
        cluster_id: u64,
        crc: u32,
    },
    Data {
        crc: u32,
    },
    /// No more data.
    History {
        crc: u32,
    },
    /// Nothing.
    Ended,
    /// Decoding has failed.
    Failed(SnapshotError),
}

impl Decoder {
    /// Creates a decoder at the beginning of a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next part; `None` if it needs more bytes, or after the last.
    ///
    /// # Errors
    /// [`SnapshotError`], and the same one on every later call.
    pub fn next_part(&mut self) -> Result<Option<Part>, SnapshotError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.decode().inspect_err(|error| self.state = State::Failed(error.clone()))
    }

    /// Ends decoding. Returns how much data there was in the whole snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`], if the snapshot is incomplete, or if parts have not been taken yet.
    pub fn finish(&self) -> Result<Totals, SnapshotError> {
        match &self.state {
            State::Ended if self.buffer.is_empty() => Ok(self.totals),
            State::Failed(error) => Err(error.clone()),
            State::Header if !may_become_header(&self.buffer) => Err(SnapshotError::NotASnapshot),
            _ => Err(self.damaged("it is cut short")),
        }
    }

    fn decode(&mut self) -> Result<Option<Part>, SnapshotError> {
        if matches!(self.state, State::Header) {
            let Some(bytes) = self.buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
            let (cluster_id, crc) = decode_header(bytes).map_err(|bad| match bad {
                BadHeader::NoSnapshot => SnapshotError::NotASnapshot,
                BadHeader::Damaged => self.damaged("its header does not match its checksum"),
                BadHeader::Version(found) => SnapshotError::UnknownVersion { found, supported: FORMAT },
            })?;
            self.advance(HEADER_BYTES);
            self.state = State::Head { cluster_id, crc };
        }
        let crc = match &self.state {
            State::Head { crc, .. } | State::Data { crc } | State::History { crc } => *crc,
            State::Ended if self.buffer.is_empty() => return Ok(None),
            State::Ended => return Err(self.damaged("there are bytes after its end")),
            State::Header | State::Failed(_) => unreachable!("settled above"),
        };
        let Some(bytes) = self.buffer.first_chunk::<PART_HEADER_BYTES>() else { return Ok(None) };
        let header = PartHeader::new(*bytes).map_err(|cause| self.damaged(cause))?;
        let part_bytes = PART_HEADER_BYTES + header.body_bytes();
        let Some(part) = self.buffer.get(..part_bytes) else { return Ok(None) };
        let checked = header.check(crc, &part[PART_HEADER_BYTES..]);
        let (kind, crc) = checked.map_err(|cause| self.damaged(cause))?;
        let part = self.take(kind, part_bytes)?;
        self.state = match kind {
            PartKind::Head | PartKind::Data => State::Data { crc },
            PartKind::History => State::History { crc },
            PartKind::End => State::Ended,
        };
        Ok(Some(part))
    }

    /// Takes a part that was found undamaged out of the buffer.
    fn take(&mut self, kind: PartKind, part_bytes: usize) -> Result<Part, SnapshotError> {
        let (offset, mut body) = (self.offset, self.buffer.split_to(part_bytes).freeze());
        let damaged = |cause: &str| SnapshotError::Damaged { offset, cause: cause.to_owned() };
        self.offset += part_bytes as u64;
        body.advance(PART_HEADER_BYTES);
        match (kind, &self.state) {
            (PartKind::Head, State::Head { cluster_id, .. }) => {
                let head = Head::decode(*cluster_id, &body);
                head.map(Part::Head).ok_or_else(|| damaged("what it says of itself is of no known form"))
            }
            (PartKind::Data, State::Data { .. }) => {
                self.totals.add(&body);
                Ok(Part::Data(body))
            }
            (PartKind::History, State::Data { .. } | State::History { .. }) => Ok(Part::History(body)),
            (PartKind::End, State::Data { .. } | State::History { .. }) => {
                let is_right = Totals::decode(&body) == Some(self.totals);
                let end = is_right.then_some(Part::End(self.totals));
                end.ok_or_else(|| damaged("its end counts other parts than there are"))
            }
            (PartKind::Head | PartKind::Data | PartKind::History, _) | (PartKind::End, _) => {
                Err(damaged("its parts are in the wrong order"))
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.offset += bytes as u64;
    }

    fn damaged(&self, cause: impl Into<String>) -> SnapshotError {
        SnapshotError::Damaged { offset: self.offset, cause: cause.into() }
    }
}
