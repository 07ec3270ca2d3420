//! Use that a command has made of the bounds of every command.

use super::outcome::{Excess, Outcome};
use super::rules::{COMMAND_ANSWER_BYTES_MAX, COMMAND_REMOVED_BYTES_MAX, COMMAND_VISITS_MAX};

/// Use that a command has made of the bounds of every command.
#[derive(Default)]
pub(super) struct Spent {
    visits: u64,
    removed: Amount,
    answered: Amount,
}

/// A number of items, and their bytes.
#[derive(Default)]
struct Amount {
    items: u64,
    bytes: u64,
}

impl Spent {
    pub(super) fn visit(&mut self) -> Result<(), Outcome> {
        self.visits += 1;
        if self.visits > COMMAND_VISITS_MAX { Err(Outcome::TooLarge(Excess::Visits)) } else { Ok(()) }
    }

    /// Counts an item that is removed. A single item may have any size.
    pub(super) fn remove(&mut self, bytes: usize) -> Result<(), Outcome> {
        let Amount { items, bytes } = self.removed.add(bytes);
        let exceeds = *items > 1 && *bytes > COMMAND_REMOVED_BYTES_MAX;
        if exceeds { Err(Outcome::TooLarge(Excess::RemovedBytes)) } else { Ok(()) }
    }

    /// Counts an item that is part of the answer. A single item may have any size.
    pub(super) fn answer(&mut self, bytes: usize) -> Result<(), Outcome> {
        let Amount { items, bytes } = self.answered.add(bytes);
        let exceeds = *items > 1 && *bytes > COMMAND_ANSWER_BYTES_MAX;
        if exceeds { Err(Outcome::TooLarge(Excess::AnswerBytes)) } else { Ok(()) }
    }
}

impl Amount {
    fn add(&mut self, bytes: usize) -> &Self {
        self.items += 1;
        self.bytes += bytes as u64;
        self
    }
}
