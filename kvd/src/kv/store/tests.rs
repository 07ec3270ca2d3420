//! The rules of the store case by case, and the whole of it at random against a naive model.

mod bounds;
mod data_model;
mod places;

use super::super::command::RequestId;
use super::super::hash::STATE_HASH_FORMAT;
use super::super::history::ChangePlace;
use super::super::item::Item;
use super::super::key_range::KeyRange;
use super::super::outcome::{DeleteDone, Excess, PutDone};
use super::super::sessions::{SESSION_IDLE_MS_MAX, SessionLimits};
use super::super::strategies;
use super::super::txn::{Compare, List, Op, Test, Txn};
use super::super::write::{Condition, Put};
use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

pub(super) fn set(key: &str, value: &str) -> Command {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Command { operation: Operation::Set { put: Put::new(key, value), condition: None }, request: None }
}

pub(super) fn delete(key: &str) -> Command {
    let key = Bytes::from(key.to_owned());
    Command { operation: Operation::Delete { key, condition: None, prev: false }, request: None }
}

/// Takes a snapshot with its history, and restores it.
pub(super) fn restored(store: &mut Store, piece_bytes: usize) -> Store {
    let summary = store.begin_snapshot().unwrap();
    let mut restoring = Restoring::new(summary).unwrap();
    while let Some(piece) = store.snapshot_piece(piece_bytes).unwrap() {
        restoring.piece(&piece).unwrap();
    }
    while let Some(piece) = store.history_piece(piece_bytes).unwrap() {
        restoring.history_piece(&piece).unwrap();
    }
    drop(store.end_snapshot());
    restoring.finish().unwrap()
}

impl Command {
    pub(super) fn only_if(mut self, wanted: Condition) -> Self {
        match &mut self.operation {
            Operation::Set { condition, .. } | Operation::Delete { condition, .. } => *condition = Some(wanted),
            _ => {}
        }
        self
    }

    pub(super) fn with_prev(mut self) -> Self {
        match &mut self.operation {
            Operation::Set { put: Put { prev, .. }, .. } | Operation::Delete { prev, .. } => *prev = true,
            _ => {}
        }
        self
    }

    pub(super) fn request(mut self, client: &str, seq: u64) -> Self {
        self.request = Some(RequestId { client: client.into(), seq });
        self
    }
}

fn item(value: &str, create_revision: Revision, mod_revision: Revision, version: u64) -> Item {
    Item { value: Bytes::from(value.to_owned()), create_revision, mod_revision, version, lease: None }
}

fn was_set(revision: Revision, created: bool, prev: Option<Item>) -> Outcome {
    Outcome::Set { revision, done: PutDone { created, prev, lease: None } }
}

fn was_deleted(revision: Revision, deleted: bool, prev: Option<Item>) -> Outcome {
    Outcome::Deleted { revision, done: DeleteDone { deleted, prev } }
}

fn failed(current: Option<Item>) -> Outcome {
    Outcome::ConditionFailed { current }
}

/// A store in which `commands` were applied at time 0.
pub(super) fn store_after(commands: impl IntoIterator<Item = Command>) -> Store {
    let mut store = Store::default();
    for command in commands {
        store.apply(0, &command);
    }
    store
}

#[test]
fn revisions_and_versions_count_what_changed() {
    let mut store = Store::default();
    assert_eq!(store.revision(), 1);
    for (case, command, outcome, now) in [
        ("a set creates", set("k", "x"), was_set(2, true, None), Some(item("x", 2, 2, 1))),
        ("a set overwrites", set("k", "y"), was_set(3, false, None), Some(item("y", 2, 3, 2))),
        ("the same value again counts", set("k", "y"), was_set(4, false, None), Some(item("y", 2, 4, 3))),
        ("another key", set("l", "x"), was_set(5, true, None), Some(item("y", 2, 4, 3))),
        (
            "prev is the item before",
            set("k", "z").with_prev(),
            was_set(6, false, Some(item("y", 2, 4, 3))),
            Some(item("z", 2, 6, 4)),
        ),
        ("a delete of nothing", delete("m"), was_deleted(6, false, None), Some(item("z", 2, 6, 4))),
        ("a delete", delete("k").with_prev(), was_deleted(7, true, Some(item("z", 2, 6, 4))), None),
        ("and once more", delete("k").with_prev(), was_deleted(7, false, None), None),
        ("a key that returns begins anew", set("k", "").with_prev(), was_set(8, true, None), Some(item("", 8, 8, 1))),
    ] {
        assert_eq!(store.apply(0, &command), outcome, "{case}");
        assert_eq!(store.get(b"k"), now, "{case}");
    }
    assert_eq!((store.revision(), store.len()), (8, 2));
}

