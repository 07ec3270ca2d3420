//! Contents of a file: the bytes that a process sees, and those that a crash leaves.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// The unit that is written to the disk completely or not at all.
pub const SECTOR_BYTES: usize = 512;

/// The bytes of one file.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    /// Sectors written since the last sync.
    unsynced: BTreeSet<usize>,
    /// Number of syncs that had something to write.
    syncs: u32,
    /// Ranges written since the last sync, and between the last two syncs: first and end.
    written: Range<usize>,
    synced_last: Range<usize>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { live, durable, unsynced, .. } = self;
        write!(f, "{} bytes live, {} durable, {} sectors unsynced", live.len(), durable.len(), unsynced.len())
    }
}

impl Contents {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), live: bytes, ..Self::default() }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end_before = self.live.len();
        kvd_disk::write_at(&mut self.live, offset, bytes);
        let start = (offset as usize).min(end_before); // a gap becomes zeros, and those are written too
        let end = offset as usize + bytes.len();
        self.unsynced.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        self.written =
            if self.written.is_empty() { start..end } else { self.written.start.min(start)..self.written.end.max(end) };
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        let unsynced = std::mem::take(&mut self.unsynced);
        if !unsynced.is_empty() {
            self.syncs += 1;
            self.synced_last = std::mem::take(&mut self.written);
        }
        for sector in unsynced {
            self.keep(sector);
        }
    }

    /// Returns the durable bytes, by sectors, that were not written by the last sync or since; all durable bytes if
    /// there was only one sync.
    pub(super) fn old_bytes(&self) -> impl Iterator<Item = Range<u64>> {
        let last = if self.syncs == 1 { 0..0 } else { self.synced_last.clone() };
        let new = [last, self.written.clone()];
        let sectors = (0..self.durable.len()).step_by(SECTOR_BYTES);
        let sectors = sectors.map(|start| start..(start + SECTOR_BYTES).min(self.durable.len()));
        sectors.flat_map(move |sector| {
            let mut old = vec![sector];
            for new in new.iter().filter(|new| !new.is_empty()) {
                old = old.iter().flat_map(|range| without(range, new)).collect();
            }
            old.into_iter().map(|range| range.start as u64..range.end as u64)
        })
    }

    /// Makes a random part of the unsynced data durable, and forgets that the rest was unsynced.
    pub(super) fn sync_in_part(&mut self, rng: &mut StdRng) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if unsynced.is_empty() {
            return;
        }
        // All or nothing as often as a mixture, since each finds different mistakes.
        let kept: f64 = [0.0, 1.0, 0.5, 0.9][rng.random_range(0..4)];
        let length = match rng.random_range(0..3) {
            0 => self.durable.len(),
            1 => self.live.len(),
            _ => rng.random_range(self.durable.len()..=self.live.len()),
        };
        self.durable.resize(length, 0);
        for sector in unsynced {
            if rng.random_bool(kept) {
                self.keep(sector);
            }
        }
    }

    /// Makes a sector durable, as far as the durable length reaches.
    fn keep(&mut self, sector: usize) {
        let start = (sector * SECTOR_BYTES).min(self.durable.len());
        let range: Range<usize> = start..(start + SECTOR_BYTES).min(self.durable.len());
        self.durable[range.clone()].copy_from_slice(&self.live[range]);
    }
}

/// Returns the parts of `range` before and after `hole`.
fn without(range: &Range<usize>, hole: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let before = range.start..range.end.min(hole.start);
    let after = range.start.max(hole.end)..range.end;
    [before, after].into_iter().filter(|left| left.start < left.end)
}
