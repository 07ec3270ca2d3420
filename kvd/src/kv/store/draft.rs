//! Draft of the changes of a command, before anything changes.
//!
//! A draft lies over the store: its reads see its own writes. So a command that turns out to exceed a bound, or to name
//! a lease that does not exist, leaves the store as it was. All writes of a draft have one revision, the one after the
//! store's.

use super::super::edits::{Edits, Grant};
use super::super::item::{Item, LeaseId, Revision};
use super::super::key_range::KeyRange;
use super::super::leases::{Lease, LeaseKind};
use super::super::outcome::{DeleteDone, DeleteRangeDone, KeyedItem, Listed, OpDone, Outcome, PutDone, TxnDone};
use super::super::places::place_of;
use super::super::record::{ItemRef, Record};
use super::super::rules::{COMMAND_REMOVED_BYTES_MAX, COMMAND_VISITS_MAX, PAGE_BYTES_MAX};
use super::super::scan::Directed;
use super::super::spent::Spent;
use super::super::txn::{Compare, List, Op, Test, Txn};
use super::super::write::{DeleteRange, Put, PutLease};
use super::Store;
use crate::mutants::{self, Mutant};
use bytes::Bytes;

/// Draft of the edits of one step.
pub(super) struct Draft<'a> {
    store: &'a Store,
    edits: Edits,
    spent: Spent,
    /// Number of ids that the command has chosen.
    chosen: u64,
}

