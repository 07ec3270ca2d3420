//! From a state to the bytes of its snapshot, part by part.

use super::meta::SnapshotMeta;
use kvclient::snapshot::{END_BYTES, Encoder, PART_HEADER_BYTES};

/// Encodes one snapshot: what [`SnapshotEncoder::begin`] returns comes first, then each part, then the end.
///
/// Bodies are not copied: what comes before each is handed out, for the caller to send both.
#[derive(Clone, Debug)]
pub struct SnapshotEncoder(Encoder);

impl SnapshotEncoder {
    /// Begins a snapshot, and returns its first bytes.
    ///
    /// # Panics
    /// If the configuration and the summary come to more than [`PART_BYTES_MAX`](super::PART_BYTES_MAX), or if no
    /// snapshot can end with that entry.
    pub fn begin(meta: &SnapshotMeta) -> (Self, Vec<u8>) {
        let (encoder, bytes) = Encoder::begin(&meta.to_head());
        (Self(encoder), bytes)
    }

    /// What comes before this piece of data. The data itself comes after it.
    ///
    /// # Panics
    /// If it is longer than [`PART_BYTES_MAX`](super::PART_BYTES_MAX).
    pub fn data(&mut self, data: &[u8]) -> [u8; PART_HEADER_BYTES] {
        self.0.data(data)
    }

    /// The last bytes of the snapshot.
    pub fn end(self) -> [u8; END_BYTES] {
        self.0.end()
    }
}
