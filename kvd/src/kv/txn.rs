//! Transactions: compares, then operations, applied as one (one entry of the log, one revision).
//!
//! All compares, those of nested transactions too, are decided on the state before the transaction. The operations run
//! in order, and each sees the writes of those before it. No key is written twice on one path through the transaction,
//! so all writes of a path can have one revision, and their order does not matter to anyone who watches them.

use super::item::Revision;
use super::key_range::{KeyRange, Spans};
use super::rules::{
    InvalidCommand, TXN_DEPTH_MAX, TXN_OPERATIONS_MAX, check_key, check_lock_name, check_put, check_range,
};
use super::write::{DeleteRange, Held, Put};
use bytes::Bytes;
use std::collections::BTreeSet;

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// The compares.
    pub compares: Vec<Compare>,
    /// Executed if all compares hold.
    pub then: Vec<Op>,
    /// Executed otherwise.
    pub or_else: Vec<Op>,
}

/// A compare of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The test holds for every key of the range. An empty range is tested as one missing key.
    Keys {
        /// The range.
        range: KeyRange,
        /// The test.
        test: Test,
    },
    /// The lock is held.
    Held(Held),
}

/// Test of one key. A missing key has revisions, version and lease 0, and no value: a test of its value never holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The key does not exist.
    Absent,
    /// The key exists.
    Present,
    /// Tests the revision that created the key.
    CreateRevision(Relation, Revision),
    /// Tests the revision that last changed the key.
    ModRevision(Relation, Revision),
    /// Tests the number of writes since the key was created.
    Version(Relation, u64),
    /// Tests the lease; 0 for none.
    Lease(Relation, u64),
    /// Tests the value, in bytewise order.
    Value(Relation, Bytes),
}

/// Relation that something must have to a given operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is equal.
    Equal,
    /// It is not equal.
    NotEqual,
    /// It is less.
    Less,
    /// It is greater.
    Greater,
}

impl Relation {
    /// Returns true if `left` has this relation to `right`.
    pub(super) fn holds<T: Ord + ?Sized>(self, left: &T, right: &T) -> bool {
        let found = left.cmp(right);
        match self {
            Self::Equal => found.is_eq(),
            Self::NotEqual => found.is_ne(),
            Self::Less => found.is_lt(),
            Self::Greater => found.is_gt(),
        }
    }
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put(Put),
    /// Deletes a key.
    Delete {
        /// The key.
        key: Bytes,
        /// Return the item as it was before.
        prev: bool,
    },
    /// Deletes a range.
    DeleteRange(DeleteRange),
    /// Reads a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Lists a range.
    List(List),
    /// A nested transaction.
    Txn(Txn),
}

/// A list of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The range.
    pub range: KeyRange,
    /// Most items and folders.
    pub limit: u64,
    /// True for descending order.
    pub descending: bool,
    /// Leave out the values.
    pub keys_only: bool,
    /// Also count the keys of this range: all of it, where the list shows what comes behind a key.
    pub counted: Option<KeyRange>,
    /// Only count.
    pub count_only: bool,
    /// Roll up keys that have this delimiter after the given number of bytes, their common prefix.
    pub delimiter: Option<(Bytes, u64)>,
}

impl Txn {
    /// Returns true if neither branch writes.
    pub fn only_reads(&self) -> bool {
        self.then.iter().chain(&self.or_else).all(|op| match op {
            Op::Put(_) | Op::Delete { .. } | Op::DeleteRange(_) => false,
            Op::Get { .. } | Op::List(_) => true,
            Op::Txn(txn) => txn.only_reads(),
        })
    }

    /// Returns true if `is_such` holds for any of its writes, in any branch.
    pub(super) fn puts_any(&self, is_such: &impl Fn(&Put) -> bool) -> bool {
        self.then.iter().chain(&self.or_else).any(|op| match op {
            Op::Put(put) => is_such(put),
            Op::Txn(txn) => txn.puts_any(is_such),
            Op::Delete { .. } | Op::DeleteRange(_) | Op::Get { .. } | Op::List(_) => false,
        })
    }

    /// Number of operations, nested ones included.
    pub fn count(&self) -> usize {
        let nested =
            self.then.iter().chain(&self.or_else).map(|op| if let Op::Txn(txn) = op { txn.count() } else { 0 });
        self.then.len() + self.or_else.len() + nested.sum::<usize>()
    }

