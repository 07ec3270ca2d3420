//! What a node's disk must hold: the sum of all writes that were reported durable.

use kvd::raft::{Entry, HardState, LogIndex, Payload, Record, Term};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hash of everything that an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn of(entry: &Entry) -> Self {
        let place = [entry.index.0.to_le_bytes(), entry.term.0.to_le_bytes(), entry.time.0.to_le_bytes()].concat();
        let seed = xxh3_64_with_seed(&place, 0);
        Self(match &entry.payload {
            Payload::Noop => xxh3_64_with_seed(&[], seed),
            Payload::Command(command) => xxh3_64_with_seed(command, seed ^ 1),
            Payload::Configuration(configuration) => {
                xxh3_64_with_seed(format!("{configuration:?}").as_bytes(), seed ^ 2)
            }
        })
    }
}

/// A log and a hard state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) hard_state: HardState,
    /// Term and digest of each entry, from index 1 on.
    pub(crate) entries: Vec<(Term, Digest)>,
    pub(crate) commit: LogIndex,
}

impl Image {
    /// Takes in one write.
    pub(crate) fn write(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::HardState(hard_state) => self.hard_state = *hard_state,
                Record::Truncate { from } => self.entries.truncate(from.previous().0 as usize),
                Record::Entry(entry) => self.entries.push((entry.term, Digest::of(entry))),
                Record::Commit(index) => self.commit = self.commit.max(*index),
            }
        }
    }

    /// The same after one more write.
    pub(crate) fn after(&self, records: &[Record]) -> Self {
        let mut after = self.clone();
        after.write(records);
        after
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        LogIndex(self.entries.len() as u64)
    }

    /// Term of the entry at `index`, zero at index zero, `None` past the end.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        match index.0.checked_sub(1) {
            None => Some(Term(0)),
            Some(place) => self.entries.get(place as usize).map(|(term, _)| *term),
        }
    }
}
