//! One item as stored in the map: key, history and value in a single allocation.
//!
//! A store may hold a million small items, so the overhead per item matters. A record is one slice: 16 bytes in the
//! tree and one block of the allocator, against two or three of each for a key, a value and their lengths apart. A
//! change replaces the record as a whole.
//!
//! The bytes are canonical, so the state's hash is taken over them as they are.

use super::codec::{Reader, varint_len};
use super::item::{Item, LeaseId, Revision};
use bytes::Bytes;
use kvclient::snapshot::put_varint;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// Number added to the length of the key if a lease follows the numbers. No key is that long. An item without a lease,
/// as most are, has the same bytes as below the level of leases.
const HAS_LEASE: u64 = 1 << 13;

/// An item borrowed from the store: see [`Item`] for the fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ItemRef<'a> {
    /// The value.
    pub value: &'a [u8],
    /// Revision of the write that created the key.
    pub create_revision: Revision,
    /// Revision of the last write to the key.
    pub mod_revision: Revision,
    /// Writes since the key was created: 1 at creation.
    pub version: u64,
    /// The lease with which the item ends.
    pub lease: Option<LeaseId>,
}

impl ItemRef<'_> {
    /// Returns the item with a copy of the value.
    pub fn to_item(self) -> Item {
        let Self { value, create_revision, mod_revision, version, lease } = self;
        Item { value: Bytes::copy_from_slice(value), create_revision, mod_revision, version, lease }
    }

    /// Returns true if writes can have led to such an item by the time the store is at revision `newest`.
    pub(super) fn is_possible_at(self, newest: Revision) -> bool {
        let Self { create_revision, mod_revision, version, .. } = self;
        // The first change makes revision 2. Each write to the key makes a revision of its own.
        2 <= create_revision
            && create_revision <= mod_revision
            && mod_revision <= newest
            && (1..=mod_revision - create_revision + 1).contains(&version)
            && (version == 1) == (create_revision == mod_revision)
    }
}

impl<'a> From<&'a Item> for ItemRef<'a> {
    fn from(Item { value, create_revision, mod_revision, version, lease }: &'a Item) -> Self {
        let (create_revision, mod_revision, version) = (*create_revision, *mod_revision, *version);
        Self { value, create_revision, mod_revision, version, lease: *lease }
    }
}

impl fmt::Debug for ItemRef<'_> {
    /// Omits the value, which may be long and is private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemRef")
            .field("value_bytes", &self.value.len())
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .field("version", &self.version)
            .field("lease", &self.lease)
            .finish()
    }
}

/// A key with its item, ordered by the key alone.
///
/// | size   | field |
/// |--------|-------|
/// | varies | length of the key, and 8,192 more if there is a lease: varint |
/// | varies | key; first, since every comparison reads it |
/// | varies | create revision, mod revision, version: varints |
/// | varies | lease, if there is one: varint |
/// | varies | value: the rest |
#[derive(Clone)]
pub(super) struct Record(Box<[u8]>);

impl Record {
    pub(super) fn new(key: &[u8], item: ItemRef<'_>) -> Self {
        let ItemRef { value, create_revision, mod_revision, version, lease } = item;
        let first = key.len() as u64 | lease.map_or(0, |_| HAS_LEASE);
        let numbers = [first, create_revision, mod_revision, version];
        let lease_bytes = lease.map_or(0, |lease| varint_len(lease.get()));
        let length = numbers.map(varint_len).iter().sum::<usize>() + lease_bytes + key.len() + value.len();
        // Exactly as long as needed, so that boxing it neither moves nor wastes anything.
        let mut bytes = Vec::with_capacity(length);
        put_varint(&mut bytes, first);
        bytes.extend_from_slice(key);
        put_varint(&mut bytes, create_revision);
        put_varint(&mut bytes, mod_revision);
        put_varint(&mut bytes, version);
        if let Some(lease) = lease {
            put_varint(&mut bytes, lease.get());
        }
        bytes.extend_from_slice(value);
        debug_assert_eq!(bytes.len(), length);
        Self(bytes.into_boxed_slice())
    }

    /// Returns a record of this key, to search for.
    pub(super) fn of_key(key: &[u8]) -> Self {
        Self::new(key, ItemRef { value: &[], create_revision: 0, mod_revision: 0, version: 0, lease: None })
    }

