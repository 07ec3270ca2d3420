//! Types that have one encoding each, made of the encodings of their parts.
//!
//! Numbers are varints. Byte strings and lists follow their lengths, optional parts follow a 0 or 1, and the variants
//! of an enum follow a byte of their own. [`Wire::read`] accepts only bytes that [`Wire::write`] can have written.

use super::super::codec::{Reader, put_bytes};
use super::super::command::{Operation, RequestId};
use super::super::item::{Item, LeaseId};
use super::super::key_range::KeyRange;
use super::super::level::Level;
use super::super::outcome::{DeleteDone, DeleteRangeDone, Excess, Holder, KeyedItem, Listed, OpDone, PutDone, TxnDone};
use super::super::rules::TXN_DEPTH_MAX;
use super::super::txn::{Compare, List, Op, Relation, Test, Txn};
use super::super::write::Condition;
use super::super::write::{DeleteRange, Held, Put, PutLease};
use bytes::Bytes;
use kvclient::snapshot::put_varint;

/// A type with an encoding.
pub(super) trait Wire: Sized {
    /// Appends the encoding.
    fn write(&self, to: &mut Vec<u8>);
    /// Reads what [`Wire::write`] has written; `None` for all other bytes.
    fn read(from: &mut Source<'_>) -> Option<Self>;
}

/// Bytes that are being read.
pub(super) struct Source<'a> {
    pub(super) reader: Reader<'a>,
    /// The same bytes from their beginning, if byte strings that are read may share their memory.
    pub(super) shared: Option<&'a Bytes>,
    /// Transactions around the part that is being read.
    depth: usize,
}

impl<'a> Source<'a> {
    /// Reads bytes whose memory the byte strings will share.
    pub(super) fn sharing(bytes: &'a Bytes) -> Self {
        Self { reader: Reader::new(bytes), shared: Some(bytes), depth: 0 }
    }

    /// Reads bytes whose byte strings will be copied.
    pub(super) fn copying(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes), shared: None, depth: 0 }
    }
}

/// Encodes a struct as its fields, in this order.
macro_rules! fields {
    ($type:ident { $($field:ident),* }) => {
        impl Wire for $type {
            fn write(&self, to: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.write(to);)*
            }

            fn read(from: &mut Source<'_>) -> Option<Self> {
                $(let $field = Wire::read(from)?;)*
                Some(Self { $($field),* })
            }
        }
    };
}

/// Encodes an enum as the number of the variant and its fields.
macro_rules! variants {
    ($type:ident { $($number:literal => $variant:ident $({ $($field:ident),* })? $(($($part:ident),*))?),* $(,)? }) => {
        impl Wire for $type {
            fn write(&self, to: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($($part),*))? => {
                        to.push($number);
                        $($($field.write(to);)*)?
                        $($($part.write(to);)*)?
                    })*
                }
            }

            fn read(from: &mut Source<'_>) -> Option<Self> {
                Some(match from.reader.u8()? {
                    $($number => {
                        $($(let $field = Wire::read(from)?;)*)?
                        $($(let $part = Wire::read(from)?;)*)?
                        Self::$variant $({ $($field),* })? $(($($part),*))?
                    })*
                    _ => return None,
                })
            }
        }
    };
}

/// Encodes the variants of an enum whose other variants have encodings of their own.
macro_rules! later {
    ($type:ident { $($number:literal => $variant:ident $({ $($field:ident),* })? $(($($part:ident),*))?),* $(,)? }) => {
        impl $type {
            fn write_later(&self, to: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($($part),*))? => {
                        to.push($number);
                        $($($field.write(to);)*)?
                        $($($part.write(to);)*)?
                    })*
                    _ => unreachable!("the caller writes the other variants"),
                }
            }

            fn read_later(number: u8, from: &mut Source<'_>) -> Option<Self> {
                Some(match number {
                    $($number => {
                        $($(let $field = Wire::read(from)?;)*)?
                        $($(let $part = Wire::read(from)?;)*)?
                        Self::$variant $({ $($field),* })? $(($($part),*))?
                    })*
                    _ => return None,
                })
            }
        }
    };
}
pub(super) use later;

impl Wire for u64 {
    fn write(&self, to: &mut Vec<u8>) {
        put_varint(to, *self);
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        from.reader.varint()
    }
}

impl Wire for bool {
    fn write(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        from.reader.bool()
    }
}

impl Wire for Bytes {
    fn write(&self, to: &mut Vec<u8>) {
        put_bytes(to, self);
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        let bytes = from.reader.bytes()?;
        Some(from.shared.map_or_else(|| Self::copy_from_slice(bytes), |shared| shared.slice_ref(bytes)))
    }
}

impl Wire for String {
    fn write(&self, to: &mut Vec<u8>) {
        put_bytes(to, self.as_bytes());
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        std::str::from_utf8(from.reader.bytes()?).ok().map(ToOwned::to_owned)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, to: &mut Vec<u8>) {
        self.is_some().write(to);
        if let Some(part) = self {
            part.write(to);
        }
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        Some(if bool::read(from)? { Some(T::read(from)?) } else { None })
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, to: &mut Vec<u8>) {
        put_varint(to, self.len() as u64);
        self.iter().for_each(|part| part.write(to));
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        let length = from.reader.varint()?;
        // Allocates nothing ahead: the length may be wrong.
        let mut parts = Self::new();
        for _ in 0..length {
            parts.push(T::read(from)?);
        }
        Some(parts)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?))
    }
}

