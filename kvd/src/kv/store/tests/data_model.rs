//! The data model at random against a naive one: a map that is copied for every revision.

use super::super::super::history::ChangePlace;
use super::super::super::item::{Item, LeaseId};
use super::super::super::key_range::KeyRange;
use super::super::super::leases::{Lease, LeaseKind};
use super::super::super::outcome::{DeleteDone, DeleteRangeDone, Holder, KeyedItem, Listed, OpDone, PutDone, TxnDone};
use super::super::super::places::{key_of, place_of};
use super::super::super::readers::{Forgotten, Pin};
use super::super::super::scan::{Scan, Visit};
use super::super::super::strategies;
use super::super::super::txn::{Compare, List, Op, Relation, Test, Txn};
use super::super::super::write::{Condition, DeleteRange, Held, PutLease};
use super::super::*;
use super::restored;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Items = BTreeMap<Bytes, Item>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelLease {
    ttl_ms: u64,
    ends_ms: u64,
    kind: LeaseKind,
}

/// The state as it is, and as it was at each revision.
#[derive(Clone)]
struct Model {
    items: Items,
    leases: BTreeMap<LeaseId, ModelLease>,
    revision: Revision,
    past: BTreeMap<Revision, Items>,
    now_ms: u64,
    /// Ids that the store chose: the model cannot know them, and takes them from the outcomes.
    chosen: Vec<LeaseId>,
}

/// The operation is refused.
struct Refused(Outcome);

impl Model {
    fn new() -> Self {
        let past = BTreeMap::from([(1, Items::new())]);
        Self { items: Items::new(), leases: BTreeMap::new(), revision: 1, past, now_ms: 0, chosen: Vec::new() }
    }

    /// Applies an operation as one step: all of it, or nothing.
    fn apply(&mut self, operation: &Operation) -> Outcome {
        if let Operation::EndLeases { ends } = operation {
            for (lease, ends_ms) in ends {
                if self.leases.get(lease).is_some_and(|lease| lease.ends_ms == *ends_ms) {
                    self.step(|model| {
                        model.end(*lease);
                        Ok(Outcome::LeasesEnded)
                    });
                }
            }
            return Outcome::LeasesEnded;
        }
        self.step(|model| model.perform(operation))
    }

    fn step(&mut self, act: impl FnOnce(&mut Self) -> Result<Outcome, Refused>) -> Outcome {
        let before = self.clone();
        match act(self) {
            Ok(outcome) => {
                if self.items != before.items {
                    self.revision += 1;
                    self.past.insert(self.revision, self.items.clone());
                }
                outcome
            }
            Err(Refused(outcome)) => {
                *self = before;
                outcome
            }
        }
    }

    /// Revision of the writes of the present step.
    fn next(&self) -> Revision {
        self.revision + 1
    }

    /// Revision of the store after the present step, if it ends here.
    fn after(&self) -> Revision {
        if self.past[&self.revision] == self.items { self.revision } else { self.next() }
    }

