//! Term of each entry of a log, stored as runs, since a log has few terms.

use crate::raft::{LogIndex, Term};

/// The terms of the entries of a log, from its first to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTerms {
    first: LogIndex,
    next: LogIndex,
    /// First index and term of each run of equal terms, ascending in the index.
    runs: Vec<(LogIndex, Term)>,
}

impl LogTerms {
    /// Returns a log without entries, whose next one is `first`.
    pub(super) fn starting_at(first: LogIndex) -> Self {
        Self { first, next: first, runs: Vec::new() }
    }

    /// Returns the first entry, or the index that it will get.
    pub fn first_index(&self) -> LogIndex {
        self.first
    }

    /// Returns the index after the last entry.
    pub fn next_index(&self) -> LogIndex {
        self.next
    }

    /// Returns the term of the entry at `index`; `None` if the log has no such entry.
    pub fn at(&self, index: LogIndex) -> Option<Term> {
        if index < self.first || index >= self.next {
            return None;
        }
        let after = self.runs.partition_point(|(first, _)| *first <= index);
        after.checked_sub(1).map(|run| self.runs[run].1)
    }

    /// Returns the first index and term of each run of equal terms, ascending in the index.
    pub fn runs(&self) -> &[(LogIndex, Term)] {
        &self.runs
    }

    /// Adds an entry. After a truncation below the first entry, the log begins with the added one.
    pub(super) fn append(&mut self, index: LogIndex, term: Term) {
        assert!(index == self.next, "entry {index} stands where {} should", self.next);
        if self.runs.last().is_none_or(|(_, last)| *last != term) {
            self.runs.push((index, term));
        }
        self.next = index.next();
    }

    /// Removes the entries from `from` on, which are void.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        self.runs.truncate(self.runs.partition_point(|(first, _)| *first < from));
        self.first = self.first.min(from);
        self.next = self.next.min(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the terms of the entries 0 to 9, zero for an entry that does not exist.
    fn all(terms: &LogTerms) -> Vec<u64> {
        (0..10).map(|index| terms.at(LogIndex(index)).map_or(0, |term| term.0)).collect()
    }

    #[test]
    fn terms_are_found_at_every_index() {
        let mut terms = LogTerms::starting_at(LogIndex(3));
        assert_eq!(all(&terms), [0; 10]);
        for (index, term) in [(3, 1), (4, 1), (5, 2), (6, 5)] {
            terms.append(LogIndex(index), Term(term));
        }
        assert_eq!(all(&terms), [0, 0, 0, 1, 1, 2, 5, 0, 0, 0]);
        terms.truncate(LogIndex(5));
        assert_eq!(all(&terms), [0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
        terms.append(LogIndex(5), Term(1));
        assert_eq!(terms.runs(), [(LogIndex(3), Term(1))]);
        terms.truncate(LogIndex(9));
        assert_eq!((terms.first_index(), terms.next_index()), (LogIndex(3), LogIndex(6)));
    }

    #[test]
    fn a_log_may_be_cut_below_its_first_entry() {
        let mut terms = LogTerms::starting_at(LogIndex(5));
        terms.append(LogIndex(5), Term(1));
        terms.truncate(LogIndex(3));
        assert_eq!(all(&terms), [0; 10]);
        terms.append(LogIndex(3), Term(2));
        assert_eq!(all(&terms)[2..5], [0, 2, 0]);
    }
}
