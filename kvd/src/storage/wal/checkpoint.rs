//! Summary of the log up to some point: enough to go on from there and to check what comes next.

use crate::raft::{Entry, HardState, LogBase, LogIndex, Record};
use kvclient::snapshot::NUMBER_MAX;

/// The state between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Number of the next batch, counted from 1 over all segments.
    pub(super) next_batch: u64,
    /// Checksum of the header of the last batch; zero before the first.
    pub(super) chain: u32,
    /// Index of the next entry.
    pub(super) next_index: LogIndex,
    /// Term and vote.
    pub(super) hard_state: HardState,
    /// The highest index known to be committed.
    pub(super) commit: LogIndex,
}

impl Checkpoint {
    /// Returns the state of an empty log that begins after `base`.
    pub(super) fn empty(base: LogBase) -> Self {
        // No node has an entry of a later term than its own.
        let hard_state = HardState { term: base.term, vote: None };
        Self { next_batch: 1, chain: 0, next_index: base.index.next(), hard_state, commit: base.index }
    }

    /// Returns the state of a log that restarts after `base`, with this hard state.
    ///
    /// # Errors
    /// A sentence about a base or hard state that cannot follow this log: a mistake of the caller.
    pub(super) fn reset_to(&self, base: LogBase, hard_state: HardState) -> Result<Self, String> {
        let mut after = *self;
        after.apply(&Record::HardState(hard_state))?;
        if base.term > hard_state.term {
            return Err(format!("the base is {base}, beyond the term of {hard_state:?}"));
        }
        if base.index < self.commit {
            return Err(format!("the base is {base}, with {} committed", self.commit));
        }
        numbers(&[base.index.0])?;
        Ok(Self { next_index: base.index.next(), commit: base.index, ..after })
    }

    /// Checks the state that a log begins with after its first segments were removed.
    ///
    /// # Errors
    /// A sentence about a state that no log can have.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { next_batch, chain: _, next_index, hard_state, commit } = self;
        if *next_batch == 0 || *next_index == LogIndex(0) {
            return Err("batches and entries are counted from 1".to_owned());
        }
        if commit >= next_index {
            return Err(format!("entry {commit} is committed, and {next_index} is next"));
        }
        numbers(&[*next_batch, next_index.0, hard_state.term.0, commit.0])
    }

    /// Adds the next record.
    ///
    /// # Errors
    /// A sentence about a record that can never follow the ones before it: a mistake of the caller, or the bytes were
    /// not written by this log.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::HardState(new) => {
                numbers(&[new.term.0])?;
                let old = self.hard_state;
                // A vote, once given, stands for the whole term (paper §5.2).
                let changes_vote = new.term == old.term && old.vote.is_some() && new.vote != old.vote;
                if new.term < old.term || changes_vote {
                    return Err(format!("the hard state goes back from {old:?} to {new:?}"));
                }
                self.hard_state = *new;
            }
            Record::Truncate { from } => {
                if *from > self.next_index || *from <= self.commit {
                    let (next, commit) = (self.next_index, self.commit);
                    return Err(format!("entries from {from} on are cut off, with {commit} committed and {next} next"));
                }
                self.next_index = *from;
            }
            Record::Entry(Entry { index, term, time, payload: _ }) => {
                numbers(&[index.0, term.0, time.0])?;
                if *index != self.next_index {
                    return Err(format!("entry {index} stands where {} should", self.next_index));
                }
                self.next_index = index.next();
            }
            Record::Commit(index) => {
                if *index >= self.next_index {
                    return Err(format!("entry {index} is committed, and {} is next", self.next_index));
                }
                self.commit = self.commit.max(*index);
            }
        }
        Ok(())
    }

    /// Moves past a batch, whose header has this checksum.
    pub(super) fn end_batch(&mut self, chain: u32) {
        self.next_batch += 1;
        self.chain = chain;
    }
}

/// Refuses batches, indexes, terms and times beyond any that a log can reach: such a number is damaged, whatever its
/// checksum says.
fn numbers(numbers: &[u64]) -> Result<(), String> {
    if numbers.iter().all(|number| *number < NUMBER_MAX) {
        Ok(())
    } else {
        Err("a number in it is beyond what any log reaches".to_owned())
    }
}
