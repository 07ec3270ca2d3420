//! The bytes of a snapshot's pieces.
//!
//! Entries follow one another without anything in between, and a piece ends where it is full, even in the middle of an
//! entry: an item of many megabytes takes many pieces, none of which delays others for long. So the boundaries of
//! pieces carry no meaning.

use super::hash::Kind;
use super::snapshot::{RestoreError, malformed};
use bytes::Bytes;
use std::borrow::Cow;

/// Bytes of an entry before its content.
pub(super) const ENTRY_HEADER_BYTES: usize = 5;

/// Most entries that one piece may look at, of any kind: each may cost a wait for memory, even if it is small or
/// skipped, and a piece is written under the store's lock.
pub(super) const ENTRIES_PER_PIECE_MAX: usize = 2048;

/// Most memory allocated for a piece before its bytes are written.
const PIECE_CAPACITY_MAX: usize = 1 << 20;

/// The canonical bytes of an item or a session, in up to two parts: a long value is not copied together with the bytes
/// before it.
pub(super) struct Content<'a> {
    pub(super) head: Cow<'a, [u8]>,
    pub(super) tail: &'a [u8],
}

impl Content<'_> {
    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// Writes one piece: entries, the first and the last of them perhaps in part.
pub(super) struct PieceWriter {
    bytes: Vec<u8>,
    bytes_max: usize,
    looked_at: usize,
}

impl PieceWriter {
    /// Begins a piece of at most `bytes_max` bytes, but of one at least.
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.max(1);
        Self { bytes: Vec::with_capacity(bytes_max.min(PIECE_CAPACITY_MAX)), bytes_max, looked_at: 0 }
    }

    /// Returns true if nothing more may be put into the piece.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= self.bytes_max || self.looked_at >= ENTRIES_PER_PIECE_MAX
    }

    /// Skips an entry.
    pub(super) fn skip(&mut self) {
        self.looked_at += 1;
    }

    /// Writes as much of an entry as fits; its first `written` bytes are in earlier pieces. Returns the total number of
    /// its bytes written so far, or `None` once all of them are.
    ///
    /// | offset | size   | field of an entry |
    /// |--------|--------|-------------------|
    /// | 0      | 1      | 1 item, 2 session, 4 lease |
    /// | 1      | 4      | length of the content, lowest byte first |
    /// | 5      | varies | content: canonical bytes of the item, the session or the lease |
    pub(super) fn put(&mut self, kind: Kind, content: &Content<'_>, written: usize) -> Option<usize> {
        self.looked_at += 1;
        let length = u32::try_from(content.len()).expect("an item is shorter than 4 GiB");
        let mut header = [kind as u8; ENTRY_HEADER_BYTES];
        header[1..].copy_from_slice(&length.to_le_bytes());

        let (mut skip, mut now_written) = (written, written);
        for part in [&header, &*content.head, content.tail] {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            let room = self.bytes_max - self.bytes.len();
            let taken = &rest[..rest.len().min(room)];
            self.bytes.extend_from_slice(taken);
            now_written += taken.len();
        }
        (now_written < ENTRY_HEADER_BYTES + content.len()).then_some(now_written)
    }

    /// Returns the piece.
    pub(super) fn finish(self) -> Bytes {
        self.bytes.into()
    }
}

/// One entry, with its content.
pub(super) enum Entry<'a> {
    Item(&'a [u8]),
    Session(&'a [u8]),
    Lease(&'a [u8]),
}

/// Splits off the first entry, if it is complete.
pub(super) fn split_entry(bytes: &[u8]) -> Result<Option<(Entry<'_>, &[u8])>, RestoreError> {
    let Some(([kind, length @ ..], rest)) = bytes.split_first_chunk::<ENTRY_HEADER_BYTES>() else { return Ok(None) };
    let entry = match *kind {
        kind if kind == Kind::Item as u8 => Entry::Item,
        kind if kind == Kind::Session as u8 => Entry::Session,
        kind if kind == Kind::Lease as u8 => Entry::Lease,
        _ => return Err(malformed("kind of an entry")),
    };
    let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
    Ok(split.map(|(content, rest)| (entry(content), rest)))
}