    /// Reads [canonical bytes](Record::canonical_bytes); `None` if they are not canonical.
    pub(super) fn read(canonical: &[u8]) -> Option<Self> {
        parts(canonical)?;
        Some(Self(canonical.into()))
    }

    pub(super) fn key(&self) -> &[u8] {
        key(&mut Reader::new(&self.0)).expect("a record begins with its key").0
    }

    pub(super) fn item(&self) -> ItemRef<'_> {
        parts(&self.0).expect("a record holds its numbers behind its key")
    }

    /// Bytes of key and value.
    pub(super) fn payload_bytes(&self) -> usize {
        self.key().len() + self.item().value.len()
    }

    /// Returns the whole record, in the only form that an item has.
    pub(super) fn canonical_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the key of a record, and whether a lease follows its numbers.
fn key<'a>(from: &mut Reader<'a>) -> Option<(&'a [u8], bool)> {
    let first = from.varint()?;
    let length = usize::try_from(first & !HAS_LEASE).ok()?;
    Some((from.exactly(length)?, first & HAS_LEASE != 0))
}

fn parts(bytes: &[u8]) -> Option<ItemRef<'_>> {
    let from = &mut Reader::new(bytes);
    let (_, has_lease) = key(from)?;
    let (create_revision, mod_revision, version) = (from.varint()?, from.varint()?, from.varint()?);
    let lease = if has_lease { Some(LeaseId::new(from.varint()?)?) } else { None };
    Some(ItemRef { value: from.rest(), create_revision, mod_revision, version, lease })
}

/// Lets the tree be searched by a key alone: a record is ordered as its key is.
impl Borrow<[u8]> for Record {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Record {}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_write_to_a_key_makes_a_revision() {
        for (case, (create_revision, mod_revision, version), is_possible) in [
            ("created first", (2, 2, 1), true),
            ("created last", (9, 9, 1), true),
            ("written once more", (2, 9, 2), true),
            ("written by each change", (2, 9, 8), true),
            ("written before there was anything", (1, 1, 1), false),
            ("written later than now", (2, 10, 2), false),
            ("changed before it was created", (3, 2, 1), false),
            ("never written", (2, 2, 0), false),
            ("written twice at once", (2, 2, 2), false),
            ("written once, at two revisions", (2, 3, 1), false),
            ("written more often than anything changed", (2, 9, 9), false),
            ("all that a number can be", (2, u64::MAX, u64::MAX), false),
        ] {
            let item = ItemRef { value: b"", create_revision, mod_revision, version, lease: None };
            assert_eq!(item.is_possible_at(9), is_possible, "{case}");
        }
    }

    proptest! {
        #[test]
        fn a_record_holds_what_it_was_given(
            key in prop::collection::vec(any::<u8>(), 0..300),
            value in prop::collection::vec(any::<u8>(), 0..300),
            (create_revision, mod_revision, version, lease) in any::<(u64, u64, u64, u64)>(),
        ) {
            let item = ItemRef { value: &value, create_revision, mod_revision, version, lease: LeaseId::new(lease) };
            let record = Record::new(&key, item);
            prop_assert_eq!(record.key(), &key[..]);
            prop_assert_eq!(record.item(), item);
            let read = Record::read(record.canonical_bytes()).unwrap();
            prop_assert_eq!((read.key(), read.item()), (&key[..], item));
        }

        #[test]
        fn bytes_that_do_not_begin_as_a_record_does_are_refused(bytes in prop::collection::vec(0..6u8, 0..12)) {
            if let Some(record) = Record::read(&bytes) {
                let again = Record::new(record.key(), record.item());
                prop_assert_eq!(again.canonical_bytes(), bytes);
            }
        }

        #[test]
        fn records_are_ordered_as_their_keys_are(a: Vec<u8>, b: Vec<u8>) {
            // The values are in the opposite order, and the lengths come first in the bytes.
            let item = |value| ItemRef { value, create_revision: 1, mod_revision: 1, version: 1, lease: None };
            prop_assert_eq!(Record::new(&a, item(&b)).cmp(&Record::new(&b, item(&a))), a.cmp(&b));
        }
    }
}
