//! What the log says up to some point, in short: enough to go on from there and to check what comes next.

use crate::raft::{HardState, LogIndex, Record};

/// The state between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Number that the next batch gets, counted from 1 over all segments.
    pub(super) next_batch: u64,
    /// Checksum of the header of the last batch; zero before the first.
    pub(super) chain: u32,
    /// Index that the next entry gets.
    pub(super) next_index: LogIndex,
    /// Term and vote.
    pub(super) hard_state: HardState,
    /// The highest index known to be committed.
    pub(super) commit: LogIndex,
}

impl Checkpoint {
    /// The state of an empty log.
    pub(super) const EMPTY: Self = Self {
        next_batch: 1,
        chain: 0,
        next_index: LogIndex(1),
        hard_state: HardState { term: crate::raft::Term(0), vote: None },
        commit: LogIndex(0),
    };

    /// Takes in the next record.
    ///
    /// # Errors
    /// A sentence about a record that can never follow what was before it: the caller has a mistake, or the bytes
    /// were not written by this log.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::HardState(new) => {
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
            Record::Entry(entry) => {
                if entry.index != self.next_index {
                    return Err(format!("entry {} stands where {} should", entry.index, self.next_index));
                }
                self.next_index = entry.index.next();
            }
            Record::Commit(index) => self.commit = self.commit.max(*index),
        }
        Ok(())
    }

    /// Goes past a batch, whose header has this checksum.
    pub(super) fn end_batch(&mut self, chain: u32) {
        self.next_batch += 1;
        self.chain = chain;
    }
}