    fn perform(&mut self, operation: &Operation) -> Result<Outcome, Refused> {
        match operation {
            Operation::Set { put, condition } => {
                self.check(condition.as_ref(), &put.key)?;
                let done = self.put(put)?;
                Ok(Outcome::Set { revision: self.after(), done })
            }
            Operation::Delete { key, condition, prev } => {
                self.check(condition.as_ref(), key)?;
                let done = self.delete(key, *prev);
                Ok(Outcome::Deleted { revision: self.after(), done })
            }
            Operation::DeleteRange { delete, held } => {
                if held.as_ref().is_some_and(|held| !self.is_held(held)) {
                    return Err(Refused(Outcome::ConditionFailed { current: None }));
                }
                let done = self.delete_range(delete);
                Ok(Outcome::DeletedRange { revision: self.after(), done })
            }
            Operation::Txn(txn) => {
                let decided = self.clone();
                let done = self.txn(txn, &decided)?;
                Ok(Outcome::Txn { revision: self.after(), done })
            }
            Operation::GrantLease { lease, ttl_ms } => {
                if lease.is_some_and(|lease| self.leases.contains_key(&lease)) {
                    return Err(Refused(Outcome::LeaseExists));
                }
                let lease = lease.unwrap_or_else(|| self.chosen());
                self.grant(lease, LeaseKind::Granted, *ttl_ms);
                Ok(Outcome::LeaseGranted { lease, ttl_ms: *ttl_ms })
            }
            Operation::KeepAlive { leases } => {
                let ttls_ms = leases.iter().map(|lease| self.renew(*lease)).collect();
                Ok(Outcome::KeptAlive { ttls_ms })
            }
            Operation::RevokeLease { lease } => {
                if !self.leases.contains_key(lease) {
                    return Err(Refused(Outcome::LeaseNotFound { lease: *lease }));
                }
                let deleted = self.end(*lease);
                Ok(Outcome::LeaseRevoked { revision: self.after(), deleted })
            }
            Operation::TakePlace { name, lease, ttl_ms, value, waits } => {
                self.take_place(name, *lease, *ttl_ms, value, *waits)
            }
            Operation::SettlePlace { name, lease } => {
                let token = self.token(name, *lease).ok_or(Refused(Outcome::PlaceLost))?;
                Ok(self.settled(name, *lease, token, false))
            }
            Operation::LeavePlace { name, lease, even_held } => {
                let holds = self.holder(name).is_some_and(|(holder, _)| holder.lease == *lease);
                if *even_held || !holds {
                    self.leave(&key_of(name, *lease), *lease);
                }
                Ok(Outcome::PlaceLeft { revision: self.after() })
            }
            Operation::Unlock { held } => {
                if !self.is_held(held) {
                    return Err(Refused(Outcome::LockLost));
                }
                let (holder, _) = self.holder(&held.name).expect("it is held");
                let keys: Vec<Bytes> = self.places(&held.name).map(|(key, ..)| key).collect();
                for key in keys {
                    let item = &self.items[&key];
                    if item.lease == Some(holder.lease) && item.create_revision == held.token {
                        self.leave(&key, holder.lease);
                    }
                }
                Ok(Outcome::Unlocked { revision: self.after() })
            }
            Operation::Compact { revision } if *revision > self.revision => {
                Err(Refused(Outcome::FutureRevision { revision: self.revision }))
            }
            Operation::Compact { .. } => Ok(Outcome::Compacted { revision: self.revision }),
            Operation::RaiseLevel { to } => Ok(Outcome::LevelRaised { level: *to }),
            Operation::EndLeases { .. } => unreachable!("applied in steps"),
        }
    }

    fn check(&self, condition: Option<&Condition>, key: &Bytes) -> Result<(), Refused> {
        let current = self.items.get(key);
        let holds = match condition {
            None => true,
            Some(Condition::Absent) => current.is_none(),
            Some(Condition::Present) => current.is_some(),
            Some(Condition::ModRevision(revision)) => current.is_some_and(|item| item.mod_revision == *revision),
            Some(Condition::Value(value)) => current.is_some_and(|item| item.value == *value),
            Some(Condition::Held(held)) => self.is_held(held),
        };
        if holds { Ok(()) } else { Err(Refused(Outcome::ConditionFailed { current: current.cloned() })) }
    }

    /// Takes an id that the store has chosen.
    fn chosen(&mut self) -> LeaseId {
        self.chosen.remove(0)
    }

    fn grant(&mut self, lease: LeaseId, kind: LeaseKind, ttl_ms: u64) {
        self.leases.insert(lease, ModelLease { ttl_ms, ends_ms: self.now_ms + ttl_ms, kind });
    }

    fn renew(&mut self, lease: LeaseId) -> Option<u64> {
        let ModelLease { ttl_ms, kind, .. } = self.leases.get(&lease)?.clone();
        self.grant(lease, kind, ttl_ms);
        Some(ttl_ms)
    }

