//! The operations that clients draw: writes and reads of one key, of ranges and of several keys as one, of now and of
//! the past; leases, and locks.

use super::client::{Client, ClientId};
use super::locks::Place;
use super::plan::ClientPlan;
use super::queries::{Query, list_of};
use super::world::World;
use bytes::Bytes;
use kvd::kv::{
    Command, Compare, Condition, DeleteRange, Held, KeyRange, LeaseId, List, Op, Operation, Put, PutLease, Relation,
    RequestId, Test, Txn,
};

/// Times to live of leases, the shortest ones more often. Milliseconds.
const TTLS_MS: &[u64] = &[500, 500, 1_000, 3_000, 10_000, 3_600_000];

/// Most leases of its own that a client remembers.
const LEASES_MAX: usize = 3;

/// Percentage of the rich writes that a client still asks for when it was told that the cluster is below their level.
const TRIES_LEVEL_PERCENT: u32 = 10;

/// Most items on a page.
const PAGE_ITEMS_MAX: u64 = 4;

/// Request of a client.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A write under a request id: all its copies are one operation.
    Write(Command),
    /// A command without a request id: each copy is an operation of its own.
    Unnamed(Command),
    Read {
        query: Query,
        stale: bool,
    },
}

/// A list of which a client has not read all pages.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The rest of the range.
    pub(crate) list: List,
    pub(crate) at: u64,
}

/// Returns the bytes of a value with this number: its digits, padded to `length` bytes.
fn value_bytes(number: u64, length: usize) -> Bytes {
    let mut value = number.to_string().into_bytes();
    value.resize(value.len().max(length), b'.');
    value.into()
}

fn key_bytes(key: u64) -> Bytes {
    format!("k{key}").into()
}

impl World {
    /// Draws the next operation of a client.
    pub(super) fn draw_operation(&mut self, id: ClientId) -> What {
        let plan = self.plan.clients;
        if self.chance.percent(plan.read_percent) {
            let stale = self.chance.percent(20);
            return self.draw_read(id, stale);
        }
        let tries = !self.clients[id].is_below_level || self.chance.percent(TRIES_LEVEL_PERCENT);
        if tries && self.chance.percent(plan.rich_percent) {
            return self.draw_rich_write(id);
        }
        let key = self.draw_key();
        let is_last = key == key_bytes(plan.keys - 1);
        let is_conditional = is_last || self.chance.percent(plan.conditional_percent);
        let condition = is_conditional.then(|| self.draw_condition(id, &key));
        let prev = self.chance.percent(20);
        let operation = if self.chance.percent(15) {
            Operation::Delete { key, condition, prev }
        } else {
            Operation::Set { put: Put { prev, ..Put::new(key, self.next_value()) }, condition }
        };
        self.named(id, operation)
    }

    /// Gives a write the next request id of a client.
    pub(super) fn named(&mut self, id: ClientId, operation: Operation) -> What {
        let request = Some(self.clients[id].next_request());
        What::Write(Command { operation, request })
    }

    pub(super) fn draw_key(&mut self) -> Bytes {
        key_bytes(self.chance.within(0..self.plan.clients.keys))
    }

    pub(super) fn next_value(&mut self) -> Bytes {
        self.values += 1;
        value_bytes(self.values, self.plan.clients.value_bytes)
    }

    fn draw_condition(&mut self, id: ClientId, key: &Bytes) -> Condition {
        let seen = self.clients[id].seen.get(key).cloned();
        match (self.chance.within(0..6), seen) {
            (0 | 1, Some((_, revision))) => Condition::ModRevision(revision),
            (2 | 3, Some((value, _))) => Condition::Value(value),
            (4, _) => Condition::Present,
            _ => Condition::Absent,
        }
    }

    /// Draws a range: of one key, of a few, of all keys of values, or of all keys.
    fn draw_range(&mut self) -> KeyRange {
        match self.chance.within(0..6) {
            0 => KeyRange::of_key(&self.draw_key()),
            1 => KeyRange::of_prefix(b"k"),
            2 => KeyRange::ALL,
            3 => KeyRange { from: self.draw_key(), to: None },
            _ => {
                let (one, other) = (self.draw_key(), self.draw_key());
                KeyRange { from: one.clone().min(other.clone()), to: Some(one.max(other)) }
            }
        }
    }

    fn draw_list(&mut self) -> List {
        let (range, limit) = (self.draw_range(), self.chance.within(1..PAGE_ITEMS_MAX + 1));
        let (descending, keys_only) = (self.chance.percent(25), self.chance.percent(15));
        let counted = self.chance.percent(25).then(|| range.clone());
        List { descending, keys_only, counted, ..list_of(range, limit) }
    }

