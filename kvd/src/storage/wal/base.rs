//! The base of a log: the last entry of a snapshot, up to which the log need not have entries.
//!
//! A log may still have entries up to its base, for followers that are a little behind. The node starts from the
//! snapshot and the entries after the base:
//!
//! ```text
//!             base
//! 6 7 8 9 10 11|12 13 14      Entry 11 of the log is the snapshot's: 12 to 14 follow it (paper Figure 13, step 6).
//! 6 7 8 9                     The log ends before the base, since a snapshot may hold what was committed and not yet
//!                             on this disk: nothing of it follows.
//! 6 7'8'9'10'11'12'13'        Entry 11 is of another term, so all that conflicts was never committed: nothing of it
//!                             follows either (step 7).
//! ```
//!
//! Only after the whole log has been read is it certain which entry is at the base, since a later truncation may take
//! it back. [`AfterBase`] tracks that while the log is read.

use super::terms::LogTerms;

use crate::raft::{Entry, LogBase, LogIndex, Record};

/// State of the log at the index of its base, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The log does not reach the base.
    Before,
    /// The log has the entry that the snapshot ends with.
    Same,
    /// The log has an entry of another term.
    Other,
}

/// Passes on the records of a log that follow its base.
pub(super) struct AfterBase<'a> {
    base: LogBase,
    standing: Standing,
    terms: LogTerms,
    on_record: &'a mut dyn FnMut(Record),
}

impl<'a> AfterBase<'a> {
    /// Begins with a log whose first entry is `first`, at most the one after the base.
    pub(super) fn new(base: LogBase, first: LogIndex, on_record: &'a mut dyn FnMut(Record)) -> Self {
        assert!(first <= base.index.next(), "a log that begins with {first} cannot follow {base}");
        // Compaction removes only committed entries, so only one version of the entry before the first exists.
        let standing = if first == base.index.next() { Standing::Same } else { Standing::Before };
        Self { base, standing, terms: LogTerms::starting_at(first), on_record }
    }

    /// Takes the next record, which was already checked to follow the records before it.
    ///
    /// # Errors
    /// A sentence about a record that contradicts the snapshot.
    pub(super) fn take(&mut self, record: Record) -> Result<(), String> {
        let base = self.base;
        match &record {
            Record::HardState(_) => {}
            Record::Truncate { from } => {
                let next = self.terms.next_index();
                self.terms.truncate(*from);
                if *from <= base.index {
                    if self.standing == Standing::Same && next > base.index.next() {
                        (self.on_record)(Record::Truncate { from: base.index.next() });
                    }
                    self.standing = Standing::Before;
                }
            }
            Record::Entry(Entry { index, term, .. }) => {
                self.terms.append(*index, *term);
                if *index == base.index {
                    self.standing = if *term == base.term { Standing::Same } else { Standing::Other };
                }
                if *index > base.index && *term < base.term && self.standing == Standing::Same {
                    return Err(format!("entry {index} of term {term} follows the snapshot, which ends with {base}"));
                }
            }
            Record::Commit(index) => {
                if *index > base.index && self.standing != Standing::Same {
                    return Err(format!(
                        "it commits entry {index}, but has not entry {base}, with which a snapshot ends"
                    ));
                }
            }
        }
        let is_after = match &record {
            Record::HardState(_) => true,
            Record::Truncate { from: index } | Record::Entry(Entry { index, .. }) | Record::Commit(index) => {
                *index > base.index && self.standing == Standing::Same
            }
        };
        if is_after {
            (self.on_record)(record);
        }
        Ok(())
    }