    /// Ends a lease with all its keys. Returns their number.
    fn end(&mut self, lease: LeaseId) -> u64 {
        let before = self.items.len();
        self.items.retain(|_, item| item.lease != Some(lease));
        self.leases.remove(&lease);
        (before - self.items.len()) as u64
    }

    /// Takes note that a key is no longer attached to a lease.
    fn detach(&mut self, lease: Option<LeaseId>) {
        if let Some(lease) = lease
            && self.leases.get(&lease).is_some_and(|lease| lease.kind == LeaseKind::OfKey)
        {
            self.leases.remove(&lease);
        }
    }

    fn put(&mut self, put: &Put) -> Result<PutDone, Refused> {
        let current = self.items.get(&put.key).cloned();
        let old = current.as_ref().and_then(|item| item.lease);
        let kind_of = |model: &Self, lease: LeaseId| model.leases.get(&lease).map(|lease| lease.kind);
        let mut own = None;
        let lease = match put.lease {
            PutLease::None => None,
            PutLease::Keep => old,
            PutLease::Of(lease) => match kind_of(self, lease) {
                None => return Err(Refused(Outcome::LeaseNotFound { lease })),
                Some(LeaseKind::OfKey) if old != Some(lease) => {
                    return Err(Refused(Outcome::LeaseNotFound { lease }));
                }
                Some(_) => Some(lease),
            },
            PutLease::Own { ttl_ms } => {
                let known = old.filter(|lease| kind_of(self, *lease) == Some(LeaseKind::OfKey));
                let lease = known.unwrap_or_else(|| self.chosen());
                self.grant(lease, LeaseKind::OfKey, ttl_ms);
                own = Some(lease);
                own
            }
        };
        if old != lease {
            self.detach(old);
        }
        let becomes_place = lease != old && lease.is_some_and(|lease| place_of(&put.key, lease).is_some());
        let kept = current.clone().filter(|_| !becomes_place);
        let revision = self.next();
        let item = Item {
            value: put.value.clone(),
            create_revision: kept.as_ref().map_or(revision, |item| item.create_revision),
            mod_revision: revision,
            version: kept.as_ref().map_or(1, |item| item.version + 1),
            lease,
        };
        self.items.insert(put.key.clone(), item);
        Ok(PutDone { created: kept.is_none(), prev: current.filter(|_| put.prev), lease: own })
    }

    fn delete(&mut self, key: &Bytes, prev: bool) -> DeleteDone {
        let current = self.items.remove(key);
        self.detach(current.as_ref().and_then(|item| item.lease));
        DeleteDone { deleted: current.is_some(), prev: current.filter(|_| prev) }
    }

    fn delete_range(&mut self, delete: &DeleteRange) -> DeleteRangeDone {
        let all = of_range(&self.items, &delete.range);
        let limit = delete.limit.map_or(usize::MAX, |limit| limit as usize);
        let more = all.len() > limit;
        let deleted: Vec<KeyedItem> = all.into_iter().take(limit).collect();
        for KeyedItem { key, .. } in &deleted {
            self.delete(key, false);
        }
        DeleteRangeDone { deleted: deleted.len() as u64, more, items: delete.prev.then_some(deleted) }
    }

    /// Compares are decided on the state before the outermost transaction.
    fn txn(&mut self, txn: &Txn, before: &Self) -> Result<TxnDone, Refused> {
        let succeeded = txn.compares.iter().all(|compare| before.compare(compare));
        let mut results = Vec::new();
        for op in if succeeded { &txn.then } else { &txn.or_else } {
            results.push(match op {
                Op::Put(put) => OpDone::Put(self.put(put)?),
                Op::Delete { key, prev } => OpDone::Delete(self.delete(key, *prev)),
                Op::DeleteRange(delete) => OpDone::DeleteRange(self.delete_range(delete)),
                Op::Get { key } => OpDone::Get(self.items.get(key).cloned()),
                Op::List(list) => OpDone::List(listed(&self.items, list)),
                Op::Txn(nested) => OpDone::Txn(self.txn(nested, before)?),
            });
        }
        Ok(TxnDone { succeeded, results })
    }

