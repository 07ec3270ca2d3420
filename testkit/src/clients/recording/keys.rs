//! The keys for which the clients of a recording compete, and the items that they find there.

use crate::linearizability::Seen;
use kvclient::Item;
use rand::RngExt as _;
use rand::rngs::StdRng;

/// Number of contended keys, and of keys that get only reads and conditional sets.
const CONTENDED: u64 = 3;
const GUARDED: u64 = 2;

/// Any of the keys, by its number.
pub(super) fn any_key(random: &mut StdRng) -> u64 {
    random.random_range(1..=CONTENDED + GUARDED)
}

/// Names of the keys of one history. No other client writes to them, before or after.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    prefix: String,
}

impl KeyNames {
    /// Returns names that begin with `prefix`.
    pub(super) fn beginning_with(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Returns all keys with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, String)> {
        (1..=CONTENDED + GUARDED).map(|number| (number, self.name(number)))
    }

    /// Returns the name of a key.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}{}/{number}", self.prefix, if is_guarded(number) { "guarded" } else { "contended" })
    }
}

/// Returns whether a key gets only reads and conditional sets.
pub(super) fn is_guarded(number: u64) -> bool {
    number > CONTENDED
}

/// Returns the part of an item that a reader sees.
pub(super) fn seen(item: &Item) -> Seen {
    let value = item.value_str().and_then(|value| value.parse().ok());
    Seen { value: value.unwrap_or_else(|| panic!("nobody wrote {item:?}")), version: item.version }
}