    /// Ends the reading. Returns whether the log follows its base, and the terms of its entries. If the log does not
    /// follow, none of its entries count.
    pub(super) fn finish(self) -> (bool, LogTerms) {
        (self.standing == Standing::Same, self.terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{ClusterTime, HardState, Payload, Term};

    fn entry(index: u64, term: u64) -> Record {
        Record::Entry(Entry { index: LogIndex(index), term: Term(term), time: ClusterTime(0), payload: Payload::Noop })
    }

    fn cut(from: u64) -> Record {
        Record::Truncate { from: LogIndex(from) }
    }

    fn commit(index: u64) -> Record {
        Record::Commit(LogIndex(index))
    }

    /// Returns the records that follow base 3 of term 2 in a log that begins with `first`, and whether the log follows
    /// the base.
    fn after_three(first: u64, records: &[Record]) -> Result<(bool, Vec<Record>), String> {
        let mut handed_on = Vec::new();
        let mut take = |record| handed_on.push(record);
        let mut after = AfterBase::new(LogBase { index: LogIndex(3), term: Term(2) }, LogIndex(first), &mut take);
        records.iter().try_for_each(|record| after.take(record.clone()))?;
        let (follows, _) = after.finish();
        Ok((follows, handed_on))
    }

    #[test]
    fn what_follows_the_base() {
        let vote = Record::HardState(HardState { term: Term(2), vote: None });
        type Case<'a> = (&'a str, u64, Vec<Record>, bool, Vec<Record>);
        let cases: Vec<Case<'_>> = vec![
            ("nothing", 4, vec![], true, vec![]),
            ("all of a log that begins after it", 4, vec![entry(4, 2), commit(4)], true, vec![entry(4, 2), commit(4)]),
            ("nothing of a log that ends before it", 1, vec![entry(1, 1), entry(2, 1)], false, vec![]),
            ("nothing of a log that ends with it", 2, vec![entry(2, 1), entry(3, 2), commit(3)], true, vec![]),
            ("the rest of a log that has it", 3, vec![entry(3, 2), entry(4, 3)], true, vec![entry(4, 3)]),
            ("nothing of a log that has another", 3, vec![entry(3, 1), entry(4, 1)], false, vec![]),
            ("the hard state always", 1, vec![vote.clone()], false, vec![vote]),
            (
                "what was written once it was there",
                3,
                vec![entry(3, 1), entry(4, 1), cut(3), entry(3, 2), entry(4, 2)],
                true,
                vec![entry(4, 2)],
            ),
            (
                "nothing once it is gone again",
                3,
                vec![entry(3, 2), entry(4, 2), cut(3), entry(3, 3)],
                false,
                vec![entry(4, 2), cut(4)],
            ),
            ("a cut after it", 3, vec![entry(3, 2), entry(4, 2), cut(4)], true, vec![entry(4, 2), cut(4)]),
            ("no cut where nothing followed", 3, vec![entry(3, 2), cut(2), entry(2, 4)], false, vec![]),
        ];
        for (case, first, records, follows, expected) in cases {
            assert_eq!(after_three(first, &records), Ok((follows, expected)), "{case}");
        }
    }

    #[test]
    fn what_contradicts_the_snapshot_is_refused() {
        let error = after_three(3, &[entry(3, 1), entry(4, 1), commit(4)]).unwrap_err();
        assert_eq!(error, "it commits entry 4, but has not entry 3 of term 2, with which a snapshot ends");
        let error = after_three(4, &[entry(4, 1)]).unwrap_err();
        assert_eq!(error, "entry 4 of term 1 follows the snapshot, which ends with 3 of term 2");
    }

    #[test]
    fn without_a_snapshot_all_is_handed_on() {
        let records = [entry(1, 1), entry(2, 1), cut(1), entry(1, 2), commit(1)];
        let mut handed_on = Vec::new();
        let mut take = |record| handed_on.push(record);
        let mut after = AfterBase::new(LogBase::NONE, LogIndex(1), &mut take);
        records.iter().for_each(|record| after.take(record.clone()).unwrap());
        let (follows, terms) = after.finish();
        assert!(follows);
        assert_eq!(terms.at(LogIndex(1)), Some(Term(2)));
        assert_eq!(handed_on, records);
    }
}