    fn compare(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Held(held) => self.is_held(held),
            Compare::Keys { range, test } => {
                let items = of_range(&self.items, range);
                if items.is_empty() {
                    passes(test, None)
                } else {
                    items.iter().all(|keyed| passes(test, Some(&keyed.item)))
                }
            }
        }
    }

    /// The places of a lock in the order of creation: key, item and lease.
    fn places(&self, name: &[u8]) -> impl Iterator<Item = (Bytes, Item, LeaseId)> {
        let mut places: Vec<_> = (self.items.iter())
            .filter_map(|(key, item)| {
                let lease = item.lease?;
                place_of(key, lease).filter(|(of, _)| *of == name).map(|_| (key.clone(), item.clone(), lease))
            })
            .collect();
        places.sort_by_key(|(key, item, _)| (item.create_revision, key.clone()));
        places.into_iter()
    }

    fn holder(&self, name: &[u8]) -> Option<(Holder, Bytes)> {
        let (key, item, lease) = self.places(name).next()?;
        Some((Holder { token: item.create_revision, lease, value: item.value }, key))
    }

    fn is_held(&self, held: &Held) -> bool {
        self.holder(&held.name).is_some_and(|(holder, _)| holder.token == held.token)
    }

    fn token(&self, name: &[u8], lease: LeaseId) -> Option<Revision> {
        let item = self.items.get(&key_of(name, lease)[..])?;
        (item.lease == Some(lease)).then_some(item.create_revision)
    }

    fn take_place(
        &mut self,
        name: &Bytes,
        lease: Option<LeaseId>,
        ttl_ms: u64,
        value: &Bytes,
        waits: bool,
    ) -> Result<Outcome, Refused> {
        if let Some(lease) = lease {
            if self.leases.get(&lease).is_some_and(|lease| lease.kind == LeaseKind::OfKey) {
                return Err(Refused(Outcome::LeaseNotFound { lease }));
            }
            if let Some(token) = self.token(name, lease) {
                return Ok(self.settled(name, lease, token, waits));
            }
        }
        let first = self.holder(name);
        if let Some((holder, _)) = first.clone().filter(|_| !waits) {
            return Err(Refused(Outcome::LockHeld { holder }));
        }
        let lease = lease.unwrap_or_else(|| self.chosen());
        if self.renew(lease).is_none() {
            self.grant(lease, LeaseKind::OfLock, ttl_ms);
        }
        let token = self.next();
        let key = Bytes::from(key_of(name, lease));
        let old = self.items.get(&key).and_then(|item| item.lease);
        self.detach(old);
        let (create_revision, mod_revision) = (token, token);
        let item = Item { value: value.clone(), create_revision, mod_revision, version: 1, lease: Some(lease) };
        self.items.insert(key, item);
        Ok(if first.is_none() { Outcome::LockTaken { lease, token } } else { Outcome::PlaceTaken { lease, token } })
    }

    fn settled(&mut self, name: &Bytes, lease: LeaseId, token: Revision, waits: bool) -> Outcome {
        let holder = self.holder(name).map(|(holder, _)| holder).filter(|holder| holder.token != token);
        match holder {
            Some(holder) if !waits => {
                self.leave(&key_of(name, lease), lease);
                Outcome::LockHeld { holder }
            }
            Some(_) => {
                self.renew(lease);
                Outcome::PlaceTaken { lease, token }
            }
            None => {
                self.renew(lease);
                Outcome::LockTaken { lease, token }
            }
        }
    }

    fn leave(&mut self, key: &[u8], lease: LeaseId) {
        if self.items.get(key).is_none_or(|item| item.lease != Some(lease)) {
            return;
        }
        self.delete(&Bytes::copy_from_slice(key), false);
        let is_used = self.items.values().any(|item| item.lease == Some(lease));
        if !is_used && self.leases.get(&lease).is_some_and(|lease| lease.kind == LeaseKind::OfLock) {
            self.end(lease);
        }
    }
}

