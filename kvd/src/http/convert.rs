//! Conversions between the types of the API and those of the state machine.
//!
//! They check nothing: the API's types check keys, ranges, times and transactions when they are read, and so does
//! [`kv::Command::validate`].

use crate::kv::{self, Compare, Item, ItemRef, KeyRange, KeyedItem, Op, PutLease, Relation, Test, Txn, folder_of};
use bytes::Bytes;
use kvclient::api::{self, PAGE_ITEMS_MAX};

pub(super) fn to_range(range: &api::Range) -> KeyRange {
    let (from, to) = range.bounds();
    KeyRange { from: from.into_bytes(), to: to.map(api::Key::into_bytes) }
}

pub(super) fn to_lease(lease: api::LeaseId) -> kv::LeaseId {
    kv::LeaseId::new(lease.get()).expect("neither is zero")
}

pub(super) fn to_api_lease(lease: kv::LeaseId) -> api::LeaseId {
    api::LeaseId::new(lease.get()).expect("neither is zero")
}

pub(super) fn to_request_id(request: api::RequestId) -> kv::RequestId {
    let api::RequestId { client, seq } = request;
    kv::RequestId { client, seq }
}

pub(super) fn to_held(held: api::Held) -> kv::Held {
    let api::Held { name, token } = held;
    kv::Held { name: name.into(), token }
}

pub(super) fn to_condition(condition: api::Condition) -> kv::Condition {
    match condition {
        api::Condition::Absent => kv::Condition::Absent,
        api::Condition::Present => kv::Condition::Present,
        api::Condition::ModRevision(revision) => kv::Condition::ModRevision(revision),
        api::Condition::Value(value) => kv::Condition::Value(value.into()),
        api::Condition::Held(held) => kv::Condition::Held(to_held(held)),
    }
}

/// Returns the lease of a write, which names it in at most one of these ways.
pub(super) fn to_put_lease(lease: Option<api::LeaseId>, ttl_ms: Option<u64>, keep_lease: bool) -> PutLease {
    match (lease, ttl_ms) {
        (Some(lease), _) => PutLease::Of(to_lease(lease)),
        (None, Some(ttl_ms)) => PutLease::Own { ttl_ms },
        (None, None) if keep_lease => PutLease::Keep,
        (None, None) => PutLease::None,
    }
}

/// Returns a transaction, and the shape of its reply.
pub(super) fn to_txn(txn: api::Txn) -> (Txn, TxnShape) {
    let api::Txn { compares, then, otherwise } = txn;
    let (then, then_shapes) = then.into_iter().map(to_op).unzip();
    let (or_else, else_shapes) = otherwise.into_iter().map(to_op).unzip();
    let compares = compares.into_iter().map(to_compare).collect();
    (Txn { compares, then, or_else }, TxnShape { then: then_shapes, or_else: else_shapes })
}

/// The parts of a transaction that its reply repeats.
pub(super) struct TxnShape {
    pub(super) then: Vec<OpShape>,
    pub(super) or_else: Vec<OpShape>,
}

/// The parts of an operation that its result repeats.
pub(super) enum OpShape {
    /// A set or delete of one key.
    Write {
        key: api::Key,
        /// True if the result has the previous item.
        prev: bool,
    },
    DeleteRange,
    Get(api::Key),
    List {
        keys_only: bool,
    },
    Txn(TxnShape),
}

fn to_op(op: api::Op) -> (Op, OpShape) {
    match op {
        api::Op::Set(api::SetOp { key, value, lease, ttl_ms, keep_lease, prev }) => {
            let lease = to_put_lease(lease, ttl_ms, keep_lease);
            let put = kv::Put { lease, prev, ..kv::Put::new(key.clone().into_bytes(), value) };
            (Op::Put(put), OpShape::Write { key, prev })
        }
        api::Op::Delete(api::DeleteOp { range: api::Range::Key(key), limit: _, prev }) => {
            (Op::Delete { key: key.clone().into_bytes(), prev }, OpShape::Write { key, prev })
        }
        api::Op::Delete(api::DeleteOp { range, limit, prev }) => {
            (Op::DeleteRange(kv::DeleteRange { range: to_range(&range), limit, prev }), OpShape::DeleteRange)
        }
        api::Op::Get(api::GetOp { key }) => (Op::Get { key: key.clone().into_bytes() }, OpShape::Get(key)),
        api::Op::List(list) => {
            let keys_only = list.keys_only;
            (Op::List(to_list(list)), OpShape::List { keys_only })
        }
        api::Op::Txn(txn) => {
            let (txn, shape) = to_txn(txn);
            (Op::Txn(txn), OpShape::Txn(shape))
        }
    }
}

