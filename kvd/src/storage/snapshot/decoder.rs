//! From the bytes of a snapshot to the state, however the bytes are cut into pieces on their way.

use super::error::SnapshotError;
use super::format::{
    BadHeader, FORMAT, HEADER_BYTES, PART_HEADER_BYTES, PartHeader, PartKind, SnapshotTotals, decode_header,
};
use super::meta::SnapshotMeta;
use bytes::{Buf, Bytes, BytesMut};

/// What stands in a snapshot, in this order: once what it holds, then the data in pieces as they were written, then the
/// totals, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotItem {
    /// What it holds.
    Meta(SnapshotMeta),
    /// A piece of data.
    Data(Bytes),
    /// All was there.
    End(SnapshotTotals),
}

/// Decodes one snapshot: [`SnapshotDecoder::feed`] takes bytes as they come, [`SnapshotDecoder::next_item`] gives what
/// is complete and checked, [`SnapshotDecoder::finish`] says whether that was all.
///
/// Keeps at most one part and what was fed last, if the items are taken after each feeding.
#[derive(Debug, Default)]
pub struct SnapshotDecoder {
    state: State,
    buffer: BytesMut,
    /// Where in the snapshot the buffer begins.
    offset: u64,
    totals: SnapshotTotals,
}

/// What is to come next.
#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    Meta {
        cluster_id: u64,
        crc: u32,
    },
    Data {
        crc: u32,
    },
    /// Nothing.
    Ended,
    /// Nothing that could be understood.
    Failed(SnapshotError),
}

impl SnapshotDecoder {
    /// At the beginning of a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item; `None` if more bytes are needed for it, or after the last.
    ///
    /// # Errors
    /// [`SnapshotError`], and the same ever after.
    pub fn next_item(&mut self) -> Result<Option<SnapshotItem>, SnapshotError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.decode().inspect_err(|error| self.state = State::Failed(error.clone()))
    }

    /// No more bytes follow: how much data there was in the whole snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`], if the snapshot is not over, or if what was fed has not all been taken.
    pub fn finish(&self) -> Result<SnapshotTotals, SnapshotError> {
        match &self.state {
            State::Ended if self.buffer.is_empty() => Ok(self.totals),
            State::Failed(error) => Err(error.clone()),
            _ => Err(self.damaged("it is cut short")),
        }
    }

    fn decode(&mut self) -> Result<Option<SnapshotItem>, SnapshotError> {
        if matches!(self.state, State::Header) {
            let Some(bytes) = self.buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
            let (cluster_id, crc) = decode_header(bytes).map_err(|bad| match bad {
                BadHeader::NoSnapshot => self.damaged("it does not begin as a snapshot does"),
                BadHeader::Damaged => self.damaged("its header does not match its checksum"),
                BadHeader::Version(found) => SnapshotError::UnknownVersion { found, supported: FORMAT },
            })?;
            self.advance(HEADER_BYTES);
            self.state = State::Meta { cluster_id, crc };
        }
        let crc = match &self.state {
            State::Meta { crc, .. } | State::Data { crc } => *crc,
            State::Ended if self.buffer.is_empty() => return Ok(None),
            State::Ended => return Err(self.damaged("it goes on after its end")),
            State::Header | State::Failed(_) => unreachable!("settled above"),
        };
        let Some(bytes) = self.buffer.first_chunk::<PART_HEADER_BYTES>() else { return Ok(None) };
        let header = PartHeader::new(*bytes).map_err(|cause| self.damaged(cause))?;
        let part_bytes = PART_HEADER_BYTES + header.body_bytes();
        let Some(part) = self.buffer.get(..part_bytes) else { return Ok(None) };
        let checked = header.check(crc, &part[PART_HEADER_BYTES..]);
        let (kind, crc) = checked.map_err(|cause| self.damaged(cause))?;
        let item = self.item(kind, part_bytes)?;
        self.state = if kind == PartKind::End { State::Ended } else { State::Data { crc } };
        Ok(Some(item))
    }

    /// Takes a part that was found undamaged out of the buffer.
    fn item(&mut self, kind: PartKind, part_bytes: usize) -> Result<SnapshotItem, SnapshotError> {
        let (offset, mut body) = (self.offset, self.buffer.split_to(part_bytes).freeze());
        let damaged = |cause: &str| SnapshotError::Damaged { offset, cause: cause.to_owned() };
        self.offset += part_bytes as u64;
        body.advance(PART_HEADER_BYTES);
        match (kind, &self.state) {
            (PartKind::Meta, State::Meta { cluster_id, .. }) => {
                let meta = SnapshotMeta::decode(*cluster_id, &body);
                meta.map(SnapshotItem::Meta).ok_or_else(|| damaged("what it says of itself is of no known form"))
            }
            (PartKind::Data, State::Data { .. }) => {
                self.totals.add(&body);
                Ok(SnapshotItem::Data(body))
            }
            (PartKind::End, State::Data { .. }) if SnapshotTotals::decode(&body) == Some(self.totals) => {
                Ok(SnapshotItem::End(self.totals))
            }
            (PartKind::End, State::Data { .. }) => Err(damaged("its end counts other parts than there are")),
            (PartKind::Meta | PartKind::Data | PartKind::End, _) => Err(damaged("its parts are in the wrong order")),
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
