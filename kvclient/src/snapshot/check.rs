//! Checking that bytes are a complete snapshot, and describing it without restoring it.

use super::decoder::{Decoder, Part};
use super::error::SnapshotError;
use super::head::Head;
use super::summary::Summary;

/// Description of a complete and undamaged snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The cluster it belongs to, and its last entry.
    pub head: Head,
    /// Summary of the data; `None` if it is of a format that this version does not know.
    pub summary: Option<Summary>,
    /// Length of the snapshot in bytes.
    pub bytes: u64,
}

/// Checks every byte of a snapshot as it passes, and keeps at most one part of it.
///
/// ```
/// use kvclient::snapshot::{Checker, SnapshotError};
///
/// let mut checker = Checker::new();
/// let error = checker.feed(b"something else, which is longer than a header is").unwrap_err();
/// assert_eq!(error, SnapshotError::NotASnapshot);
/// ```
#[derive(Debug, Default)]
pub struct Checker {
    decoder: Decoder,
    head: Option<Head>,
    bytes: u64,
}

impl Checker {
    /// Creates a checker at the beginning of a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`SnapshotError`], as soon as the bytes so far cannot be the beginning of a snapshot.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.bytes += bytes.len() as u64;
        self.decoder.feed(bytes);
        while let Some(part) = self.decoder.next_part()? {
            if let Part::Head(head) = part {
                self.head = Some(head);
            }
        }
        Ok(())
    }

    /// Ends the check: the bytes so far are the whole snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`], if it is not.
    pub fn finish(self) -> Result<SnapshotInfo, SnapshotError> {
        self.decoder.finish()?;
        let head = self.head.expect("a whole snapshot has a head");
        Ok(SnapshotInfo { summary: Summary::decode(&head.summary).ok(), head, bytes: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::testing::snapshot;

    #[test]
    fn a_whole_snapshot_is_told_from_all_else() {
        let bytes = snapshot(3);
        for length in [1, 7, 1000] {
            let mut checker = Checker::new();
            bytes.chunks(length).for_each(|piece| checker.feed(piece).unwrap());
            let info = checker.finish().unwrap();
            assert_eq!((info.bytes, info.head.last_index), (bytes.len() as u64, 12));
            assert_eq!(info.summary.map(|summary| (summary.revision, summary.keys)), Some((300, 2)));
        }
        for length in 0..bytes.len() {
            let mut checker = Checker::new();
            checker.feed(&bytes[..length]).unwrap();
            assert!(checker.finish().unwrap_err().to_string().contains("cut short"), "{length}");
        }
        let mut flipped = bytes;
        *flipped.last_mut().unwrap() ^= 1;
        Checker::new().feed(&flipped).expect_err("the end is damaged");
    }
}
