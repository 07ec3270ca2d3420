//! A hash of the whole state, kept up to date with each change.
//!
//! Every item and every session is hashed by its canonical bytes, and the state's hash is the sum of those hashes:
//! addition does not depend on order, and can be undone by subtraction. So a change costs two hashes of the changed
//! entry, and replicas can be compared at any applied index at no cost. The hash finds replicas that diverged by
//! mistake; it is no defence against forgery.

use std::fmt;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Version of the hashed data and of the algorithm. It goes up with any change of either. Nodes of two successive
/// versions work together, and hashes of two formats must never be compared, or each node would consider the other's
/// state wrong.
pub const STATE_HASH_FORMAT: u32 = 1;

/// Hash of everything that a [`super::Store`] holds. Stores that applied the same commands have the same hash; stores
/// that differ have, for all practical purposes, different hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateHash(pub u128);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Kind of the hashed bytes. Equal bytes of different kinds hash differently.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Item = 1,
    Session = 2,
    Counters = 3,
    Lease = 4,
}

/// The sum of the hashes of a set of byte strings, and of their lengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HashSum {
    hash: u128,
    bytes: u64,
}

impl HashSum {
    pub(super) fn add(&mut self, kind: Kind, bytes: &[u8]) {
        self.hash = self.hash.wrapping_add(xxh3_128_with_seed(bytes, kind as u64));
        self.bytes += bytes.len() as u64;
    }

    /// Removes bytes that were added before.
    pub(super) fn remove(&mut self, kind: Kind, bytes: &[u8]) {
        self.hash = self.hash.wrapping_sub(xxh3_128_with_seed(bytes, kind as u64));
        self.bytes -= bytes.len() as u64;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.hash = self.hash.wrapping_add(other.hash);
        self.bytes += other.bytes;
    }

    /// Bytes of the whole set.
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }

    pub(super) fn state_hash(self) -> StateHash {
        StateHash(self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: &[(Kind, &[u8])]) -> HashSum {
        let mut sum = HashSum::default();
        for (kind, bytes) in parts {
            sum.add(*kind, bytes);
        }
        sum
    }

    #[test]
    fn order_does_not_matter_and_removal_undoes() {
        let ab = sum(&[(Kind::Item, b"a"), (Kind::Session, b"b")]);
        assert_eq!(ab, sum(&[(Kind::Session, b"b"), (Kind::Item, b"a")]));
        let mut a = ab;
        a.remove(Kind::Session, b"b");
        assert_eq!(a, sum(&[(Kind::Item, b"a")]));
        assert_eq!((ab.bytes(), a.bytes()), (2, 1));
    }

    #[test]
    fn content_kind_and_number_matter() {
        let a = sum(&[(Kind::Item, b"a")]);
        for (case, other) in [
            ("other content", sum(&[(Kind::Item, b"b")])),
            ("other kind", sum(&[(Kind::Session, b"a")])),
            ("twice", sum(&[(Kind::Item, b"a"), (Kind::Item, b"a")])),
            ("none", HashSum::default()),
        ] {
            assert_ne!(a, other, "{case}");
        }
    }

    #[test]
    fn a_state_hash_is_shown_in_all_its_digits() {
        assert_eq!(StateHash(0xbeef).to_string(), "0000000000000000000000000000beef");
    }
}
