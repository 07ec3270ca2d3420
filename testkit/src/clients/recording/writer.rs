//! Clients that write through the real client, or at one node.

use super::fate::Fate;
use super::keys::{any_key, is_guarded, seen};
use super::notes::{Notes, Revision, StaleRead};
use super::one_node::OneNode;
use super::shared::{PAUSE, REFUSED_PAUSE, Shared};
use crate::linearizability::{self, Answer, Call, Moment, Operation, Value};
use kvclient::{Client, Condition, DeleteReply, DeleteRequest, Item, SetReply, SetRequest};
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

/// Writes, and reads in between.
pub(super) struct Writer {
    pub(super) client: Client,
    /// The node to which all writes go, if they do not go through the client.
    pub(super) node: Option<OneNode>,
    /// True if each request is sent once and never repeated.
    pub(super) sends_once: bool,
    pub(super) random: StdRng,
    pub(super) shared: Arc<Shared>,
    pub(super) notes: Notes,
    /// Last value of each key that was seen or written, with its revision.
    pub(super) known: BTreeMap<u64, (Value, u64)>,
}

impl Writer {
    pub(super) fn run(mut self) -> Notes {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = any_key(&mut self.random);
            let done = match self.random.random_range(0..100) {
                0..25 => self.get(key),
                25..35 => self.get_stale(key),
                35..55 if !is_guarded(key) => self.set(key, None),
                55..60 if !is_guarded(key) => self.delete(key, None),
                60..70 if !is_guarded(key) => {
                    let condition = self.any_condition(key);
                    self.delete(key, Some(condition))
                }
                _ => {
                    let condition = self.any_condition(key);
                    self.set(key, Some(condition))
                }
            };
            thread::sleep(if done { PAUSE } else { REFUSED_PAUSE });
        }
        self.notes
    }

    fn any_condition(&mut self, key: u64) -> Condition {
        match (self.random.random_range(0..10), self.known.get(&key)) {
            (0, _) | (_, None) => Condition::Absent,
            (1, _) => Condition::Present,
            (2..6, Some((value, _))) => Condition::Value(value.to_string().into_bytes()),
            (_, Some((_, revision))) => Condition::ModRevision(*revision),
        }
    }

    /// Returns the condition in the checker's form: only known values occur in conditions.
    fn translated(&self, key: u64, condition: &Condition) -> linearizability::Condition {
        match condition {
            Condition::Absent => linearizability::Condition::Absent,
            Condition::Present => linearizability::Condition::Present,
            Condition::ModRevision(_) | Condition::Value(_) => linearizability::Condition::Value(self.known[&key].0),
            Condition::Held(_) => unreachable!("these writers take no locks"),
        }
    }

    fn get(&mut self, key: u64) -> bool {
        let invoked = self.shared.clock.now();
        let Ok(item) = self.client.get(self.shared.names.name(key)) else { return false };
        let returned = self.shared.clock.now();
        self.notes.add_read(key, invoked, returned, item.as_ref().map(seen));
        self.learn(key, item.as_ref());
        true
    }

    /// Reads from any node: the order of such reads is not guaranteed.
    fn get_stale(&mut self, key: u64) -> bool {
        let Ok(item) = self.client.get_stale(self.shared.names.name(key)) else { return false };
        let returned = self.shared.clock.now();
        self.notes.stale_reads.push(StaleRead { life: None, key, returned, item });
        true
    }

    fn set(&mut self, key: u64, condition: Option<Condition>) -> bool {
        let value = self.shared.values.fetch_add(1, Ordering::Relaxed) + 1;
        let translated = condition.as_ref().map(|condition| self.translated(key, condition));
        let invoked = self.shared.clock.now();
        let name = self.shared.names.name(key);
        let request = SetRequest { condition, ..SetRequest::new(&name, value.to_string()) };
        let fate = match &mut self.node {
            Some(node) => Fate::of_post(node, "/set", &request),
            None => self.client.set_with(request).into(),
        };
        let fate = fate.map(|SetReply { revision, created, .. }| {
            self.known.insert(key, (value, revision));
            (Answer::Written { existed: !created }, Some(revision))
        });
        self.written(key, invoked, Call::Set { value, condition: translated }, fate)
    }

    fn delete(&mut self, key: u64, condition: Option<Condition>) -> bool {
        let translated = condition.as_ref().map(|condition| self.translated(key, condition));
        let invoked = self.shared.clock.now();
        let name = self.shared.names.name(key);
        let request = DeleteRequest { condition, ..DeleteRequest::new(&name) };
        let fate = match &mut self.node {
            Some(node) => Fate::of_post(node, "/delete", &request),
            None => self.client.delete_with(request).into(),
        };
        let fate = fate.map(|DeleteReply { revision, deleted, .. }| {
            (Answer::Written { existed: deleted > 0 }, (deleted > 0).then_some(revision))
        });
        self.written(key, invoked, Call::Delete { condition: translated }, fate)
    }

    /// Notes the outcome of a write; returns whether it was answered.
    fn written(&mut self, key: u64, invoked: Moment, call: Call, fate: Fate<(Answer, Option<u64>)>) -> bool {
        let returned = self.shared.clock.now();
        let answer = match fate {
            Fate::Done((answer, changed_at)) => {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.notes.acknowledged += 1;
                self.notes.at_one_node += usize::from(self.node.is_some());
                let changed = |revision| Revision { invoked, returned, revision, changed: true };
                self.notes.revisions.extend(changed_at.map(changed));
                Some(answer)
            }
            Fate::ConditionFailed(current) => {
                self.learn(key, current.as_ref());
                // If the request is repeated, the answer shows the item at that later time.
                Some(Answer::ConditionFailed { current: self.sends_once.then(|| current.as_ref().map(seen)) })
            }
            Fate::Refused => {
                self.notes.refused += 1;
                return false;
            }
            Fate::Unknown => {
                self.notes.unknown += 1;
                None
            }
        };
        self.notes.operations.push(Operation { key, invoked, returned: answer.map(|_| returned), call, answer });
        answer.is_some()
    }

    fn learn(&mut self, key: u64, item: Option<&Item>) {
        match item {
            Some(item) => self.known.insert(key, (seen(item).value, item.mod_revision)),
            None => self.known.remove(&key),
        };
    }
}