impl<'a> Draft<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, edits: Edits::default(), spent: Spent::default(), chosen: 0 }
    }

    /// Begins another draft of a command that has spent this much.
    pub(super) fn going_on(store: &'a Store, spent: Spent) -> Self {
        Self { spent, ..Self::new(store) }
    }

    /// Returns the edits, and what the command has spent.
    pub(super) fn finish(self) -> (Edits, Spent) {
        (self.edits, self.spent)
    }

    /// Returns the revision of the store once the edits drafted so far are made.
    pub(super) fn revision_after(&self) -> Revision {
        if self.edits.change_keys() { self.revision() } else { self.store.revision }
    }

    /// Returns the edits made so far, to add to them.
    pub(super) fn edits(&mut self) -> &mut Edits {
        &mut self.edits
    }

    /// Revision of the writes.
    fn revision(&self) -> Revision {
        self.store.revision + 1
    }

    /// Returns the item under `key`, with the writes of the draft.
    fn get(&self, key: &[u8]) -> Option<ItemRef<'_>> {
        match self.edits.records.get(key) {
            Some(written) => written.as_ref().map(Record::item),
            None if self.edits.deleted.contain(key) => None,
            None => self.store.get_ref(key),
        }
    }

    /// Chooses the id of a new lease.
    pub(super) fn choose_lease(&mut self) -> LeaseId {
        let id = self.store.leases.next_id(self.store.revision, self.chosen);
        self.chosen += 1;
        id
    }

    /// Writes a key.
    pub(super) fn put(&mut self, put: &Put) -> Result<PutDone, Outcome> {
        let Put { key, value, lease, prev } = put;
        self.spent.visit()?;
        let current = self.get(key);
        let current_lease = current.and_then(|item| item.lease);
        let prev_item = current.filter(|_| *prev).map(ItemRef::to_item);
        let before = current.map(|item| (item.create_revision, item.version));
        let mut own = None;
        let lease = match *lease {
            PutLease::None => None,
            PutLease::Keep => current_lease.filter(|lease| self.store.leases.live(*lease).is_some()),
            PutLease::Of(id) => {
                let live = self.store.leases.live(id);
                let is_free = live.is_some_and(|lease| lease.kind != LeaseKind::OfKey || current_lease == Some(id));
                Some(is_free.then_some(id).ok_or(Outcome::LeaseNotFound { lease: id })?)
            }
            PutLease::Own { ttl_ms } => {
                let leases = &self.store.leases;
                let known =
                    current_lease.filter(|id| leases.live(*id).is_some_and(|lease| lease.kind == LeaseKind::OfKey));
                let id = known.unwrap_or_else(|| self.choose_lease());
                let grant = Grant { lease: id, kind: LeaseKind::OfKey, ttl_ms, is_chosen: known.is_none() };
                self.edits.grants.push(grant);
                own = Some(id);
                own
            }
        };
        // A key that becomes a place in the queue of a lock is created anew: see `places.rs`.
        let becomes_place = lease.is_some()
            && lease != current_lease
            && lease.and_then(|id| place_of(key, id)).is_some()
            && !mutants::is_on(Mutant::PlaceGetsAhead);
        let before = before.filter(|_| !becomes_place);
        let revision = self.revision();
        let (create_revision, version) = before.map_or((revision, 1), |(created, version)| (created, version + 1));
        let item = ItemRef { value, create_revision, mod_revision: revision, version, lease };
        let record = Record::new(key, item);
        if let Some(item) = &prev_item {
            self.spent.answer(key.len() + item.value.len())?;
        }
        self.edits.records.insert(key.clone(), Some(record));
        Ok(PutDone { created: before.is_none(), prev: prev_item, lease: own })
    }

    /// Deletes a key.
    pub(super) fn delete(&mut self, key: &Bytes, prev: bool) -> Result<DeleteDone, Outcome> {
        self.spent.visit()?;
        let Some(current) = self.get(key) else { return Ok(DeleteDone { deleted: false, prev: None }) };
        let bytes = key.len() + current.value.len();
        let prev = prev.then(|| current.to_item());
        self.spent.remove(bytes)?;
        if prev.is_some() {
            self.spent.answer(bytes)?;
        }
        self.edits.records.insert(key.clone(), None);
        Ok(DeleteDone { deleted: true, prev })
    }

    /// Creates the key of a place: see `places.rs`. Returns its token.
    pub(super) fn put_place(&mut self, key: &Bytes, value: &[u8], lease: LeaseId) -> Revision {
        let revision = self.revision();
        let (create_revision, mod_revision) = (revision - u64::from(mutants::is_on(Mutant::TokenRepeats)), revision);
        let item = ItemRef { value, create_revision, mod_revision, version: 1, lease: Some(lease) };
        self.edits.records.insert(key.clone(), Some(Record::new(key, item)));
        create_revision
    }

    /// Deletes the key of a place, which exists.
    pub(super) fn remove_place(&mut self, key: &Bytes) {
        self.edits.records.insert(key.clone(), None);
    }

    /// Ends a lease, with as many of its keys as a command may remove. Returns true if that is all of its keys.
    pub(super) fn end_lease(&mut self, id: LeaseId, lease: &Lease) -> bool {
        self.edits.ends = Some(id);
        for key in &lease.keys {
            let Some(item) = self.store.get_ref(key) else { continue };
            let bytes = key.len() + item.value.len();
            if self.spent.visit().and_then(|()| self.spent.remove(bytes)).is_err() {
                return false;
            }
            if !mutants::is_on(Mutant::KeysOutliveLease) {
                self.edits.records.insert(Bytes::copy_from_slice(key), None);
            }
        }
        true
    }

    /// Deletes the keys of a range, or the first of them.
    pub(super) fn delete_range(&mut self, delete: &DeleteRange) -> Result<DeleteRangeDone, Outcome> {
        let DeleteRange { range, limit, prev } = delete;
        let limit = limit.unwrap_or(u64::MAX);
        let Self { store, edits, spent, .. } = self;
        let (mut deleted, mut rest, mut items, mut last) = (0, None, prev.then(Vec::new), None);
        for visited in records(store, edits, range, false) {
            let Visited::There(record) = visited else {
                spent.visit()?;
                continue;
            };
            if deleted == limit {
                rest = Some(record.key());
                break;
            }
            spent.visit()?;
            spent.remove(record.payload_bytes())?;
            if let Some(items) = &mut items {
                spent.answer(record.payload_bytes())?;
                items.push(keyed(record));
            }
            deleted += 1;
            last = Some(record.key());
        }
        let more = rest.is_some();
        let rest = if mutants::is_on(Mutant::LastKeyStays) && deleted > 1 { last } else { rest };
        let gone = rest.map_or_else(|| range.clone(), |rest| range.before(rest));
        edits.deleted.add(&gone);
        edits.deletes_any |= deleted > 0;
        Ok(DeleteRangeDone { deleted, more, items })
    }

    /// Deletes the keys of a range, as the only operation of a command.
    pub(super) fn delete_range_alone(&mut self, delete: &DeleteRange) -> Result<DeleteRangeDone, Outcome> {
        match self.count_unread(delete) {
            Some(deleted) if !mutants::is_on(Mutant::LastKeyStays) => {
                self.edits.deleted.add(&delete.range);
                self.edits.deletes_any = deleted > 0;
                Ok(DeleteRangeDone { deleted, more: false, items: None })
            }
            _ => self.delete_range(delete),
        }
    }

    /// Returns the number of keys that a command deletes, if that can be told without reading their records, which are
    /// all over the memory: the items are not asked for, and even with the bytes of their numbers, which do not count,
    /// they are within the bounds.
    fn count_unread(&self, delete: &DeleteRange) -> Option<u64> {
        let DeleteRange { range, limit, prev } = delete;
        if *prev {
            return None;
        }
        let (mut count, mut bytes) = (0, 0);
        for record in self.store.present(range) {
            count += 1;
            bytes += record.canonical_bytes().len() as u64;
            if count > limit.unwrap_or(COMMAND_VISITS_MAX).min(COMMAND_VISITS_MAX) || bytes > COMMAND_REMOVED_BYTES_MAX
            {
                return None;
            }
        }
        Some(count)
    }

    /// Lists a range, up to the end of a page.
    fn list(&mut self, list: &List) -> Result<Listed, Outcome> {
        let List { range, limit, descending, keys_only, counted, count_only, delimiter } = list;
        let count = counted.as_ref().map(|counted| self.count(counted)).transpose()?;
        let mut listed = Listed { count, ..Listed::default() };
        if *count_only {
            return Ok(listed);
        }
        let Self { store, edits, spent, .. } = self;
        let mut bytes = 0;
        for visited in records(store, edits, range, *descending) {
            spent.visit()?;
            let Visited::There(record) = visited else { continue };
            let folder = delimiter.as_ref().and_then(|(delimiter, prefix)| folder_of(record.key(), *prefix, delimiter));
            if folder.is_some() && folder == listed.folders.last().map(|last| &last[..]) {
                continue;
            }
            let entry_bytes = match folder {
                Some(folder) => folder.len(),
                None if *keys_only => record.key().len(),
                None => record.payload_bytes(),
            };
            let entries = (listed.items.len() + listed.folders.len()) as u64;
            if entries >= *limit || (entries > 0 && bytes + entry_bytes as u64 > PAGE_BYTES_MAX) {
                listed.more = true;
                break;
            }
            bytes += entry_bytes as u64;
            spent.answer(entry_bytes)?;
            match folder {
                Some(folder) => listed.folders.push(Bytes::copy_from_slice(folder)),
                None if *keys_only => listed.items.push(keyed_without_value(record)),
                None => listed.items.push(keyed(record)),
            }
        }
        Ok(listed)
    }

    /// Counts the keys of a range.
    fn count(&mut self, range: &KeyRange) -> Result<u64, Outcome> {
        let Self { store, edits, spent, .. } = self;
        let mut count = 0;
        for visited in records(store, edits, range, false) {
            spent.visit()?;
            count += u64::from(matches!(visited, Visited::There(_)));
        }
        Ok(count)
    }

    /// Decides and executes a transaction. Its compares are all decided before any of its operations.
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<TxnDone, Outcome> {
        let mut decided = Vec::new();
        self.decide(txn, &mut decided)?;
        self.execute(txn, &mut decided.into_iter())
    }

    /// Decides the compares of a transaction, and of those nested in it that will be executed, in their order.
    fn decide(&mut self, txn: &Txn, decided: &mut Vec<bool>) -> Result<(), Outcome> {
        let mut succeeded = true;
        for compare in &txn.compares {
            succeeded &= self.compare(compare)?;
        }
        decided.push(succeeded);
        for op in if succeeded { &txn.then } else { &txn.or_else } {
            if let Op::Txn(nested) = op {
                self.decide(nested, decided)?;
            }
        }
        Ok(())
    }

    fn execute(&mut self, txn: &Txn, decided: &mut impl Iterator<Item = bool>) -> Result<TxnDone, Outcome> {
        let succeeded = decided.next().expect("it was decided");
        let ops = if succeeded { &txn.then } else { &txn.or_else };
        let applied = if mutants::is_on(Mutant::HalfOfTheTxn) { ops.len().div_ceil(2) } else { ops.len() };
        let mut results = Vec::with_capacity(ops.len());
        for op in &ops[..applied] {
            results.push(match op {
                Op::Put(put) => OpDone::Put(self.put(put)?),
                Op::Delete { key, prev } => OpDone::Delete(self.delete(key, *prev)?),
                Op::DeleteRange(delete) => OpDone::DeleteRange(self.delete_range(delete)?),
                Op::Get { key } => OpDone::Get(self.read(key)?),
                Op::List(list) => OpDone::List(self.list(list)?),
                Op::Txn(nested) if mutants::is_on(Mutant::DecidedInTurn) => OpDone::Txn(self.txn(nested)?),
                Op::Txn(nested) => OpDone::Txn(self.execute(nested, decided)?),
            });
        }
        Ok(TxnDone { succeeded, results })
    }

    fn read(&mut self, key: &[u8]) -> Result<Option<Item>, Outcome> {
        self.spent.visit()?;
        let item = self.get(key).map(ItemRef::to_item);
        if let Some(item) = &item {
            self.spent.answer(key.len() + item.value.len())?;
        }
        Ok(item)
    }

    fn compare(&mut self, compare: &Compare) -> Result<bool, Outcome> {
        let (range, test) = match compare {
            Compare::Held(held) => {
                self.spent.visit()?;
                return Ok(self.store.is_held(held));
            }
            Compare::Keys { range, test } => (range, test),
        };
        let (mut holds, mut is_missing) = (true, true);
        let nothing = Edits::default();
        let Self { store, edits, spent, .. } = self;
        let edits = if mutants::is_on(Mutant::DecidedInTurn) { edits } else { &nothing };
        for visited in records(store, edits, range, false) {
            spent.visit()?;
            let Visited::There(record) = visited else { continue };
            is_missing = false;
            holds &= test_holds(test, Some(record.item()));
        }
        if is_missing {
            self.spent.visit()?;
            holds = test_holds(test, None);
        }
        Ok(holds)
    }
}