fn to_compare(compare: api::Compare) -> Compare {
    match compare {
        api::Compare::Held(held) => Compare::Held(to_held(held)),
        api::Compare::Keys { range, test } => Compare::Keys { range: to_range(&range), test: to_test(test) },
    }
}

fn to_test(test: api::Test) -> Test {
    fn to_relation<T>(relation: api::Relation<T>) -> (Relation, T) {
        match relation {
            api::Relation::Equal(operand) => (Relation::Equal, operand),
            api::Relation::NotEqual(operand) => (Relation::NotEqual, operand),
            api::Relation::Less(operand) => (Relation::Less, operand),
            api::Relation::Greater(operand) => (Relation::Greater, operand),
        }
    }
    let number = |of: fn(Relation, u64) -> Test, relation| {
        let (relation, operand) = to_relation(relation);
        of(relation, operand)
    };
    match test {
        api::Test::Absent => Test::Absent,
        api::Test::Present => Test::Present,
        api::Test::CreateRevision(relation) => number(Test::CreateRevision, relation),
        api::Test::ModRevision(relation) => number(Test::ModRevision, relation),
        api::Test::Version(relation) => number(Test::Version, relation),
        api::Test::Lease(relation) => number(Test::Lease, relation.map(|lease| lease.map_or(0, api::LeaseId::get))),
        api::Test::Value(relation) => {
            let (relation, operand) = to_relation(relation);
            Test::Value(relation, operand.into())
        }
    }
}

fn to_list(list: api::ListOp) -> kv::List {
    kv::List {
        range: listed_range(&list),
        limit: list.limit.unwrap_or(PAGE_ITEMS_MAX),
        descending: list.order == api::Order::Desc,
        keys_only: list.keys_only,
        counted: (list.count || list.count_only).then(|| to_range(&list.range)),
        count_only: list.count_only,
        delimiter: delimiter_of(&list),
    }
}

/// Returns the delimiter of a list, and the number of bytes of a key before which it does not count.
pub(super) fn delimiter_of(list: &api::ListOp) -> Option<(Bytes, u64)> {
    let prefix_bytes = if let api::Range::Prefix(prefix) = &list.range { prefix.as_bytes().len() } else { 0 };
    list.delimiter.as_ref().map(|delimiter| (Bytes::copy_from_slice(delimiter.as_bytes()), prefix_bytes as u64))
}

/// Returns the part of the range that a list shows: all of it, or the part after `after`. If `after` is a folder, that
/// part leaves out the keys of the folder.
pub(super) fn listed_range(list: &api::ListOp) -> KeyRange {
    let whole = to_range(&list.range);
    let Some(after) = &list.after else { return whole };
    let after = after.as_bytes();
    if list.order == api::Order::Desc {
        return whole.before(after);
    }
    let folder = delimiter_of(list).and_then(|(delimiter, prefix)| folder_of(after, prefix, &delimiter));
    if folder != Some(after) {
        return whole.after(after);
    }
    let Some(from) = kv::end_of_prefix(after) else {
        return KeyRange { to: Some(whole.from.clone()), ..whole };
    };
    KeyRange { from: from.max(whole.from), ..whole }
}

pub(super) fn to_api_item(key: api::Key, item: Item) -> api::Item {
    let Item { value, create_revision, mod_revision, version, lease } = item;
    let lease = lease.map(to_api_lease);
    api::Item { key, value: value.into(), create_revision, mod_revision, version, lease }
}

pub(super) fn to_api_keyed(keyed: KeyedItem) -> api::Item {
    to_api_item(keyed.key.into(), keyed.item)
}

/// Returns an item of a list, as it lies in the store.
pub(super) fn to_list_item(key: &[u8], item: ItemRef<'_>, keys_only: bool) -> api::ListItem {
    let ItemRef { value, create_revision, mod_revision, version, lease } = item;
    let value = (!keys_only).then(|| value.to_vec());
    api::ListItem { key: key.into(), value, create_revision, mod_revision, version, lease: lease.map(to_api_lease) }
}