impl Wire for LeaseId {
    fn write(&self, to: &mut Vec<u8>) {
        put_varint(to, self.get());
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        Self::new(from.reader.varint()?)
    }
}

impl Wire for Level {
    fn write(&self, to: &mut Vec<u8>) {
        put_varint(to, self.0.into());
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        from.reader.varint().and_then(|level| level.try_into().ok()).map(Self)
    }
}

const ITEM: u8 = 1;
const ITEM_WITH_LEASE: u8 = 2;

/// An item is the byte 1, or 2 if it has a lease; then create revision, mod revision, version, the lease if there is
/// one, and the value.
impl Wire for Item {
    fn write(&self, to: &mut Vec<u8>) {
        let Self { value, create_revision, mod_revision, version, lease } = self;
        to.push(if lease.is_some() { ITEM_WITH_LEASE } else { ITEM });
        [create_revision, mod_revision, version].into_iter().for_each(|number| put_varint(to, *number));
        if let Some(lease) = lease {
            lease.write(to);
        }
        value.write(to);
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        let has_lease = match from.reader.u8()? {
            ITEM => false,
            ITEM_WITH_LEASE => true,
            _ => return None,
        };
        let [create_revision, mod_revision, version] = [u64::read(from)?, u64::read(from)?, u64::read(from)?];
        let lease = if has_lease { Some(LeaseId::read(from)?) } else { None };
        Some(Self { value: Bytes::read(from)?, create_revision, mod_revision, version, lease })
    }
}

/// An optional item: the byte 0 if there is none.
pub(super) struct Prev<'a>(pub(super) &'a Option<Item>);

impl Prev<'_> {
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self.0 {
            None => to.push(0),
            Some(item) => item.write(to),
        }
    }

    /// Reads such an item. The outer `None` means malformed, the inner one that there is no item.
    #[expect(clippy::option_option, reason = "malformed and absent differ")]
    pub(super) fn read(from: &mut Source<'_>) -> Option<Option<Item>> {
        if from.reader.rest().first() == Some(&0) {
            from.reader.u8()?;
            return Some(None);
        }
        Item::read(from).map(Some)
    }
}

impl Wire for Txn {
    fn write(&self, to: &mut Vec<u8>) {
        let Self { compares, then, or_else } = self;
        compares.write(to);
        then.write(to);
        or_else.write(to);
    }

    fn read(from: &mut Source<'_>) -> Option<Self> {
        from.depth += 1;
        if from.depth > TXN_DEPTH_MAX + 1 {
            return None;
        }
        let txn = Self { compares: Wire::read(from)?, then: Wire::read(from)?, or_else: Wire::read(from)? };
        from.depth -= 1;
        Some(txn)
    }
}

/// Number of [`Operation::DeleteRange`].
pub(super) const DELETE_RANGE: u8 = 3;
/// Number of [`Operation::KeepAlive`].
pub(super) const KEEP_ALIVE: u8 = 6;

fields!(RequestId { client, seq });
fields!(KeyRange { from, to });
fields!(Put { key, value, lease, prev });
fields!(DeleteRange { range, limit, prev });
fields!(Held { name, token });
fields!(List { range, limit, descending, keys_only, counted, count_only, delimiter });
fields!(PutDone { created, prev, lease });
fields!(DeleteDone { deleted, prev });
fields!(DeleteRangeDone { deleted, more, items });
fields!(KeyedItem { key, item });
fields!(Listed { items, folders, more, count });
fields!(TxnDone { succeeded, results });
fields!(Holder { token, lease, value });

variants!(PutLease { 0 => None, 1 => Keep, 2 => Of(lease), 3 => Own { ttl_ms } });
variants!(Condition { 1 => Absent, 2 => Present, 3 => ModRevision(revision), 4 => Value(value), 5 => Held(held) });
variants!(Relation { 1 => Equal, 2 => NotEqual, 3 => Less, 4 => Greater });
variants!(Compare { 1 => Keys { range, test }, 2 => Held(held) });
variants!(Test {
    1 => Absent,
    2 => Present,
    3 => CreateRevision(relation, than),
    4 => ModRevision(relation, than),
    5 => Version(relation, than),
    6 => Lease(relation, than),
    7 => Value(relation, than),
});
variants!(Op { 1 => Put(put), 2 => Delete { key, prev }, 3 => DeleteRange(delete), 4 => Get { key }, 5 => List(list), 6 => Txn(txn) });
variants!(OpDone { 1 => Put(done), 2 => Delete(done), 3 => DeleteRange(done), 4 => Get(item), 5 => List(listed), 6 => Txn(done) });
variants!(Excess { 1 => Visits, 2 => RemovedBytes, 3 => AnswerBytes });
variants!(Operation {
    1 => Set { put, condition },
    2 => Delete { key, condition, prev },
    3 => DeleteRange { delete, held },
    4 => Txn(txn),
    5 => GrantLease { lease, ttl_ms },
    6 => KeepAlive { leases },
    7 => RevokeLease { lease },
    8 => EndLeases { ends },
    9 => TakePlace { name, lease, ttl_ms, value, waits },
    10 => SettlePlace { name, lease },
    11 => LeavePlace { name, lease, even_held },
    12 => Unlock { held },
    13 => Compact { revision },
    14 => RaiseLevel { to },
});
