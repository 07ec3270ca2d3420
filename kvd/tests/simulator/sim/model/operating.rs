//! The outcome of each operation, and what it changes.

use super::state::{Changing, State, lock_of, place_key};
use bytes::Bytes;
use kvd::kv::{
    COMMAND_ANSWER_BYTES_MAX, Compare, Condition, DeleteDone, DeleteRange, DeleteRangeDone, Excess, Held, Holder, Item,
    KeyedItem, LeaseId, LeaseKind, List, Listed, Op, OpDone, Operation, Outcome, PAGE_BYTES_MAX, Put, PutDone,
    PutLease, Relation, Test, Txn, TxnDone,
};

/// Items and bytes in an answer: several items may have only so many bytes together.
#[derive(Debug, Default)]
struct Answered {
    items: u64,
    bytes: u64,
}

impl Answered {
    fn add(&mut self, bytes: usize) -> Result<(), Outcome> {
        self.items += 1;
        self.bytes += bytes as u64;
        let is_too_much = self.items > 1 && self.bytes > COMMAND_ANSWER_BYTES_MAX;
        if is_too_much { Err(Outcome::TooLarge(Excess::AnswerBytes)) } else { Ok(()) }
    }
}

/// Carries out an operation that changes keys or leases.
///
/// # Errors
/// The outcome, if the operation changes nothing: the state may be half changed then.
pub(super) fn operate(state: &mut Changing, operation: &Operation) -> Result<Outcome, Outcome> {
    let mut answered = Answered::default();
    match operation {
        Operation::Set { put: write, condition } => {
            check(&state.state, condition.as_ref(), &write.key)?;
            let done = put(state, write, &mut answered)?;
            Ok(Outcome::Set { revision: state.revision(), done })
        }
        Operation::Delete { key, condition, prev } => {
            check(&state.state, condition.as_ref(), key)?;
            let done = delete(state, key, *prev, &mut answered)?;
            Ok(Outcome::Deleted { revision: state.revision(), done })
        }
        Operation::DeleteRange { delete, held } => {
            if held.as_ref().is_some_and(|held| !state.state.is_held(&held.name, held.token)) {
                return Err(Outcome::ConditionFailed { current: None });
            }
            let done = delete_range(state, delete, &mut answered)?;
            Ok(Outcome::DeletedRange { revision: state.revision(), done })
        }
        Operation::Txn(txn) => {
            let before = state.state.clone();
            let done = execute(state, &before, txn, &mut answered)?;
            Ok(Outcome::Txn { revision: state.revision(), done })
        }
        Operation::GrantLease { lease, ttl_ms } => {
            if lease.is_some_and(|lease| state.state.leases.contains_key(&lease)) {
                return Err(Outcome::LeaseExists);
            }
            let id = lease.unwrap_or_else(|| state.choose_lease());
            state.grant(id, LeaseKind::Granted, *ttl_ms);
            Ok(Outcome::LeaseGranted { lease: id, ttl_ms: *ttl_ms })
        }
        Operation::KeepAlive { leases } => {
            let ttls_ms = leases.iter().map(|id| state.state.leases.get(id).map(|lease| lease.ttl_ms)).collect();
            leases.iter().for_each(|lease| state.renew(*lease));
            Ok(Outcome::KeptAlive { ttls_ms })
        }
        Operation::RevokeLease { lease } => {
            if !state.state.leases.contains_key(lease) {
                return Err(Outcome::LeaseNotFound { lease: *lease });
            }
            let deleted = state.end_lease(*lease);
            Ok(Outcome::LeaseRevoked { revision: state.revision(), deleted })
        }
        Operation::TakePlace { name, lease, ttl_ms, value, waits } => {
            take_place(state, name, *lease, *ttl_ms, value, *waits)
        }
        Operation::SettlePlace { name, lease } => {
            state.state.token_of(name, *lease).ok_or(Outcome::PlaceLost)?;
            Ok(settled(state, name, *lease, false))
        }
        Operation::LeavePlace { name, lease, even_held } => {
            if *even_held || holder(state, name).is_none_or(|holder| holder.lease != *lease) {
                leave(state, name, *lease);
            }
            Ok(Outcome::PlaceLeft { revision: state.revision() })
        }
        Operation::Unlock { held: Held { name, token } } => {
            let holder = holder(state, name).filter(|holder| holder.token == *token).ok_or(Outcome::LockLost)?;
            leave(state, name, holder.lease);
            Ok(Outcome::Unlocked { revision: state.revision() })
        }
        Operation::EndLeases { .. } | Operation::Compact { .. } | Operation::RaiseLevel { .. } => {
            unreachable!("{operation:?} is no operation on keys")
        }
    }
}

/// Carries out a transaction that only reads.
pub(super) fn read_txn(state: &State, revision: u64, txn: &Txn) -> Outcome {
    let mut changing = Changing::new(state.clone(), revision, 0);
    let done = execute(&mut changing, state, txn, &mut Answered::default());
    done.map_or_else(|refusal| refusal, |done| Outcome::Txn { revision, done })
}