    fn draw_read(&mut self, id: ClientId, stale: bool) -> What {
        let plan = self.plan.clients;
        if let Some(Page { list, at }) = self.clients[id].page.take() {
            return What::Read { query: Query::List { list, at: Some(at) }, stale };
        }
        if !self.chance.percent(plan.rich_percent) {
            return What::Read { query: Query::of_key(self.draw_key()), stale };
        }
        // A revision that the client knows: of what it has seen of a key, or the newest.
        let known: Vec<u64> = self.clients[id].seen.values().map(|(_, revision)| *revision).collect();
        let at = self.chance.any_of(&known).filter(|_| !stale);
        let query = match self.chance.within(0..20) {
            0..8 => Query::List { list: self.draw_list(), at: None },
            8..10 => Query::List { list: self.draw_list(), at },
            10..12 => Query::Get { key: self.draw_key(), at },
            12 | 13 => Query::Past { key: self.draw_key() },
            14 | 15 => Query::Lock(self.draw_lock()),
            16 | 17 if !self.clients[id].leases.is_empty() => {
                let leases = self.clients[id].leases.clone();
                Query::Lease(self.chance.one_of(&leases))
            }
            _ => Query::Txn(self.draw_txn(id, &mut 0, 0)),
        };
        What::Read { query, stale }
    }

    fn draw_rich_write(&mut self, id: ClientId) -> What {
        let client = &self.clients[id];
        let leases = client.leases.clone();
        let lease = self.chance.any_of(&leases);
        match (self.chance.within(0..100), lease) {
            (0..30, _) => {
                let mut values = 2;
                let txn = self.draw_txn(id, &mut values, 0);
                self.named(id, Operation::Txn(txn))
            }
            (30..38, _) => {
                let (range, prev) = (self.draw_range(), self.chance.percent(30));
                let limit = self.chance.percent(40).then(|| self.chance.within(1..4));
                let held = self.draw_held(id);
                self.named(id, Operation::DeleteRange { delete: DeleteRange { range, limit, prev }, held })
            }
            (38..46, Some(lease)) => self.draw_lease_write(id, PutLease::Of(lease)),
            (46..54, _) => {
                let ttl_ms = self.draw_ttl();
                self.draw_lease_write(id, PutLease::Own { ttl_ms })
            }
            (54..57, _) => self.draw_lease_write(id, PutLease::Keep),
            (57..67, Some(_)) => {
                // Now and then one that is not there.
                let mut kept = leases;
                if self.chance.percent(20) {
                    kept.extend(LeaseId::new(self.chance.within(1..64)));
                }
                let count = self.chance.within(1..kept.len() as u64 + 1) as usize;
                kept.truncate(count);
                What::Unnamed(Command { operation: Operation::KeepAlive { leases: kept }, request: None })
            }
            (67..70, Some(lease)) => {
                self.clients[id].leases.retain(|known| *known != lease);
                self.named(id, Operation::RevokeLease { lease })
            }
            (70..72, _) => {
                let known: Vec<u64> = self.clients[id].seen.values().map(|(_, revision)| *revision).collect();
                let revision = self.chance.any_of(&known).unwrap_or(1);
                self.named(id, Operation::Compact { revision })
            }
            (72..92, _) => self.draw_lock_step(id),
            _ => {
                let (ttl_ms, chooses) = (self.draw_ttl(), self.chance.percent(50));
                let lease = if chooses { LeaseId::new(self.chance.within(1..64)) } else { None };
                self.named(id, Operation::GrantLease { lease, ttl_ms })
            }
        }
    }

    pub(super) fn draw_ttl(&mut self) -> u64 {
        self.chance.one_of(TTLS_MS)
    }

    fn draw_lease_write(&mut self, id: ClientId, lease: PutLease) -> What {
        let (key, prev) = (self.draw_key(), self.chance.percent(20));
        let condition = self.chance.percent(30).then(|| self.draw_condition(id, &key));
        let put = Put { lease, prev, ..Put::new(key, self.next_value()) };
        self.named(id, Operation::Set { put, condition })
    }

    /// Draws a condition on the lock that a client believes to hold.
    pub(super) fn draw_held(&mut self, id: ClientId) -> Option<Held> {
        let held = self.clients[id].place.as_ref().and_then(Place::held);
        held.filter(|_| self.chance.percent(60))
    }