#[test]
fn a_condition_decides_between_the_write_and_nothing() {
    let (present, absent) = (store_after([set("k", "x")]), Store::default());
    let revision = present.get(b"k").map(|item| item.mod_revision).unwrap();
    for (condition, holds_when_present, holds_when_absent) in [
        (Condition::Absent, false, true),
        (Condition::Present, true, false),
        (Condition::ModRevision(revision), true, false),
        (Condition::ModRevision(revision + 1), false, false),
        (Condition::ModRevision(0), false, false),
        (Condition::Value("x".into()), true, false),
        (Condition::Value("".into()), false, false),
    ] {
        for (store, holds) in [(&present, holds_when_present), (&absent, holds_when_absent)] {
            for command in [set("k", "y"), delete("k")] {
                let command = command.only_if(condition.clone());
                let mut replica = if store.is_empty() { Store::default() } else { store_after([set("k", "x")]) };
                let outcome = replica.apply(0, &command);
                if holds {
                    assert!(!matches!(outcome, Outcome::ConditionFailed { .. }), "{command:?}");
                } else {
                    assert_eq!(outcome, failed(store.get(b"k")), "{command:?}");
                    assert_eq!(replica.state_hash(), store.state_hash(), "{command:?}");
                }
            }
        }
    }
}

#[test]
fn of_writers_that_race_with_one_condition_exactly_one_wins() {
    for condition in [Condition::ModRevision(2), Condition::Value("start".into())] {
        let mut store = store_after([set("k", "start")]);
        let outcomes: Vec<_> = (0..8)
            .map(|writer| store.apply(0, &set("k", &format!("writer {writer}")).only_if(condition.clone())))
            .collect();
        assert_eq!(outcomes[0], was_set(3, false, None));
        assert_eq!(outcomes[1..], vec![failed(Some(item("writer 0", 2, 3, 2))); 7]);
        assert_eq!(store.revision(), 3);
    }
}

#[test]
fn a_repeated_request_gets_its_reply_and_is_applied_once() {
    let mut store = Store::default();
    let create = set("k", "x").request("client", 1);
    assert_eq!(store.apply(0, &create), was_set(2, true, None));
    store.apply(0, &set("k", "written by another"));
    for repeat in 0..3 {
        assert_eq!(store.apply(repeat, &create), was_set(2, true, None), "as told the first time");
        assert_eq!(store.get(b"k"), Some(item("written by another", 2, 3, 2)), "and the later write stands");
    }

    let remove = delete("k").with_prev().request("client", 2);
    let removed = was_deleted(4, true, Some(item("written by another", 2, 3, 2)));
    assert_eq!(store.apply(0, &remove), removed);
    assert_eq!(store.apply(0, &remove), removed);
    assert_eq!(store.apply(0, &create), Outcome::StaleRequest { newest: 2 });
    assert_eq!((store.revision(), store.len()), (4, 0));
}

#[test]
fn a_repeat_of_a_failed_condition_fails_though_it_would_hold_by_now() {
    let mut store = Store::default();
    let command = set("k", "x").only_if(Condition::Present).request("client", 1);
    assert_eq!(store.apply(0, &command), failed(None));
    store.apply(0, &set("k", "y"));
    let present = Some(item("y", 2, 2, 1));
    assert_eq!(store.apply(0, &command), failed(present.clone()), "shown as it is by now");
    assert_eq!(store.get(b"k"), present);
}

#[test]
fn a_request_of_a_forgotten_session_is_new() {
    let mut store = Store::default();
    let command = set("k", "x").request("client", 1);
    store.apply(0, &command);
    assert_eq!(store.apply(SESSION_IDLE_MS_MAX - 1, &command), was_set(2, true, None));
    assert_eq!(store.apply(2 * SESSION_IDLE_MS_MAX, &command), was_set(3, false, None));
}

#[test]
fn a_client_whose_name_cannot_be_remembered_is_not_served() {
    let mut store = Store::with_session_limits(SessionLimits { sessions_max: 1, ..SessionLimits::default() });
    store.apply(0, &set("k", "x").request("a", 1));
    let before = store.state_hash();
    assert_eq!(store.apply(0, &set("k", "y").request("b", 1)), Outcome::SessionsFull);
    assert_eq!(store.state_hash(), before);
    assert_eq!(store.apply(0, &set("k", "y").request("a", 2)), was_set(3, false, None), "others write on");
    assert_eq!(store.apply(0, &set("k", "y")), was_set(4, false, None));
}