fn check(state: &State, condition: Option<&Condition>, key: &Bytes) -> Result<(), Outcome> {
    let current = state.items.get(key);
    let holds = match condition {
        None => true,
        Some(Condition::Absent) => current.is_none(),
        Some(Condition::Present) => current.is_some(),
        Some(Condition::ModRevision(revision)) => current.is_some_and(|item| item.mod_revision == *revision),
        Some(Condition::Value(value)) => current.is_some_and(|item| item.value == value),
        Some(Condition::Held(held)) => state.is_held(&held.name, held.token),
    };
    if holds { Ok(()) } else { Err(Outcome::ConditionFailed { current: current.cloned() }) }
}

fn put(state: &mut Changing, put: &Put, answered: &mut Answered) -> Result<PutDone, Outcome> {
    let Put { key, value, lease, prev } = put;
    let current = state.state.items.get(key).cloned();
    let current_lease = current.as_ref().and_then(|item| item.lease);
    let kind = |id: LeaseId| state.state.leases.get(&id).map(|lease| lease.kind);
    let mut own = None;
    let lease = match *lease {
        PutLease::None => None,
        PutLease::Keep => current_lease,
        PutLease::Of(id) => match kind(id) {
            None => return Err(Outcome::LeaseNotFound { lease: id }),
            Some(LeaseKind::OfKey) if current_lease != Some(id) => return Err(Outcome::LeaseNotFound { lease: id }),
            Some(_) => Some(id),
        },
        PutLease::Own { ttl_ms } => {
            let known = current_lease.filter(|id| kind(*id) == Some(LeaseKind::OfKey));
            let id = known.unwrap_or_else(|| state.choose_lease());
            state.grant(id, LeaseKind::OfKey, ttl_ms);
            own = Some(id);
            own
        }
    };
    if let Some(current) = current.as_ref().filter(|_| *prev) {
        answered.add(key.len() + current.value.len())?;
    }
    let becomes_place = lease != current_lease && lease.is_some_and(|lease| lock_of(key, lease).is_some());
    let grows_from = current.as_ref().filter(|_| !becomes_place);
    let revision = state.next_revision();
    let item = Item {
        value: value.clone(),
        create_revision: grows_from.map_or(revision, |item| item.create_revision),
        mod_revision: revision,
        version: grows_from.map_or(1, |item| item.version + 1),
        lease,
    };
    let created = grows_from.is_none();
    state.put(key, item);
    Ok(PutDone { created, prev: current.filter(|_| *prev), lease: own })
}

fn delete(state: &mut Changing, key: &Bytes, prev: bool, answered: &mut Answered) -> Result<DeleteDone, Outcome> {
    let removed = state.remove(key);
    if let Some(removed) = removed.as_ref().filter(|_| prev) {
        answered.add(key.len() + removed.value.len())?;
    }
    Ok(DeleteDone { deleted: removed.is_some(), prev: removed.filter(|_| prev) })
}

fn delete_range(
    state: &mut Changing,
    delete: &DeleteRange,
    answered: &mut Answered,
) -> Result<DeleteRangeDone, Outcome> {
    let mut all = state.state.range(&delete.range);
    let limit = delete.limit.map_or(all.len(), |limit| all.len().min(limit as usize));
    let more = all.len() > limit;
    all.truncate(limit);
    for (key, item) in &all {
        if delete.prev {
            answered.add(key.len() + item.value.len())?;
        }
        state.remove(key);
    }
    let deleted = all.len() as u64;
    let items = all.into_iter().map(|(key, item)| KeyedItem { key, item }).collect();
    Ok(DeleteRangeDone { deleted, more, items: delete.prev.then_some(items) })
}

/// Executes a transaction. `before` is the state before the outermost one, on which all compares are decided.
fn execute(state: &mut Changing, before: &State, txn: &Txn, answered: &mut Answered) -> Result<TxnDone, Outcome> {
    let succeeded = txn.compares.iter().all(|compare| holds(before, compare));
    let mut results = Vec::new();
    for op in if succeeded { &txn.then } else { &txn.or_else } {
        results.push(match op {
            Op::Put(write) => OpDone::Put(put(state, write, answered)?),
            Op::Delete { key, prev } => OpDone::Delete(delete(state, key, *prev, answered)?),
            Op::DeleteRange(delete) => OpDone::DeleteRange(delete_range(state, delete, answered)?),
            Op::Get { key } => {
                let item = state.state.items.get(key).cloned();
                if let Some(item) = &item {
                    answered.add(key.len() + item.value.len())?;
                }
                OpDone::Get(item)
            }
            Op::List(list) => {
                let listed = listed(&state.state, list);
                for KeyedItem { key, item } in &listed.items {
                    answered.add(key.len() + item.value.len())?;
                }
                OpDone::List(listed)
            }
            Op::Txn(nested) => OpDone::Txn(execute(state, before, nested, answered)?),
        });
    }
    Ok(TxnDone { succeeded, results })
}

