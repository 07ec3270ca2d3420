//! Log Matching: if two logs contain an entry with the same index and term, then the logs are identical in all entries
//! up through the given index (paper Figure 3).
//!
//! By induction it is enough that entries at the same place have the same content and the same predecessor.

use super::super::image::{Digest, Image};
use super::{Checked, Known, Place, ensure};
use kvd::raft::{Entry, LogIndex, NodeId, Term};
use std::collections::HashMap;

const NAME: &str = "Log Matching";

/// Every entry that was ever sent or written.
#[derive(Debug, Default)]
pub(super) struct LogMatching {
    // Looked up and never iterated over, so its order does not matter.
    known: HashMap<Place, Known>,
    entries: HashMap<Place, Entry>,
}

impl LogMatching {
    /// Checks an entry that a node sends or writes, after `before`.
    pub(super) fn check(&mut self, id: NodeId, entry: &Entry, before: Place) -> Checked {
        ensure!(NAME, entry.index == before.0.next(), "n{} has entry {} behind {}", id.0, entry.index, before.0);
        let place = (entry.index, entry.term);
        self.entries.entry(place).or_insert_with(|| entry.clone());
        self.check_place(id, place, (Digest::of(entry), before.1))
    }

    /// Checks the log that a node has found on its disk.
    pub(super) fn check_image(&mut self, id: NodeId, image: &Image) -> Checked {
        let mut before = Term(0);
        for (index, (term, digest)) in (1..).map(LogIndex).zip(&image.entries) {
            self.check_place(id, (index, *term), (*digest, before))?;
            before = *term;
        }
        Ok(())
    }

    fn check_place(&mut self, id: NodeId, (index, term): Place, (digest, before): Known) -> Checked {
        let (known_digest, known_before) = *self.known.entry((index, term)).or_insert((digest, before));
        ensure!(NAME, known_digest == digest, "n{} has another entry {index} of term {term} than others", id.0);
        ensure!(
            NAME,
            known_before == before,
            "entry {index} of term {term} stands behind one of term {before} at n{}, elsewhere of term {known_before}",
            id.0
        );
        Ok(())
    }

    /// Returns the digest of an entry that some node has written or sent.
    pub(super) fn digest_at(&self, place: Place) -> Option<Digest> {
        self.known.get(&place).map(|(digest, _)| *digest)
    }

    /// Returns an entry that some node has written or sent.
    pub(super) fn entry_at(&self, place: Place) -> Option<&Entry> {
        self.entries.get(&place)
    }
}
