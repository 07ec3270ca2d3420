//! The newest cluster times that a node knows from leaders. `cluster_time` has the rules.

use super::types::{ClusterTime, Term};
use crate::mutants::{self, Mutant};
use std::collections::BTreeMap;

/// Most leaders whose times are kept. Leaders that commit nothing follow each other only for a moment; if the oldest of
/// so many is forgotten, a little time is given back.
const LEADERS_MAX: usize = 16;

/// The newest cluster time known from each leader, besides its entries. There is more than one while it is open which
/// of their entries will stay: the entry of a later leader may yet be cut off, so that the log ends with one of an
/// earlier leader again.
#[derive(Debug, Default)]
pub(super) struct HeardTimes {
    by_term: BTreeMap<Term, ClusterTime>,
}

impl HeardTimes {
    /// Takes a time of the leader of `term`; an older one changes nothing. An entry of term `committed` is committed,
    /// so the log never again ends with one of an earlier term.
    pub(super) fn keep(&mut self, term: Term, time: ClusterTime, committed: Term) {
        let newest = self.by_term.entry(term).or_default();
        *newest = time.max(*newest);
        self.by_term = self.by_term.split_off(&committed);
        if self.by_term.len() > LEADERS_MAX {
            self.by_term.pop_first();
        }
    }

    /// Returns the time of the leader of `term`.
    pub(super) fn of(&self, term: Term) -> Option<ClusterTime> {
        if mutants::is_on(Mutant::TimeOfAnyLeader) {
            return self.by_term.values().max().copied();
        }
        self.by_term.get(&term).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_leaders_that_may_yet_be_the_last_are_kept() {
        let mut heard = HeardTimes::default();
        for (term, time) in [(2, 500), (2, 400), (4, 300)] {
            heard.keep(Term(term), ClusterTime(time), Term(1));
        }
        assert_eq!([2, 3, 4].map(|term| heard.of(Term(term))), [Some(ClusterTime(500)), None, Some(ClusterTime(300))]);
        heard.keep(Term(4), ClusterTime(310), Term(4));
        assert_eq!([2, 4].map(|term| heard.of(Term(term))), [None, Some(ClusterTime(310))]);
        for term in 5..100 {
            heard.keep(Term(term), ClusterTime(310), Term(4));
        }
        assert_eq!(heard.by_term.len(), LEADERS_MAX);
    }
}