    /// Length of the longest value in it, in bytes, those of compares included.
    pub(super) fn longest_value(&self) -> usize {
        let compares = self.compares.iter().map(|compare| match compare {
            Compare::Keys { test: Test::Value(_, value), .. } => value.len(),
            Compare::Keys { .. } | Compare::Held(_) => 0,
        });
        let ops = self.then.iter().chain(&self.or_else).map(|op| match op {
            Op::Put(put) => put.value.len(),
            Op::Txn(txn) => txn.longest_value(),
            Op::Delete { .. } | Op::DeleteRange(_) | Op::Get { .. } | Op::List(_) => 0,
        });
        compares.chain(ops).max().unwrap_or(0)
    }

    /// Checks the rules for transactions before they are proposed.
    pub(super) fn validate(&self) -> Result<(), InvalidCommand> {
        self.check_depth(TXN_DEPTH_MAX + 1)?;
        if self.count() > TXN_OPERATIONS_MAX {
            return Err(InvalidCommand::TooManyOperations);
        }
        self.check_parts()?;
        Writes::of(self).map(drop)
    }

    fn check_depth(&self, allowed: usize) -> Result<(), InvalidCommand> {
        let allowed = allowed.checked_sub(1).ok_or(InvalidCommand::TooDeep)?;
        for op in self.then.iter().chain(&self.or_else) {
            if let Op::Txn(txn) = op {
                txn.check_depth(allowed)?;
            }
        }
        Ok(())
    }

    fn check_parts(&self) -> Result<(), InvalidCommand> {
        for compare in &self.compares {
            match compare {
                Compare::Keys { range, .. } => check_range(range)?,
                Compare::Held(held) => check_lock_name(&held.name)?,
            }
        }
        for op in self.then.iter().chain(&self.or_else) {
            match op {
                Op::Put(put) => check_put(put)?,
                Op::Delete { key, .. } | Op::Get { key } => check_key(key)?,
                Op::DeleteRange(delete) => check_range(&delete.range)?,
                Op::List(list) => [&list.range].into_iter().chain(&list.counted).try_for_each(check_range)?,
                Op::Txn(txn) => txn.check_parts()?,
            }
        }
        Ok(())
    }
}

/// Everything that a part of a transaction may write.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Spans,
}

impl Writes {
    /// Collects the writes of a transaction. Its two branches are different paths: what one writes does not conflict
    /// with the other, but either may conflict with what surrounds the transaction.
    fn of(txn: &Txn) -> Result<Self, InvalidCommand> {
        let mut all = Self::of_path(&txn.then)?;
        all.append(Self::of_path(&txn.or_else)?);
        Ok(all)
    }

    fn of_path(ops: &[Op]) -> Result<Self, InvalidCommand> {
        let mut all = Self::default();
        for op in ops {
            match op {
                Op::Put(put) => all.join(Self { puts: [put.key.clone()].into(), ..Self::default() })?,
                Op::Delete { key, .. } => all.join(Self::of_delete(&KeyRange::of_key(key)))?,
                Op::DeleteRange(delete) => all.join(Self::of_delete(&delete.range))?,
                Op::Txn(txn) => all.join(Self::of(txn)?)?,
                Op::Get { .. } | Op::List(_) => {}
            }
        }
        Ok(all)
    }

    fn of_delete(range: &KeyRange) -> Self {
        let mut part = Self::default();
        part.deletes.add(range);
        part
    }

    /// Adds another part of the same path, unless one of the two parts writes a key that the other writes or deletes.
    /// Two deletions do not conflict: the second finds nothing.
    fn join(&mut self, part: Self) -> Result<(), InvalidCommand> {
        let own_puts = &self.puts;
        let put_again = part.puts.iter().find(|key| own_puts.contains(&key[..]) || self.deletes.contain(key));
        let deleted = part.deletes.bounds().find_map(|bounds| own_puts.range::<[u8], _>(bounds).next());
        if let Some(key) = put_again.or(deleted) {
            return Err(InvalidCommand::WrittenTwice { key: key.clone() });
        }
        self.append(part);
        Ok(())
    }

    /// Adds the writes of another part. Each write is moved once for each level of nesting: many small parts cost no
    /// more than a large one.
    fn append(&mut self, other: Self) {
        self.puts.extend(other.puts);
        self.deletes.append(other.deletes);
    }
}

#[cfg(test)]
mod tests;