fn of_range(items: &Items, range: &KeyRange) -> Vec<KeyedItem> {
    let within = items.iter().filter(|(key, _)| range.contains(key));
    within.map(|(key, item)| KeyedItem { key: key.clone(), item: item.clone() }).collect()
}

fn listed(items: &Items, list: &List) -> Listed {
    let mut all = of_range(items, &list.range);
    if list.descending {
        all.reverse();
    }
    let count = list.counted.as_ref().map(|counted| of_range(items, counted).len() as u64);
    let mut listed = Listed { count, ..Listed::default() };
    if list.count_only {
        return listed;
    }
    for KeyedItem { key, mut item } in all {
        let folder = list.delimiter.as_ref().and_then(|(delimiter, prefix)| {
            let text = std::str::from_utf8(&key[*prefix as usize..]).ok()?;
            let at = text.find(std::str::from_utf8(delimiter).ok()?)?;
            Some(key.slice(..*prefix as usize + at + delimiter.len()))
        });
        if folder.is_some() && listed.folders.last() == folder.as_ref() {
            continue;
        }
        if (listed.items.len() + listed.folders.len()) as u64 == list.limit {
            listed.more = true;
            break;
        }
        match folder {
            Some(folder) => listed.folders.push(folder),
            None => {
                if list.keys_only {
                    item.value = Bytes::new();
                }
                listed.items.push(KeyedItem { key, item });
            }
        }
    }
    listed
}

fn passes(test: &Test, item: Option<&Item>) -> bool {
    fn compare<T: PartialOrd>(relation: Relation, left: &T, right: &T) -> bool {
        match relation {
            Relation::Equal => left == right,
            Relation::NotEqual => left != right,
            Relation::Less => left < right,
            Relation::Greater => left > right,
        }
    }
    let (created, changed, version, lease) = item.map_or((0, 0, 0, 0), |item| {
        (item.create_revision, item.mod_revision, item.version, item.lease.map_or(0, LeaseId::get))
    });
    match test {
        Test::Absent => item.is_none(),
        Test::Present => item.is_some(),
        Test::CreateRevision(relation, than) => compare(*relation, &created, than),
        Test::ModRevision(relation, than) => compare(*relation, &changed, than),
        Test::Version(relation, than) => compare(*relation, &version, than),
        Test::Lease(relation, than) => compare(*relation, &lease, than),
        Test::Value(relation, than) => item.is_some_and(|item| compare(*relation, &item.value, than)),
    }
}

/// Reads the whole store at a revision, in pieces.
fn read_at(store: &Store, at: Revision, descending: bool) -> Result<Items, Forgotten> {
    let pin = store.pin(Some(at))?;
    Ok(read_on(store, &pin, descending))
}

fn read_on(store: &Store, pin: &Pin, descending: bool) -> Items {
    let mut scan = Scan::new(KeyRange::ALL, descending);
    let mut items = Items::new();
    let mut last: Option<Bytes> = None;
    while !scan.is_done() {
        store
            .read_piece(pin, &mut scan, |key, item| {
                let key = Bytes::copy_from_slice(key);
                assert!(last.as_ref().is_none_or(|last| (*last < key) != descending), "keys come in order, each once");
                last = Some(key.clone());
                items.insert(key, item.to_item());
                Visit::StopAfter
            })
            .expect("it is pinned");
    }
    items
}

/// Returns the ids of leases that the store would choose for the next operation.
fn chosen_by(store: &Store) -> Vec<LeaseId> {
    (0..8).map(|others| store.leases.next_id(store.revision, others)).collect()
}