/// Returns true if the test holds for an item, or for a missing key.
fn test_holds(test: &Test, item: Option<ItemRef<'_>>) -> bool {
    let number = |of: fn(ItemRef<'_>) -> u64| item.map_or(0, of);
    match test {
        Test::Absent => item.is_none(),
        Test::Present => item.is_some(),
        Test::CreateRevision(relation, than) => relation.holds(&number(|item| item.create_revision), than),
        Test::ModRevision(relation, than) => relation.holds(&number(|item| item.mod_revision), than),
        Test::Version(relation, than) => relation.holds(&number(|item| item.version), than),
        Test::Lease(relation, than) => relation.holds(&number(|item| item.lease.map_or(0, LeaseId::get)), than),
        Test::Value(relation, than) => item.is_some_and(|item| relation.holds(item.value, &than[..])),
    }
}

/// A key that a command visits.
#[derive(Clone, Copy)]
enum Visited<'r> {
    /// The key exists.
    There(&'r Record),
    /// The command has deleted the key. Passing over it takes time, so it counts as a visit: otherwise a command could
    /// pass over the same keys again and again at no cost.
    Deleted(&'r [u8]),
}

impl Visited<'_> {
    fn key(&self) -> &[u8] {
        match self {
            Self::There(record) => record.key(),
            Self::Deleted(key) => key,
        }
    }
}

/// Returns the keys of a range, with the edits of the draft.
fn records<'r>(
    store: &'r Store,
    edits: &'r Edits,
    range: &'r KeyRange,
    descending: bool,
) -> impl Iterator<Item = Visited<'r>> {
    let Edits { records, deleted, .. } = edits;
    let has_edits = edits.change_keys();
    let present = store.present(range).filter(move |record| !has_edits || !records.contains_key(record.key()));
    let present = present.map(move |record| match has_edits && deleted.contain(record.key()) {
        true => Visited::Deleted(record.key()),
        false => Visited::There(record),
    });
    let written = range.bounds().map(|bounds| records.range::<[u8], _>(bounds));
    let written = written.into_iter().flatten().map(|(key, written)| match written {
        Some(record) => Visited::There(record),
        None => Visited::Deleted(key),
    });
    let mut present = Directed::new(present, descending).peekable();
    let mut written = Directed::new(written, descending).peekable();
    std::iter::from_fn(move || {
        let is_written = match (present.peek(), written.peek()) {
            (Some(present), Some(written)) => (written.key() < present.key()) != descending,
            (present, _) => present.is_none(),
        };
        if is_written { written.next() } else { present.next() }
    })
}

fn keyed(record: &Record) -> KeyedItem {
    KeyedItem { key: Bytes::copy_from_slice(record.key()), item: record.item().to_item() }
}

fn keyed_without_value(record: &Record) -> KeyedItem {
    KeyedItem { key: Bytes::copy_from_slice(record.key()), item: ItemRef { value: b"", ..record.item() }.to_item() }
}

/// Returns the folder that a key is rolled up into: its beginning up to and including the first delimiter after
/// `prefix` bytes. `None` if it has no such delimiter.
pub fn folder_of<'k>(key: &'k [u8], prefix: u64, delimiter: &[u8]) -> Option<&'k [u8]> {
    let prefix = usize::try_from(prefix).ok().filter(|prefix| *prefix <= key.len())?;
    let at = key[prefix..].windows(delimiter.len().max(1)).position(|window| window == delimiter)?;
    Some(&key[..prefix + at + delimiter.len()])
}
