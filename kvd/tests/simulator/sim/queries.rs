//! Reads: what clients may ask of a store, and its answers.

use super::model::Lease;
use bytes::Bytes;
use kvd::kv::{
    Forgotten, Holder, Item, KeyRange, KeyedItem, LeaseId, LeaseRef, List, Listed, Outcome, Revision, Scan, Store, Txn,
    Visit,
};
use kvd::raft::LogIndex;

/// A read.
#[derive(Clone, Debug)]
pub(crate) enum Query {
    /// A key, now or at a revision.
    Get { key: Bytes, at: Option<Revision> },
    /// A page of a range, now or at a revision.
    List { list: List, at: Option<Revision> },
    /// A transaction that only reads.
    Txn(Txn),
    /// The queue of a lock.
    Lock(Bytes),
    /// A lease.
    Lease(LeaseId),
    /// All that is kept of one key.
    Past { key: Bytes },
}

/// Answer of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Item(Option<Item>),
    List(Listed),
    Txn(Outcome),
    Lock(Vec<Holder>),
    /// A lease, and the keys attached to it.
    Lease(Option<(Lease, Vec<Bytes>)>),
    /// The revisions at which the key changed, with its items.
    Past(Vec<(Revision, Option<Item>)>),
    /// The revision is no longer kept.
    Forgotten {
        oldest: Revision,
    },
}

/// An answer, and the state that it was given from.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) query: Query,
    pub(crate) answer: Answer,
    pub(crate) revision: Revision,
    pub(crate) applied: LogIndex,
    /// The oldest revision from which on the node knew all changes.
    pub(crate) oldest: Revision,
}

impl Query {
    pub(crate) fn of_key(key: Bytes) -> Self {
        Self::Get { key, at: None }
    }

    /// Returns the revision of the past that it asks for.
    pub(crate) fn at(&self) -> Option<Revision> {
        match self {
            Self::Get { at, .. } | Self::List { at, .. } => *at,
            Self::Txn(_) | Self::Lock(_) | Self::Lease(_) | Self::Past { .. } => None,
        }
    }

    /// Returns the answer of a store, read as the server reads it. The store has reached the revision that is asked
    /// for.
    pub(crate) fn ask(&self, store: &Store) -> Answer {
        let answer = match self {
            Self::Get { key, at: None } => Ok(Answer::Item(store.get(key))),
            Self::Get { key, at: Some(at) } => {
                store.get_at(key, *at).map(|item| Answer::Item(item.map(|item| item.to_item())))
            }
            Self::List { list, at } => page(store, list, *at).map(Answer::List),
            Self::Txn(txn) => Ok(Answer::Txn(store.read_txn(txn))),
            Self::Lock(name) => Ok(Answer::Lock(store.places(name).collect())),
            Self::Lease(id) => Ok(Answer::Lease(store.lease(*id, None).map(|(lease, keys)| {
                let LeaseRef { kind, ttl_ms, ends_ms, .. } = lease;
                (Lease { kind, ttl_ms, ends_ms }, keys.map(Bytes::copy_from_slice).collect())
            }))),
            Self::Past { key } => {
                let changes = store.changes_of(key, Revision::MAX);
                let changes = changes.map(|change| (change.revision, change.after.map(|item| item.to_item())));
                let mut changes = changes.collect::<Vec<_>>();
                changes.reverse();
                Ok(Answer::Past(changes))
            }
        };
        answer.unwrap_or_else(|Forgotten { oldest }| Answer::Forgotten { oldest })
    }
}

/// Reads a page as the server does: in pieces, at a revision that is held meanwhile. Pages in runs are small.
fn page(store: &Store, list: &List, at: Option<Revision>) -> Result<Listed, Forgotten> {
    let pin = store.pin(at)?;
    let mut scan = Scan::new(list.range.clone(), list.descending);
    let (mut items, mut bytes) = (Vec::new(), 0);
    let mut is_full = false;
    while !is_full && !scan.is_done() {
        store.read_piece(&pin, &mut scan, |key, item| {
            let mut item = item.to_item();
            if list.keys_only {
                item.value = Bytes::new();
            }
            bytes += (key.len() + item.value.len()) as u64;
            is_full = items.len() as u64 >= list.limit || !items.is_empty() && bytes > kvd::kv::PAGE_BYTES_MAX;
            if is_full {
                return Visit::StopBefore;
            }
            items.push(KeyedItem { key: Bytes::copy_from_slice(key), item });
            Visit::Next
        })?;
    }
    let mut count = None;
    if let Some(range) = &list.counted {
        let mut counted = 0;
        let mut scan = Scan::new(range.clone(), false);
        while !scan.is_done() {
            store.read_piece(&pin, &mut scan, |_, _| {
                counted += 1;
                Visit::Next
            })?;
        }
        count = Some(counted);
    }
    Ok(Listed { items, folders: Vec::new(), more: is_full, count })
}

/// Returns the list of a whole range, a page of so many items.
pub(crate) fn list_of(range: KeyRange, limit: u64) -> List {
    List { range, limit, descending: false, keys_only: false, counted: None, count_only: false, delimiter: None }
}