fn holds(state: &State, compare: &Compare) -> bool {
    match compare {
        Compare::Held(held) => state.is_held(&held.name, held.token),
        Compare::Keys { range, test } => match &state.range(range)[..] {
            [] => passes(test, None),
            items => items.iter().all(|(_, item)| passes(test, Some(item))),
        },
    }
}

fn passes(test: &Test, item: Option<&Item>) -> bool {
    let is = |relation: Relation, found: u64, than: u64| match relation {
        Relation::Equal => found == than,
        Relation::NotEqual => found != than,
        Relation::Less => found < than,
        Relation::Greater => found > than,
    };
    match test {
        Test::Absent => item.is_none(),
        Test::Present => item.is_some(),
        Test::CreateRevision(relation, than) => is(*relation, item.map_or(0, |item| item.create_revision), *than),
        Test::ModRevision(relation, than) => is(*relation, item.map_or(0, |item| item.mod_revision), *than),
        Test::Version(relation, than) => is(*relation, item.map_or(0, |item| item.version), *than),
        Test::Lease(relation, than) => is(*relation, item.and_then(|item| item.lease).map_or(0, LeaseId::get), *than),
        Test::Value(relation, than) => item.is_some_and(|item| match relation {
            Relation::Equal => item.value == than,
            Relation::NotEqual => item.value != than,
            Relation::Less => item.value < *than,
            Relation::Greater => item.value > *than,
        }),
    }
}

/// Lists a range. Clients of runs ask for no folders.
pub(super) fn listed(state: &State, list: &List) -> Listed {
    let mut all = state.range(&list.range);
    let count = list.counted.as_ref().map(|counted| state.range(counted).len() as u64);
    if list.count_only {
        return Listed { count, ..Listed::default() };
    }
    if list.descending {
        all.reverse();
    }
    let (mut items, mut bytes) = (Vec::new(), 0);
    let entries = all.len();
    for (key, mut item) in all {
        if list.keys_only {
            item.value = Bytes::new();
        }
        bytes += (key.len() + item.value.len()) as u64;
        if items.len() as u64 >= list.limit || !items.is_empty() && bytes > PAGE_BYTES_MAX {
            break;
        }
        items.push(KeyedItem { key, item });
    }
    let more = items.len() < entries;
    Listed { items, folders: Vec::new(), more, count }
}

fn holder(state: &Changing, name: &[u8]) -> Option<Holder> {
    state.state.places(name).into_iter().next()
}

fn take_place(
    state: &mut Changing,
    name: &Bytes,
    lease: Option<LeaseId>,
    ttl_ms: u64,
    value: &Bytes,
    waits: bool,
) -> Result<Outcome, Outcome> {
    let id = lease.unwrap_or_else(|| state.choose_lease());
    let kind = state.state.leases.get(&id).map(|lease| lease.kind);
    if kind == Some(LeaseKind::OfKey) {
        return Err(Outcome::LeaseNotFound { lease: id });
    }
    if state.state.token_of(name, id).is_some() {
        return Ok(settled(state, name, id, waits));
    }
    let first = holder(state, name);
    if let Some(holder) = first.clone().filter(|_| !waits) {
        return Err(Outcome::LockHeld { holder });
    }
    match kind {
        Some(_) => state.renew(id),
        None => state.grant(id, LeaseKind::OfLock, ttl_ms),
    }
    let token = state.next_revision();
    let item = Item { value: value.clone(), create_revision: token, mod_revision: token, version: 1, lease: Some(id) };
    state.put(&place_key(name, id), item);
    Ok(if first.is_none() { Outcome::LockTaken { lease: id, token } } else { Outcome::PlaceTaken { lease: id, token } })
}

/// Answers whoever has a place.
fn settled(state: &mut Changing, name: &Bytes, id: LeaseId, waits: bool) -> Outcome {
    let token = state.state.token_of(name, id).expect("it has a place");
    match holder(state, name) {
        Some(holder) if holder.token != token && !waits => {
            leave(state, name, id);
            Outcome::LockHeld { holder }
        }
        Some(holder) if holder.token != token => {
            state.renew(id);
            Outcome::PlaceTaken { lease: id, token }
        }
        _ => {
            state.renew(id);
            Outcome::LockTaken { lease: id, token }
        }
    }
}

fn leave(state: &mut Changing, name: &Bytes, id: LeaseId) {
    if state.state.token_of(name, id).is_none() {
        return;
    }
    state.remove(&place_key(name, id));
    let is_used = state.state.items.values().any(|item| item.lease == Some(id));
    if !is_used && state.state.leases.get(&id).is_some_and(|lease| lease.kind == LeaseKind::OfLock) {
        state.end_lease(id);
    }
}