    /// Draws a transaction with at most so many values. `depth` is the number of those around it.
    fn draw_txn(&mut self, id: ClientId, values: &mut u64, depth: u32) -> Txn {
        let compares = (0..self.chance.within(0..3)).map(|_| self.draw_compare(id)).collect();
        // No key is written twice on one path. Each branch of each part has keys of its own.
        let mut keys: Vec<u64> = (0..self.plan.clients.keys).collect();
        self.chance.shuffle(&mut keys);
        self.draw_branches(id, values, depth, &mut keys, compares)
    }

    fn draw_branches(
        &mut self,
        id: ClientId,
        values: &mut u64,
        depth: u32,
        keys: &mut Vec<u64>,
        compares: Vec<Compare>,
    ) -> Txn {
        let mut draw = |world: &mut Self| {
            let count = world.chance.within(0..5);
            (0..count).filter_map(|_| world.draw_op(id, values, depth, keys)).collect::<Vec<_>>()
        };
        let (then, or_else) = (draw(self), draw(self));
        Txn { compares, then, or_else }
    }

    fn draw_op(&mut self, id: ClientId, values: &mut u64, depth: u32, keys: &mut Vec<u64>) -> Option<Op> {
        let only_reads = *values == 0;
        let kind = self.chance.within(0..12);
        Some(match kind {
            0..5 if !only_reads => {
                *values -= 1;
                let (key, prev) = (key_bytes(keys.pop()?), self.chance.percent(20));
                let lease = match self.chance.within(0..10) {
                    0 => PutLease::Keep,
                    1 => PutLease::Own { ttl_ms: self.draw_ttl() },
                    2 => self.clients[id].leases.last().map_or(PutLease::None, |lease| PutLease::Of(*lease)),
                    _ => PutLease::None,
                };
                Op::Put(Put { lease, prev, ..Put::new(key, self.next_value()) })
            }
            5 if !only_reads => Op::Delete { key: key_bytes(keys.pop()?), prev: self.chance.percent(20) },
            6 if !only_reads => {
                // The places of locks are in the way of no other write of the transaction.
                let is_of_locks = self.chance.percent(20);
                let range =
                    if is_of_locks { KeyRange::of_prefix(b"l") } else { KeyRange::of_key(&key_bytes(keys.pop()?)) };
                Op::DeleteRange(DeleteRange { range, limit: None, prev: self.chance.percent(20) })
            }
            7 if depth < 3 => {
                let compares = (0..self.chance.within(0..2)).map(|_| self.draw_compare(id)).collect();
                Op::Txn(self.draw_branches(id, values, depth + 1, keys, compares))
            }
            8 | 9 => Op::List(self.draw_list()),
            _ => Op::Get { key: self.draw_key() },
        })
    }

    fn draw_compare(&mut self, id: ClientId) -> Compare {
        if let Some(held) = self.draw_held(id) {
            return Compare::Held(held);
        }
        let seen: Vec<Bytes> = self.clients[id].seen.keys().cloned().collect();
        let known = match seen.len() {
            0 => None,
            count => seen.get(self.chance.within(0..count as u64) as usize),
        };
        let (key, known) = match known.filter(|_| self.chance.percent(70)) {
            Some(key) => (key.clone(), self.clients[id].seen.get(key).cloned()),
            None => (self.draw_key(), None),
        };
        let range = if self.chance.percent(80) { KeyRange::of_key(&key) } else { self.draw_range() };
        let relation = self.chance.one_of(&[Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater]);
        let relation = if self.chance.percent(60) { Relation::Equal } else { relation };
        let test = match (self.chance.within(0..8), known) {
            (0, _) => Test::Absent,
            (1, _) => Test::Present,
            (2, _) => Test::Version(relation, self.chance.within(0..3)),
            (3, _) => Test::Lease(relation, 0),
            (4, Some((_, revision))) => Test::CreateRevision(relation, revision),
            // The value of a compare takes room in the log, as that of a write does.
            (5, Some((value, _))) if value.len() < 1_000 => Test::Value(relation, value),
            (_, Some((_, revision))) => Test::ModRevision(relation, revision),
            _ => Test::ModRevision(Relation::Greater, 0),
        };
        Compare::Keys { range, test }
    }
}

impl Client {
    fn next_request(&mut self) -> RequestId {
        self.seq += 1;
        RequestId { client: self.name.clone(), seq: self.seq }
    }

    /// Remembers a lease of its own.
    pub(super) fn knows_lease(&mut self, lease: LeaseId) {
        if !self.leases.contains(&lease) {
            self.leases.push(lease);
        }
        if self.leases.len() > LEASES_MAX {
            self.leases.remove(0);
        }
    }
}

impl ClientPlan {
    /// Largest number of values in one command.
    pub(crate) const VALUES_MAX: usize = 2;
}
