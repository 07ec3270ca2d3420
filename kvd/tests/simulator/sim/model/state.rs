//! The state of the model, and the effect of each operation on it.
//!
//! A state is copied for each command and changed step by step: the reverse of the store, which drafts its edits over
//! the state as it is. States in runs are small.

use bytes::Bytes;
use kvd::kv::{Holder, Item, KeyRange, LeaseId, LeaseKind, Revision};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Items and leases.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) items: BTreeMap<Bytes, Item>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    /// Number of leases whose ids the store has chosen.
    pub(super) chosen: u64,
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) kind: LeaseKind,
    pub(crate) ttl_ms: u64,
    /// Cluster time at which its time is over. Milliseconds.
    pub(crate) ends_ms: u64,
}

/// A state that one command is changing.
#[derive(Debug)]
pub(super) struct Changing {
    pub(super) state: State,
    /// The revision before.
    before: Revision,
    now_ms: u64,
    /// Keys that were written or deleted.
    pub(super) touched: BTreeSet<Bytes>,
}

impl Changing {
    pub(super) fn new(state: State, before: Revision, now_ms: u64) -> Self {
        Self { state, before, now_ms, touched: BTreeSet::new() }
    }

    /// Returns the revision after what has happened so far.
    pub(super) fn revision(&self) -> Revision {
        self.before + u64::from(!self.touched.is_empty())
    }

    /// Returns the revision of what is written now.
    pub(super) fn next_revision(&self) -> Revision {
        self.before + 1
    }

    pub(super) fn put(&mut self, key: &Bytes, item: Item) {
        self.touched.insert(key.clone());
        let replaced = self.state.items.insert(key.clone(), item.clone());
        self.end_own_lease(replaced, item.lease);
    }

    pub(super) fn remove(&mut self, key: &Bytes) -> Option<Item> {
        let removed = self.state.items.remove(key)?;
        self.touched.insert(key.clone());
        self.end_own_lease(Some(removed.clone()), None);
        Some(removed)
    }

    /// Ends the lease of a single key that has lost it.
    fn end_own_lease(&mut self, before: Option<Item>, lease: Option<LeaseId>) {
        let lost = before.and_then(|item| item.lease).filter(|lost| Some(*lost) != lease);
        if let Some(lost) = lost
            && self.state.leases.get(&lost).is_some_and(|lease| lease.kind == LeaseKind::OfKey)
        {
            self.state.leases.remove(&lost);
        }
    }

    pub(super) fn grant(&mut self, id: LeaseId, kind: LeaseKind, ttl_ms: u64) {
        self.state.leases.insert(id, Lease { kind, ttl_ms, ends_ms: self.now_ms + ttl_ms });
    }

    pub(super) fn renew(&mut self, id: LeaseId) {
        let now_ms = self.now_ms;
        if let Some(lease) = self.state.leases.get_mut(&id) {
            lease.ends_ms = now_ms + lease.ttl_ms;
        }
    }

    /// Ends a lease, with its keys. Returns their number.
    pub(super) fn end_lease(&mut self, id: LeaseId) -> u64 {
        let keys = self.state.keys_of(id);
        self.state.leases.remove(&id);
        for key in &keys {
            self.remove(key);
        }
        keys.len() as u64
    }

    /// Chooses the id of a new lease. The rule is part of the format of the state, so it is written down here once
    /// more.
    pub(super) fn choose_lease(&mut self) -> LeaseId {
        let from = [self.state.chosen.to_le_bytes(), self.before.to_le_bytes()].concat();
        self.state.chosen += 1;
        let ids = (0..).map(|attempt| xxh3_64_with_seed(&from, attempt) & (u64::MAX >> 1) | 1 << 60);
        let mut ids = ids.filter_map(LeaseId::new).filter(|id| !self.state.leases.contains_key(id));
        ids.next().expect("there are more ids than leases")
    }
}

impl State {
    /// Returns the keys that are attached to a lease.
    pub(super) fn keys_of(&self, id: LeaseId) -> Vec<Bytes> {
        self.items.iter().filter(|(_, item)| item.lease == Some(id)).map(|(key, _)| key.clone()).collect()
    }

    /// Returns the items of a range.
    pub(super) fn range(&self, range: &KeyRange) -> Vec<(Bytes, Item)> {
        let items = self.items.iter().filter(|(key, _)| range.contains(key));
        items.map(|(key, item)| (key.clone(), item.clone())).collect()
    }

    /// Returns the queue of a lock, the holder first.
    pub(super) fn places(&self, name: &[u8]) -> Vec<Holder> {
        let places = self.items.iter().filter_map(|(key, item)| {
            let lease = item.lease.filter(|lease| lock_of(key, *lease).is_some_and(|lock| lock == name))?;
            let holder = Holder { token: item.create_revision, lease, value: item.value.clone() };
            Some((item.create_revision, key.clone(), holder))
        });
        let mut places: Vec<_> = places.collect();
        places.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        places.into_iter().map(|(_, _, holder)| holder).collect()
    }

    pub(super) fn is_held(&self, name: &[u8], token: Revision) -> bool {
        self.places(name).first().is_some_and(|holder| holder.token == token)
    }

    /// Returns the token of the place of a lease, if it has one.
    pub(super) fn token_of(&self, name: &[u8], lease: LeaseId) -> Option<Revision> {
        self.leases.get(&lease)?;
        let item = self.items.get(&place_key(name, lease))?;
        (item.lease == Some(lease)).then_some(item.create_revision)
    }
}

/// Returns the key of a lock's place.
pub(crate) fn place_key(name: &[u8], lease: LeaseId) -> Bytes {
    [name, format!("/{:016x}", lease.get()).as_bytes()].concat().into()
}

/// Returns the name of the lock if a key attached to a lease is one of its places: it ends with a slash and the lease,
/// as etcd's clients or ours write it.
pub(super) fn lock_of(key: &[u8], lease: LeaseId) -> Option<&[u8]> {
    let slash = key.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0)?;
    let (full, digits) = (format!("{:016x}", lease.get()), &key[slash + 1..]);
    let zeros = full.as_bytes().strip_suffix(digits).filter(|_| !digits.is_empty())?;
    zeros.iter().all(|digit| *digit == b'0').then_some(&key[..slash])
}