#[test]
fn large_items_keep_no_client_from_writing() {
    let large = "x".repeat(1000);
    let mut store = Store::with_session_limits(SessionLimits { reply_bytes_max: 2500, ..SessionLimits::default() });
    store.apply(0, &set("k", &large));
    let current = store.get(b"k");
    for client in 0..10 {
        let guarded = set("k", "x").only_if(Condition::Absent).request(&format!("guarded {client}"), 1);
        for _ in 0..2 {
            assert_eq!(store.apply(0, &guarded), failed(current.clone()));
        }
    }
    let writes: Vec<_> =
        (0..10).map(|client| set("k", &large).with_prev().request(&format!("writer {client}"), 1)).collect();
    for (time_ms, write) in (1..).zip(&writes) {
        let before = store.get(b"k");
        let revision = store.revision() + 1;
        for _ in 0..2 {
            assert_eq!(store.apply(time_ms, write), was_set(revision, false, before.clone()));
        }
    }
    let before = store.get(b"k");
    assert_eq!(store.apply(20, &writes[0]), Outcome::StaleRequest { newest: 1 }, "its reply had to make room");
    assert_eq!(store.get(b"k"), before, "and it is not applied again");
}

#[test]
fn a_number_used_again_for_another_operation_is_refused() {
    let first = set("k", "x").request("client", 1);
    for (case, other) in [
        ("another key", set("l", "x")),
        ("another value", set("k", "y")),
        ("another condition", set("k", "x").only_if(Condition::Present)),
        ("asking for the item before", set("k", "x").with_prev()),
        ("a delete", delete("k")),
    ] {
        let mut store = store_after([first.clone()]);
        let before = store.state_hash();
        assert_eq!(store.apply(0, &other.request("client", 1)), Outcome::SeqReused, "{case}");
        assert_eq!(store.state_hash(), before, "{case}");
        assert_eq!(store.apply(0, &first), was_set(2, true, None), "{case}");
    }
}

#[test]
fn a_transaction_that_only_reads_is_answered_as_its_command_and_changes_nothing() {
    let mut store = Store::default();
    for key in ["a", "b", "c"] {
        store.apply(1, &set(key, "v"));
    }
    let list = List {
        range: KeyRange::ALL,
        limit: 2,
        descending: true,
        keys_only: false,
        counted: Some(KeyRange::ALL),
        count_only: false,
        delimiter: None,
    };
    let get = Op::Get { key: "a".into() };
    let nested = Txn { compares: Vec::new(), then: vec![get.clone()], or_else: Vec::new() };
    let compare = |test| Compare::Keys { range: KeyRange::ALL, test };
    for test in [Test::Present, Test::Absent] {
        let then = vec![get.clone(), Op::List(list.clone())];
        let txn = Txn { compares: vec![compare(test)], then, or_else: vec![Op::Txn(nested.clone())] };
        let (read, hash) = (store.read_txn(&txn), store.state_hash());
        let command = Command { operation: Operation::Txn(txn), request: None };
        assert_eq!(store.apply(1, &command), read);
        assert_eq!((store.revision(), store.state_hash()), (4, hash));
    }
    let too_many = Txn { compares: vec![compare(Test::Present); 40_000], ..nested };
    assert_eq!(store.read_txn(&too_many), Outcome::TooLarge(Excess::Visits));
}

#[test]
fn changes_of_a_key_are_told_newest_first() {
    let mut store = Store::default();
    for command in [set("k", "1"), set("other", "v"), set("k", "2"), delete("k")] {
        store.apply(1, &command);
    }
    let revisions = |before| store.changes_of(b"k", before).map(|change| change.revision).collect::<Vec<_>>();
    for (before, expected) in [(Revision::MAX, vec![5, 4, 2]), (5, vec![4, 2]), (4, vec![2]), (2, vec![]), (0, vec![])]
    {
        assert_eq!(revisions(before), expected, "{before}");
    }
    let changed =
        |from| store.changed_keys(ChangePlace::before(from)).unwrap().map(|(revision, _)| revision).collect::<Vec<_>>();
    assert_eq!((changed(2), changed(5), changed(6)), (vec![2, 3, 4, 5], vec![5], vec![]));
    store.apply(1, &Command { operation: Operation::Compact { revision: 4 }, request: None });
    assert!(store.changed_keys(ChangePlace::before(3)).is_err());
    let known: Vec<Revision> = store.changes_of(b"k", Revision::MAX).map(|change| change.revision).collect();
    assert_eq!(known, [5, 4]);
}

