//! Histories as clients of a correct store may see them: each operation is carried out by a real store, one at a time,
//! at a random moment between its call and its answer.

use bytes::Bytes;
use kvd::kv::{self, Command, Outcome, Store};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use testkit::linearizability::{Answer, Call, Condition, Moment, Operation, Seen, Value};

/// Shape of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) clients: usize,
    pub(crate) operations: usize,
    /// Longest time from a call to its effect, and from there to its answer.
    pub(crate) span: Moment,
    /// Longest time between an answer and the client's next call.
    pub(crate) pause: Moment,
    /// In percent of all operations: those whose outcome stays unknown. A third of them never takes effect, the others
    /// do so up to ten times as late.
    pub(crate) unknown: u32,
    /// In percent of all operations; the others write.
    pub(crate) reads: u32,
    /// In percent of the writes: those with a condition.
    pub(crate) conditions: u32,
    /// In percent of the conditions that do not hold: those on any value that was ever to be written; the others are on
    /// one that was read, as those of real clients are.
    pub(crate) guesses: u32,
    /// In percent of the writes: those that delete.
    pub(crate) deletes: u32,
}

/// A linearizable history of one key.
pub(crate) fn random_history(random: &mut StdRng, key: u64, kind: Kind) -> Vec<Operation> {
    let mut points = Vec::new();
    let mut free: Vec<Moment> = (0..kind.clients).map(|_| random.random_range(0..=kind.pause)).collect();
    for _ in 0..kind.operations {
        let client = (0..kind.clients).min_by_key(|client| free[*client]).expect("a client");
        let invoked = free[client];
        let mut effect = Some(invoked + random.random_range(0..=kind.span));
        let mut returned = effect.map(|effect| effect + random.random_range(0..=kind.span));
        free[client] = invoked + 2 * kind.span;
        if chance(random, kind.unknown) {
            returned = None;
            effect = (!chance(random, 33)).then(|| invoked + random.random_range(0..=10 * kind.span));
        } else if let Some(returned) = returned {
            free[client] = returned;
        }
        free[client] += random.random_range(0..=kind.pause);
        points.push((effect, random.random::<u32>(), invoked, returned));
    }
    // Those that never take effect come first, where they have none.
    points.sort_unstable();

    let mut store = Sequential { store: Store::default(), written: Vec::new(), read: Vec::new() };
    let operation = |(effect, _, invoked, returned): (Option<Moment>, _, _, Option<Moment>)| {
        let call = store.any_call(random, kind);
        let answer = effect.map(|_| store.carry_out(call)).filter(|_| returned.is_some());
        Operation { key, invoked, returned, call, answer }
    };
    let mut history: Vec<Operation> = points.into_iter().map(operation).collect();
    history.sort_by_key(|operation| operation.invoked);
    history
}

/// Returns true with this probability.
pub(crate) fn chance(random: &mut StdRng, percent: u32) -> bool {
    random.random_range(0..100) < percent
}

struct Sequential {
    store: Store,
    /// Values that were ever to be written.
    written: Vec<Value>,
    /// Values that were found.
    read: Vec<Value>,
}

const KEY: &[u8] = b"key";

impl Sequential {
    fn any_call(&mut self, random: &mut StdRng, kind: Kind) -> Call {
        if chance(random, kind.reads) {
            return Call::Get;
        }
        let condition = chance(random, kind.conditions).then(|| self.any_condition(random, kind.guesses));
        if chance(random, kind.deletes) {
            return Call::Delete { condition };
        }
        let value = self.written.len() as Value + 1;
        self.written.push(value);
        Call::Set { value, condition }
    }

    fn any_condition(&self, random: &mut StdRng, guesses: u32) -> Condition {
        let values = if chance(random, guesses) { &self.written } else { &self.read };
        match (random.random_range(0..4), self.current(), values.choose(random)) {
            (0, ..) | (_, None, None) => Condition::Absent,
            (1, ..) => Condition::Present,
            (2, Some(seen), _) | (_, Some(seen), None) => Condition::Value(seen.value),
            (_, _, Some(value)) => Condition::Value(*value),
        }
    }

    fn current(&self) -> Option<Seen> {
        self.store.get(KEY).map(seen)
    }

    fn carry_out(&mut self, call: Call) -> Answer {
        let (key, prev) = (KEY.into(), false);
        let operation = match call {
            Call::Get => {
                self.read.extend(self.current().map(|seen| seen.value));
                return Answer::Found(self.current());
            }
            Call::Set { value, condition } => {
                let put = kv::Put { prev, ..kv::Put::new(key, bytes(value)) };
                kv::Operation::Set { put, condition: condition.map(condition_of) }
            }
            Call::Delete { condition } => kv::Operation::Delete { key, condition: condition.map(condition_of), prev },
        };
        match self.store.apply(0, &Command { operation, request: None }) {
            Outcome::Set { done, .. } => Answer::Written { existed: !done.created },
            Outcome::Deleted { done, .. } => Answer::Written { existed: done.deleted },
            Outcome::ConditionFailed { current } => Answer::ConditionFailed { current: Some(current.map(seen)) },
            outcome => panic!("{outcome:?} of a command without a session"),
        }
    }
}

fn bytes(value: Value) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}

fn seen(item: kv::Item) -> Seen {
    let value = item.value.as_ref().try_into().expect("a value of ours");
    Seen { value: Value::from_le_bytes(value), version: item.version }
}

fn condition_of(condition: Condition) -> kv::Condition {
    match condition {
        Condition::Absent => kv::Condition::Absent,
        Condition::Present => kv::Condition::Present,
        Condition::Value(value) => kv::Condition::Value(bytes(value)),
    }
}
