//! The history in a snapshot: changes from the newest to the oldest, as many as fit.
//!
//! Each change is written when its turn comes, and the history may forget the oldest ones meanwhile. So the walk runs
//! towards the oldest: it leaves no gap, and ends with the oldest change that the history still has. An entry at the
//! end names the oldest revision that is whole.
//!
//! | size   | field of a change |
//! |--------|-------------------|
//! | 1      | 1 the key did not exist before, 2 it did |
//! | varies | revision: varint |
//! | varies | 1: key: varint length and bytes; 2: the version before: varint length and the bytes of its record |
//!
//! | size   | field of the end |
//! |--------|------------------|
//! | 1      | 3 |
//! | varies | oldest revision whose changes are whole: varint |

use super::super::codec::put_bytes;
use super::super::item::Revision;
use super::History;
use bytes::Bytes;
use kvclient::snapshot::put_varint;

pub(super) const CREATED: u8 = 1;
pub(super) const CHANGED: u8 = 2;
pub(super) const END: u8 = 3;

/// A walk along the changes of the history, from a revision to the oldest.
pub(in crate::kv) struct HistoryWalk {
    /// Number of changes before the next one, those that have been freed included. None at the end.
    before: Option<u64>,
    /// Bytes that may still be written.
    bytes_left: u64,
    /// The revision of the change written last. At first, [`HistoryWalk::end`].
    last: Revision,
    /// The revision after the newest change to write.
    end: Revision,
}

impl History {
    /// Begins a walk along the changes up to `revision`.
    pub(in crate::kv) fn walk(&self, revision: Revision, bytes_max: u64) -> HistoryWalk {
        let newer = self.steps.partition_point(|step| step.revision <= revision);
        HistoryWalk {
            before: Some(self.freed + newer as u64),
            bytes_left: bytes_max,
            last: revision + 1,
            end: revision + 1,
        }
    }

    /// Writes the next piece of about `bytes_max` bytes; `None` when there is no more.
    pub(in crate::kv) fn write(&self, walk: &mut HistoryWalk, bytes_max: usize) -> Option<Bytes> {
        let mut before = walk.before?;
        let mut piece = Vec::new();
        let whole = loop {
            let next = before.checked_sub(self.freed + 1).and_then(|index| self.key_at(index as usize));
            // A revision is written as a whole, so that the walk may end before the next one.
            let Some((revision, key)) = next.filter(|(revision, _)| *revision >= self.first) else {
                // If it forgot the revision that was being written, only a part of that may have been written.
                let is_forgotten = self.first > walk.last;
                break Some(if is_forgotten { (walk.last + 1).min(walk.end) } else { self.first });
            };
            if walk.bytes_left == 0 && revision != walk.last {
                break Some(walk.last);
            }
            if piece.len() >= bytes_max {
                break None;
            }
            let start = piece.len();
            match self.change(key, revision) {
                Some((_, Some(record), _)) => {
                    piece.push(CHANGED);
                    put_varint(&mut piece, revision);
                    put_bytes(&mut piece, record.canonical_bytes());
                }
                _ => {
                    piece.push(CREATED);
                    put_varint(&mut piece, revision);
                    put_bytes(&mut piece, key);
                }
            }
            walk.bytes_left = walk.bytes_left.saturating_sub((piece.len() - start) as u64);
            walk.last = revision;
            before -= 1;
        };
        walk.before = whole.is_none().then_some(before);
        if let Some(whole) = whole {
            piece.push(END);
            put_varint(&mut piece, whole.max(1));
        }
        Some(piece.into())
    }
}
