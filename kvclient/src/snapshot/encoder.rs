//! Encodes a state as the bytes of a snapshot, part by part.

use super::format::{END_BYTES, PART_HEADER_BYTES, PartKind, Totals, decode_header, encode_header, encode_part_header};
use super::head::Head;

/// Encodes one snapshot: first the bytes of [`Encoder::begin`], then each part, then the end.
///
/// Bodies are not copied: the encoder returns the header of each part, and the caller sends header and body.
#[derive(Clone, Debug)]
pub struct Encoder {
    crc: u32,
    totals: Totals,
}

impl Encoder {
    /// Begins a snapshot, and returns its first bytes.
    ///
    /// # Panics
    /// If the head is longer than [`PART_BYTES_MAX`](super::PART_BYTES_MAX).
    pub fn begin(head: &Head) -> (Self, Vec<u8>) {
        let header = encode_header(head.cluster_id);
        let (_, crc) = decode_header(&header).expect("a header that was just made");
        let mut encoder = Self { crc, totals: Totals::default() };
        let body = head.encode();
        let part = encoder.part(PartKind::Head, &body);
        (encoder, [&header[..], &part, &body].concat())
    }

    /// Returns the header of this piece of data. The data itself follows it.
    ///
    /// # Panics
    /// If it is longer than [`PART_BYTES_MAX`](super::PART_BYTES_MAX).
    pub fn data(&mut self, data: &[u8]) -> [u8; PART_HEADER_BYTES] {
        self.totals.add(data);
        self.part(PartKind::Data, data)
    }

    /// Returns the header of this piece of history, which comes after the data. The history itself follows it.
    ///
    /// # Panics
    /// If it is longer than [`PART_BYTES_MAX`](super::PART_BYTES_MAX).
    pub fn history(&mut self, history: &[u8]) -> [u8; PART_HEADER_BYTES] {
        self.part(PartKind::History, history)
    }

    /// Returns the last bytes of the snapshot.
    pub fn end(mut self) -> [u8; END_BYTES] {
        let body = self.totals.encode();
        let part = self.part(PartKind::End, &body);
        let mut bytes = [0; END_BYTES];
        bytes[..PART_HEADER_BYTES].copy_from_slice(&part);
        bytes[PART_HEADER_BYTES..].copy_from_slice(&body);
        bytes
    }

    fn part(&mut self, kind: PartKind, body: &[u8]) -> [u8; PART_HEADER_BYTES] {
        let (header, crc) = encode_part_header(kind, self.crc, body);
        self.crc = crc;
        header
    }
}
