//! Notes that clients take of each operation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Keys and their values, as text.
pub(super) type Items = BTreeMap<String, String>;

/// An operation, from its call to its return.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) invoked: Instant,
    pub(super) returned: Instant,
    pub(super) saw: Saw,
}

/// Knowledge that a client gained from an operation.
#[derive(Debug)]
pub(super) enum Saw {
    /// It wrote these values, or deleted these keys, at this revision.
    Wrote { revision: u64, effects: BTreeMap<String, Option<String>> },
    /// At this revision, the keys with this prefix were these.
    Read { revision: u64, prefix: &'static str, found: Items },
    /// The same, for a revision that was asked for.
    Past { revision: u64, prefix: &'static str, found: Items },
    /// It was not done: none of these values was written.
    Refused { values: Vec<String> },
    /// It may have been done, or may be yet: these values, or the delete of keys with this prefix.
    Unknown { values: Vec<String>, deletes: Option<String> },
}

/// A key that was written with a time to live.
#[derive(Debug)]
pub(super) struct Mortal {
    pub(super) revision: u64,
    pub(super) key: String,
    pub(super) invoked: Instant,
    pub(super) ttl: Duration,
}

/// All that one client wrote down.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) operations: Vec<Note>,
    pub(super) mortals: Vec<Mortal>,
}

impl Notes {
    pub(super) fn add(&mut self, more: Self) {
        self.operations.extend(more.operations);
        self.mortals.extend(more.mortals);
    }
}

/// The changes of one revision, as a watch told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revised {
    pub(super) revision: u64,
    /// The new value of each key that changed; `None` where the key was deleted.
    pub(super) effects: BTreeMap<String, Option<String>>,
}
