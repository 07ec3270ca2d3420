//! The clients that write and read.

use super::notes::{Items, Mortal, Note, Notes, Saw};
use kvclient::api::{DeleteRequest, ListReply, SetRequest};
use kvclient::{Applied, Client, Error, Item, Key, Range, Txn, TxnOutcome};
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Prefixes of accounts, whose sum stays the same; of keys that anybody writes; and of keys that end by themselves.
pub(super) const BANK: &str = "bank/";
pub(super) const DATA: &str = "data/";
pub(super) const MORTAL: &str = "mortal/";

pub(super) const ACCOUNTS: u64 = 5;
pub(super) const BALANCE: u64 = 100;

const KEYS: u64 = 6;

/// Shortest and longest time to live.
const TTL_MIN_MS: u64 = 500;
const TTL_MAX_MS: u64 = 1_500;

/// State that all clients share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) stop: AtomicBool,
    /// Makes each value written different from all others.
    values: AtomicU64,
    /// Number of acknowledged writes.
    pub(super) acknowledged: AtomicU64,
}

/// A client.
pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) random: StdRng,
    pub(super) shared: Arc<Shared>,
    pub(super) notes: Notes,
}

/// Returns the balance in the value of an account.
pub(super) fn balance(value: &str) -> u64 {
    value.split('#').next().and_then(|balance| balance.parse().ok()).expect("an account holds a number")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("all keys and values here are text")
}

/// Returns the items of a page, which must be whole.
fn items_of(page: ListReply) -> Items {
    assert!(!page.more, "there are few keys");
    let item = |item: kvclient::api::ListItem| {
        let item = Item::try_from(item).expect("values were asked for");
        (text(item.key.as_bytes()), text(&item.value))
    };
    page.items.into_iter().map(item).collect()
}

fn effects<const N: usize>(effects: [(&str, &str); N]) -> BTreeMap<String, Option<String>> {
    effects.into_iter().map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).collect()
}

impl Shared {
    pub(super) fn value(&self, begins: &str) -> String {
        format!("{begins}#{}", self.values.fetch_add(1, Ordering::Relaxed))
    }
}

impl Worker {
    pub(super) fn run(mut self) -> Notes {
        while !self.shared.stop.load(Ordering::Relaxed) {
            match self.random.random_range(0..100) {
                0..30 => self.transfer(),
                30..55 => self.set(),
                55..65 => self.delete_some(),
                65..75 => self.set_mortal(),
                75..92 => {
                    let prefix = self.prefix();
                    drop(self.list(prefix));
                }
                _ => self.list_past(),
            }
        }
        self.notes
    }

