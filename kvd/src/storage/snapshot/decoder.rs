//! From the bytes of a snapshot to the state, however the bytes are cut into pieces on their way.

use super::error::SnapshotError;
use super::meta::SnapshotMeta;
use bytes::Bytes;
use kvclient::snapshot::{Decoder, HEADER_BYTES, Part, Totals};

/// What stands in a snapshot, in this order: once what it holds, then the data in pieces as they were written, then the
/// totals, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotItem {
    /// What it holds.
    Meta(SnapshotMeta),
    /// A piece of data.
    Data(Bytes),
    /// All was there.
    End(Totals),
}

/// Decodes one snapshot: [`SnapshotDecoder::feed`] takes bytes as they come, [`SnapshotDecoder::next_item`] gives what
/// is complete and checked, [`SnapshotDecoder::finish`] says whether that was all.
///
/// Keeps at most one part and what was fed last, if the items are taken after each feeding.
#[derive(Debug, Default)]
pub struct SnapshotDecoder {
    decoder: Decoder,
    /// Why the head, undamaged as it is, means nothing here.
    failed: Option<SnapshotError>,
}

impl SnapshotDecoder {
    /// At the beginning of a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// The next item; `None` if more bytes are needed for it, or after the last.
    ///
    /// # Errors
    /// [`SnapshotError`], and the same ever after.
    pub fn next_item(&mut self) -> Result<Option<SnapshotItem>, SnapshotError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        Ok(match self.decoder.next_part()? {
            None => None,
            Some(Part::Data(data)) => Some(SnapshotItem::Data(data)),
            Some(Part::End(totals)) => Some(SnapshotItem::End(totals)),
            Some(Part::Head(head)) => {
                let meta = SnapshotMeta::of(head).ok_or_else(|| {
                    let offset = HEADER_BYTES as u64;
                    let cause = "what it says of the cluster is of no known form".to_owned();
                    self.failed.insert(SnapshotError::Damaged { offset, cause }).clone()
                })?;
                Some(SnapshotItem::Meta(meta))
            }
        })
    }

    /// No more bytes follow: how much data there was in the whole snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`], if the snapshot is not over, or if what was fed has not all been taken.
    pub fn finish(&self) -> Result<Totals, SnapshotError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.decoder.finish(),
        }
    }
}