#[test]
fn keys_are_iterated_bytewise_from_any_bound() {
    let store = store_after(["b", "a", "ab", "B", "ä"].map(|key| set(key, "x")));
    for (from, expected) in [
        (Bound::Unbounded, vec!["B", "a", "ab", "b", "ä"]),
        (Bound::Included(&b"ab"[..]), vec!["ab", "b", "ä"]),
        (Bound::Excluded(b"ab"), vec!["b", "ä"]),
        (Bound::Included(b"aa"), vec!["ab", "b", "ä"]),
        (Bound::Excluded("ä".as_bytes()), vec![]),
    ] {
        let keys: Vec<_> = store.range_from(from).map(|(key, _)| std::str::from_utf8(key).unwrap()).collect();
        assert_eq!(keys, expected, "{from:?}");
    }
}

#[test]
fn the_state_hash_tells_states_apart() {
    let base = || vec![set("k", "x"), set("l", "x").request("client", 1)];
    let store = store_after(base());
    assert_eq!(store.state_hash(), store_after(base()).state_hash());
    for (case, other) in [
        ("a value", store_after([set("k", "y"), set("l", "x").request("client", 1)])),
        ("the keys of two values", store_after([set("l", "x"), set("k", "x").request("client", 1)])),
        ("the revision alone", store_after([base(), vec![set("m", ""), delete("m")]].concat())),
        ("a session", store_after([set("k", "x"), set("l", "x")])),
        ("the client of a session", store_after([set("k", "x"), set("l", "x").request("another", 1)])),
        ("the seq of a session", store_after([set("k", "x"), set("l", "x").request("client", 2)])),
    ] {
        assert_ne!(other.state_hash(), store.state_hash(), "{case}");
    }
    let mut later = store_after(base());
    later.apply(1, &set("l", "x").request("client", 1));
    assert_ne!(later.state_hash(), store.state_hash(), "when a session was last used");
}

/// Nodes of different versions compare their hashes: change what is hashed, and they seem to differ.
#[test]
fn the_state_hash_is_pinned() {
    assert_eq!(STATE_HASH_FORMAT, 1, "another hash has another format");
    assert_eq!(Store::default().state_hash().to_string(), "a600a63f9baa7ba7ec83f1815431f9be");
    let mut store = Store::default();
    store.apply(1_000, &set("color", "blue").request("client", 7));
    assert_eq!(store.state_hash().to_string(), "f291c1e2dead7868e1062fb9630c2c24");
}

#[test]
fn the_debug_form_shows_no_key_and_no_value() {
    let shown = format!("{:?}", store_after([set("secret key", "secret value").request("secret client", 1)]));
    assert!(shown.contains("keys: 1") && !shown.contains("secret"), "{shown}");
}

/// The semantics, implemented in the most naive way: everything is looked up by scanning.
struct Model {
    items: HashMap<Vec<u8>, Item>,
    revision: Revision,
    level: Level,
    sessions: HashMap<String, ModelSession>,
    now_ms: u64,
    limits: SessionLimits,
}

struct ModelSession {
    seq: u64,
    operation: Operation,
    /// None once dropped.
    outcome: Option<Outcome>,
    last_used_ms: u64,
}

impl Model {
    fn apply(&mut self, time_ms: u64, command: &Command) -> Outcome {
        self.now_ms = self.now_ms.max(time_ms);
        let now_ms = self.now_ms;
        self.sessions.retain(|_, session| now_ms - session.last_used_ms < SESSION_IDLE_MS_MAX);
        let Some(request) = &command.request else { return self.perform(&command.operation) };

        if let Some(session) = self.sessions.get_mut(&request.client)
            && request.seq <= session.seq
        {
            session.last_used_ms = now_ms;
            let stale = Outcome::StaleRequest { newest: session.seq };
            return match &session.outcome {
                _ if request.seq < session.seq => stale,
                _ if session.operation != command.operation => Outcome::SeqReused,
                None => stale,
                Some(Outcome::ConditionFailed { .. }) => {
                    let key = command.operation.key().expect("a request is about a key");
                    Outcome::ConditionFailed { current: self.items.get(key).cloned() }
                }
                Some(outcome) => outcome.clone(),
            };
        }
        if !self.sessions.contains_key(&request.client) && self.sessions.len() == self.limits.sessions_max {
            return Outcome::SessionsFull;
        }
        let outcome = self.perform(&command.operation);
        let (operation, remembered) = (command.operation.clone(), Some(outcome.clone()));
        let session = ModelSession { seq: request.seq, operation, outcome: remembered, last_used_ms: now_ms };
        self.sessions.insert(request.client.clone(), session);
        self.drop_long_replies();
        outcome
    }