    fn prefix(&mut self) -> &'static str {
        [BANK, DATA, MORTAL][self.random.random_range(0..3)]
    }

    fn note(&mut self, invoked: Instant, saw: Saw) {
        if matches!(saw, Saw::Wrote { .. }) {
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.notes.operations.push(Note { invoked, returned: Instant::now(), saw });
    }

    /// Notes the failure of a write of these values, or of a delete of the keys with this prefix.
    fn failed(&mut self, invoked: Instant, error: &Error, values: Vec<String>, deletes: Option<String>) {
        match error.applied() {
            Applied::No => self.note(invoked, Saw::Refused { values }),
            Applied::Unknown => self.note(invoked, Saw::Unknown { values, deletes }),
        }
    }

    fn key(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.random.random_range(0..KEYS))
    }

    fn set(&mut self) {
        let (key, value) = (self.key(DATA), self.shared.value("v"));
        let invoked = Instant::now();
        match self.client.set(&key, &value) {
            Ok(reply) => {
                self.note(invoked, Saw::Wrote { revision: reply.revision, effects: effects([(&key, &value)]) });
            }
            Err(error) => self.failed(invoked, &error, vec![value], None),
        }
    }

    fn set_mortal(&mut self) {
        let (key, value) = (self.key(MORTAL), self.shared.value("m"));
        let ttl_ms = self.random.random_range(TTL_MIN_MS..=TTL_MAX_MS);
        let invoked = Instant::now();
        let request = SetRequest { ttl_ms: Some(ttl_ms), ..SetRequest::new(key.as_str(), value.as_str()) };
        match self.client.set_with(request) {
            Ok(reply) => {
                let revision = reply.revision;
                self.note(invoked, Saw::Wrote { revision, effects: effects([(&key, &value)]) });
                self.notes.mortals.push(Mortal { revision, key, invoked, ttl: Duration::from_millis(ttl_ms) });
            }
            Err(error) => self.failed(invoked, &error, vec![value], None),
        }
    }

    fn delete_some(&mut self) {
        let key = self.key(DATA);
        // All keys but the first few, so that the range has several.
        let range = Range::between(key.as_str(), "data0");
        let invoked = Instant::now();
        match self.client.delete_with(DeleteRequest { prev: true, ..DeleteRequest::new(range) }) {
            Ok(reply) => {
                let gone = reply.items.expect("they were asked for");
                assert_eq!(gone.len() as u64, reply.deleted);
                if gone.is_empty() {
                    return;
                }
                let effects = gone.into_iter().map(|item| (text(item.key.as_bytes()), None)).collect();
                self.note(invoked, Saw::Wrote { revision: reply.revision, effects });
            }
            Err(error) => self.failed(invoked, &error, Vec::new(), Some(DATA.into())),
        }
    }

    /// Reads all keys with this prefix, and returns the reply.
    fn list(&mut self, prefix: &'static str) -> Option<ListReply> {
        let invoked = Instant::now();
        let page = self.client.list(Range::prefix(prefix)).page().ok()?;
        self.note(invoked, Saw::Read { revision: page.revision, prefix, found: items_of(page.clone()) });
        Some(page)
    }

    fn list_past(&mut self) {
        let prefix = self.prefix();
        let newest = self.notes.operations.iter().rev().find_map(|note| match &note.saw {
            Saw::Wrote { revision, .. } | Saw::Read { revision, .. } => Some(*revision),
            Saw::Past { .. } | Saw::Refused { .. } | Saw::Unknown { .. } => None,
        });
        let Some(newest) = newest else { return };
        let revision = self.random.random_range(newest.saturating_sub(50).max(1)..=newest);
        let invoked = Instant::now();
        if let Ok(page) = self.client.list(Range::prefix(prefix)).at(revision).page() {
            self.note(invoked, Saw::Past { revision, prefix, found: items_of(page) });
        }
    }

    /// Moves money from one account to another, if nobody else has changed the two since they were read.
    fn transfer(&mut self) {
        let Some(page) = self.list(BANK) else { return };
        let accounts: Vec<Item> =
            page.items.into_iter().map(|item| Item::try_from(item).expect("values were asked for")).collect();
        let [from, to] = [(); 2].map(|()| self.random.random_range(0..accounts.len()));
        let (from, to) = (&accounts[from], &accounts[to]);
        let balance_of = |item: &Item| balance(&text(&item.value));
        let amount = self.random.random_range(0..=balance_of(from));
        if from.key == to.key {
            return;
        }
        let less = self.shared.value(&(balance_of(from) - amount).to_string());
        let more = self.shared.value(&(balance_of(to) + amount).to_string());
        let mut txn = Txn::new();
        txn.when_unchanged(from).when_unchanged(to);
        let _ = txn.then().set(from.key.clone(), less.as_str());
        let _ = txn.then().set(to.key.clone(), more.as_str());
        let present = txn.otherwise().list(Range::prefix(BANK));
        let name = |key: &Key| text(key.as_bytes());
        let (from, to) = (name(&from.key), name(&to.key));
        let invoked = Instant::now();
        match self.client.commit(txn) {
            Ok(TxnOutcome::Then(results)) => {
                let effects = effects([(&from, &less), (&to, &more)]);
                self.note(invoked, Saw::Wrote { revision: results.revision(), effects });
            }
            Ok(TxnOutcome::Else(mut results)) => {
                let (revision, found) = (results.revision(), items_of(results.take(present)));
                self.note(invoked, Saw::Read { revision, prefix: BANK, found });
                self.note(invoked, Saw::Refused { values: vec![less, more] });
            }
            Err(error) => self.failed(invoked, &error, vec![less, more], None),
        }
    }
}
