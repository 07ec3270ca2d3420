//! The ordered map with its revisions, and the application of commands to it.

use super::command::{Command, Item, Outcome, Revision};
use std::collections::BTreeMap;

/// The state machine: what every replica has after applying the same commands.
#[derive(Debug)]
pub struct Store {
    items: BTreeMap<Box<[u8]>, Item>,
    revision: Revision,
}

impl Default for Store {
    fn default() -> Self {
        Self { items: BTreeMap::new(), revision: 1 }
    }
}

impl Store {
    /// The item under `key`.
    pub fn get(&self, key: &[u8]) -> Option<Item> {
        self.items.get(key).cloned()
    }

    /// The revision: 1 when empty, one more for each applied request that changed something.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Applies one committed command at cluster time `time_ms`.
    pub fn apply(&mut self, _time_ms: u64, _command: &Command) -> Outcome {
        Outcome::SessionsFull
    }
}