    fn drop_long_replies(&mut self) {
        let reply_bytes = |session: &ModelSession| session.outcome.as_ref().map_or(0, |reply| reply.encode().len());
        let mut long: Vec<_> = self.sessions.iter_mut().filter(|(_, session)| reply_bytes(session) > 64).collect();
        long.sort_by_key(|(client, session)| (session.last_used_ms, (*client).clone()));
        let mut total: usize = long.iter().map(|(_, session)| reply_bytes(session)).sum();
        for (_, session) in long {
            if total > self.limits.reply_bytes_max {
                total -= reply_bytes(session);
                session.outcome = None;
            }
        }
    }

    fn perform(&mut self, operation: &Operation) -> Outcome {
        let (key, condition, prev) = match operation {
            Operation::Set { put: Put { key, prev, .. }, condition } | Operation::Delete { key, condition, prev } => {
                (key, condition, prev)
            }
            Operation::RaiseLevel { to } => {
                self.level = self.level.max(*to);
                return Outcome::LevelRaised { level: self.level };
            }
            _ => unreachable!("the commands are of the first levels"),
        };
        let current = self.items.get(&key[..]).cloned();
        let holds = match (condition, &current) {
            (None, _) | (Some(Condition::Absent), None) | (Some(Condition::Present), Some(_)) => true,
            (Some(Condition::ModRevision(revision)), Some(item)) => item.mod_revision == *revision,
            (Some(Condition::Value(value)), Some(item)) => item.value == *value,
            (Some(_), _) => false,
        };
        if !holds {
            return Outcome::ConditionFailed { current };
        }
        let shown = if *prev { current.clone() } else { None };
        match operation {
            Operation::Set { put, .. } => {
                self.revision += 1;
                let mut item = current.clone().unwrap_or(Item {
                    value: Bytes::new(),
                    create_revision: self.revision,
                    mod_revision: 0,
                    version: 0,
                    lease: None,
                });
                item.value = put.value.clone();
                item.mod_revision = self.revision;
                item.version += 1;
                self.items.insert(key.to_vec(), item);
                was_set(self.revision, current.is_none(), shown)
            }
            Operation::Delete { .. } => {
                if self.items.remove(&key[..]).is_some() {
                    self.revision += 1;
                }
                was_deleted(self.revision, current.is_some(), shown)
            }
            _ => unreachable!("it is about no key"),
        }
    }
}

/// Cluster time steps: mostly small, at times large enough for sessions to become idle, and once in a while backward,
/// which should never happen.
pub(super) fn time_step() -> impl Strategy<Value = i64> {
    let idle = SESSION_IDLE_MS_MAX as i64;
    prop_oneof![16 => 0..100i64, 2 => idle - 20..idle + 20, 1 => idle / 2..2 * idle, 1 => -idle..0]
}

proptest! {
    #[test]
    fn the_store_does_what_the_model_does_and_replicas_agree(
        steps in prop::collection::vec((time_step(), strategies::command()), 0..80),
        limits in (1..6usize, 0..400usize)
            .prop_map(|(sessions_max, reply_bytes_max)| SessionLimits { sessions_max, reply_bytes_max, ..SessionLimits::default() }),
    ) {
        let mut model =
            Model { items: HashMap::new(), revision: 1, level: Level::FIRST, sessions: HashMap::new(), now_ms: 0, limits };
        let (mut store, mut replica) = (Store::with_session_limits(limits), Store::with_session_limits(limits));
        let mut time_ms = 0u64;
        for (step, command) in &steps {
            time_ms = time_ms.saturating_add_signed(*step);
            let outcome = store.apply(time_ms, command);
            prop_assert_eq!(&outcome, &model.apply(time_ms, command));

            // A replica sees the command as the log carried it.
            let decoded = Command::decode(&command.encode()).unwrap();
            prop_assert_eq!(replica.apply(time_ms, &decoded), outcome);
            prop_assert_eq!(replica.state_hash(), store.state_hash());
            prop_assert_eq!(store.recompute_state_hash(), store.state_hash());
        }
        let expected: BTreeMap<_, _> = model.items.into_iter().collect();
        let found: BTreeMap<_, _> = store
            .range_from(Bound::Unbounded)
            .map(|(key, item)| (key.to_vec(), item.to_item()))
            .collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(store.revision(), model.revision);
    }
}