/// Checks that a store is what the model is, and that its past is the model's.
fn assert_same(store: &Store, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(store.revision(), model.revision);
    prop_assert_eq!(&read_at(store, model.revision, false).unwrap(), &model.items);
    let leases: BTreeMap<_, _> = store
        .leases
        .after(None)
        .map(|(id, lease)| {
            let Lease { ttl_ms, ends_ms, kind, .. } = *lease;
            (id, ModelLease { ttl_ms, ends_ms, kind })
        })
        .collect();
    prop_assert_eq!(&leases, &model.leases);
    prop_assert_eq!(store.recompute_state_hash(), store.state_hash());
    for (revision, items) in &model.past {
        match read_at(store, *revision, *revision % 2 == 0) {
            Ok(found) => prop_assert_eq!(&found, items, "at {}", revision),
            Err(forgotten) => prop_assert!(*revision < forgotten.oldest),
        }
        for key in items.keys() {
            if let Ok(found) = store.get_at(key, *revision) {
                prop_assert_eq!(found.map(|item| item.to_item()), items.get(key).cloned());
            }
        }
    }
    // The changes from the oldest on lead from each state to the next.
    let first = store.oldest_change();
    let mut state = model.past.range(..first).next_back().map(|(_, items)| items.clone()).unwrap_or_default();
    let mut last = (0, Bytes::new());
    for change in store.changes(ChangePlace::before(first)).unwrap() {
        let key = Bytes::copy_from_slice(change.key);
        prop_assert!(change.revision >= last.0, "changes come in order");
        last = (change.revision, key.clone());
        let before = change.before.map(|item| item.to_item());
        let after = change.after.map(|item| item.to_item());
        prop_assert_eq!(state.get(&key), before.as_ref());
        match after {
            Some(item) => state.insert(key, item),
            None => state.remove(&key),
        };
    }
    prop_assert_eq!(&state, &model.items);
    Ok(())
}

proptest! {
    #[test]
    fn the_store_and_its_past_are_those_of_a_naive_model(
        steps in prop::collection::vec((0..700u64, strategies::command_of_any_level()), 0..60),
        history_bytes_max in prop::sample::select(vec![0, 1_500, 1 << 20]),
        run_versions_min in prop::sample::select(vec![1, 2, 1_024]),
        pin_at in 0..60usize,
        snapshot_at in 0..60usize,
    ) {
        let mut store = Store::default();
        let raise = Operation::RaiseLevel { to: Level::DATA_MODEL };
        store.apply(0, &Command { operation: raise, request: None });
        let history =
            HistoryLimits { bytes_max: history_bytes_max, run_versions_min, ..HistoryLimits::default() };
        let limits = StoreLimits { history, ..StoreLimits::default() };
        store.set_limits(&limits);
        let mut model = Model::new();
        let mut pinned = None;
        for (number, (step_ms, command)) in steps.iter().enumerate() {
            if number == pin_at {
                pinned = Some((store.pin(None).unwrap(), model.items.clone()));
            }
            if number == snapshot_at {
                let hash = store.state_hash();
                let oldest = store.oldest_change();
                let mut other = restored(&mut store, 37);
                prop_assert_eq!(other.state_hash(), hash);
                prop_assert!(other.oldest_change() >= oldest);
                other.set_limits(&limits);
                // The pin is of the store that is replaced; what it holds may be forgotten with it.
                pinned = None;
                store = other;
                assert_same(&store, &model)?;
            }
            model.now_ms += step_ms;
            model.chosen = chosen_by(&store);
            let operation = &command.operation;
            // A request of its own, so that sessions remember the outcomes.
            let may_repeat = !matches!(operation, Operation::RaiseLevel { .. });
            let request = may_repeat.then(|| RequestId { client: format!("c{number}"), seq: 1 });
            let outcome = store.apply(model.now_ms, &Command { operation: operation.clone(), request });
            let expected = model.apply(operation);
            if !matches!(operation, Operation::RaiseLevel { .. }) {
                prop_assert_eq!(outcome, expected);
            }
        }
        assert_same(&store, &model)?;
        if let Some((pin, items)) = pinned {
            prop_assert_eq!(read_on(&store, &pin, pin_at % 2 == 0), items);
        }
    }
}
