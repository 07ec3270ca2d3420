//! Model of the store: applies the committed commands, shares no code with the store, and forgets nothing.

use bytes::Bytes;
use kvd::kv::{Command, Condition, Item, Operation, Outcome, RequestId, Revision, SessionLimits};
use kvd::raft::LogIndex;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Idle sessions that are dropped with one command.
const FORGOTTEN_AT_ONCE: usize = 16;

/// Length up to which replies are never dropped.
const SHORT_REPLY_BYTES: usize = 64;

/// The history of a store.
#[derive(Debug)]
pub(crate) struct Model {
    /// Every item that a key ever had, by the revision that wrote it.
    keys: BTreeMap<Bytes, BTreeMap<Revision, Option<Item>>>,
    revision: Revision,
    /// The revision after each entry, from index zero on.
    revisions: Vec<Revision>,
    /// Outcomes of each request, one for each time that it was taken for new.
    // Looked up and never iterated over.
    outcomes: HashMap<(String, u64), Vec<Expected>>,
    newest: HashMap<String, u64>,
    limits: SessionLimits,
    /// Present session of each client.
    sessions: BTreeMap<String, Session>,
    now_ms: u64,
    /// Requests whose replies were dropped.
    // Looked up and never iterated over.
    dropped: HashSet<(String, u64)>,
    /// Keys of writes that were applied once more because they arrived after their sessions were forgotten.
    applied_again: Vec<Bytes>,
}

/// State remembered of a client.
#[derive(Debug)]
struct Session {
    newest: u64,
    last_used_ms: u64,
    /// `None` once dropped.
    reply_bytes: Option<usize>,
}

/// Outcome of a request when it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Set {
        revision: Revision,
        created: bool,
        prev: Option<Item>,
    },
    Deleted {
        revision: Revision,
        deleted: bool,
        prev: Option<Item>,
    },
    /// With the item that the key had when it was answered.
    ConditionFailed,
    /// A newer request of the client had been applied before.
    Stale,
    /// There was no room for another client.
    SessionsFull,
}

impl Expected {
    /// Returns whether a client may be given this outcome.
    pub(crate) fn agrees(&self, outcome: &Outcome) -> bool {
        match outcome.clone() {
            Outcome::Set { revision, created, prev } => *self == Self::Set { revision, created, prev },
            Outcome::Deleted { revision, deleted, prev } => *self == Self::Deleted { revision, deleted, prev },
            Outcome::ConditionFailed { .. } => *self == Self::ConditionFailed,
            // See `Answers::acknowledged`.
            Outcome::SessionsFull => *self == Self::SessionsFull,
            Outcome::StaleRequest { .. } | Outcome::SeqReused | Outcome::LevelRaised { .. } => false,
        }
    }
}

impl Model {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        let (keys, outcomes, newest, sessions, dropped, applied_again) = Default::default();
        // Index zero, and the first configuration.
        let (revision, revisions) = (1, vec![1, 1]);
        Self { keys, revision, revisions, outcomes, newest, limits, sessions, now_ms: 0, dropped, applied_again }
    }

    /// Applies the next committed entry, which carries this command or none. Returns the request of the command.
    pub(crate) fn apply(&mut self, time_ms: u64, command: Option<&Command>) -> Option<RequestId> {
        let request = command.and_then(|command| command.request.clone());
        if let Some(command) = command {
            self.now_ms = self.now_ms.max(time_ms);
            self.forget_idle();
            match &request {
                None if matches!(command.operation, Operation::RaiseLevel { .. }) => {}
                None => {
                    let _ = self.operate(&command.operation);
                }
                Some(request) => self.apply_request(request, &command.operation),
            }
        }
        self.revisions.push(self.revision);
        request
    }

    fn apply_request(&mut self, request: &RequestId, operation: &Operation) {
        let RequestId { client, seq } = request;
        if self.sessions.get(client).is_some_and(|session| self.is_idle(session)) {
            self.sessions.remove(client);
        }
        let key = (client.clone(), *seq);
        let is_full = self.sessions.len() >= self.limits.sessions_max;
        match self.sessions.get_mut(client) {
            Some(session) if *seq <= session.newest => {
                session.last_used_ms = self.now_ms;
                if *seq < session.newest {
                    self.outcomes.entry(key).or_insert_with(|| vec![Expected::Stale]);
                }
            }
            None if is_full => {
                self.outcomes.entry(key).or_default().push(Expected::SessionsFull);
            }
            _ => {
                let expected = self.operate(operation);
                let reply_bytes = expected.reply_bytes();
                let session = Session { newest: *seq, last_used_ms: self.now_ms, reply_bytes };
                self.sessions.insert(client.clone(), session);
                self.drop_long_replies();
                let newest = self.newest.entry(client.clone()).or_default();
                *newest = (*newest).max(*seq);
                let outcomes = self.outcomes.entry(key).or_default();
                if outcomes.iter().any(|before| !matches!(before, Expected::SessionsFull | Expected::Stale)) {
                    self.applied_again.extend(operation.key().map(Bytes::copy_from_slice));
                }
                outcomes.push(expected);
            }
        }
    }

    fn is_idle(&self, session: &Session) -> bool {
        self.now_ms - session.last_used_ms >= self.limits.idle_ms_max
    }

    /// Drops a few idle sessions with each command, the longest unused first.
    fn forget_idle(&mut self) {
        let mut idle: Vec<(u64, String)> = Vec::new();
        for (client, session) in &self.sessions {
            if self.is_idle(session) {
                idle.push((session.last_used_ms, client.clone()));
            }
        }
        idle.sort();
        for (_, client) in idle.iter().take(FORGOTTEN_AT_ONCE) {
            self.sessions.remove(client);
        }
    }

    fn drop_long_replies(&mut self) {
        let long = |session: &Session| session.reply_bytes.filter(|bytes| *bytes > SHORT_REPLY_BYTES);
        while self.sessions.values().filter_map(long).sum::<usize>() > self.limits.reply_bytes_max {
            let with_long = self.sessions.iter_mut().filter(|(_, session)| long(session).is_some());
            let oldest = with_long.min_by_key(|(client, session)| (session.last_used_ms, (*client).clone()));
            let (client, session) = oldest.expect("some are long");
            session.reply_bytes = None;
            self.dropped.insert((client.clone(), session.newest));
        }
    }

    fn operate(&mut self, operation: &Operation) -> Expected {
        let (Operation::Set { key, condition, .. } | Operation::Delete { key, condition, .. }) = operation else {
            unreachable!("clients set and delete")
        };
        let current = self.item(key).cloned();
        let holds = match (condition, &current) {
            (None, _) | (Some(Condition::Absent), None) | (Some(Condition::Present), Some(_)) => true,
            (Some(Condition::ModRevision(revision)), Some(item)) => item.mod_revision == *revision,
            (Some(Condition::Value(value)), Some(item)) => item.value == value,
            (Some(_), _) => false,
        };
        if !holds {
            return Expected::ConditionFailed;
        }
        match operation {
            Operation::Set { key, value, prev, .. } => {
                self.revision += 1;
                let revision = self.revision;
                let item = Item {
                    value: value.clone(),
                    create_revision: current.as_ref().map_or(revision, |item| item.create_revision),
                    mod_revision: revision,
                    version: current.as_ref().map_or(1, |item| item.version + 1),
                };
                self.keys.entry(key.clone()).or_default().insert(revision, Some(item));
                Expected::Set { revision, created: current.is_none(), prev: current.filter(|_| *prev) }
            }
            Operation::Delete { key, prev, .. } => {
                let deleted = current.is_some();
                if deleted {
                    self.revision += 1;
                    self.keys.entry(key.clone()).or_default().insert(self.revision, None);
                }
                Expected::Deleted { revision: self.revision, deleted, prev: current.filter(|_| *prev) }
            }
            Operation::RaiseLevel { .. } => unreachable!("clients set and delete"),
        }
    }

    fn item(&self, key: &[u8]) -> Option<&Item> {
        self.item_at(key, Revision::MAX)
    }

    /// Returns the item of a key at a revision.
    pub(crate) fn item_at(&self, key: &[u8], revision: Revision) -> Option<&Item> {
        self.keys.get(key)?.range(..=revision).next_back()?.1.as_ref()
    }

    /// Returns all keys and their current items, in order.
    pub(crate) fn items(&self) -> Vec<(Vec<u8>, Item)> {
        let newest = |(key, items): (&Bytes, &BTreeMap<Revision, Option<Item>>)| {
            let item = items.values().next_back()?.clone()?;
            Some((key.to_vec(), item))
        };
        self.keys.iter().filter_map(newest).collect()
    }

    /// Returns the revision once everything up to `index` is applied; zero if `index` is not committed.
    pub(crate) fn revision_at(&self, index: LogIndex) -> Revision {
        self.revisions.get(index.0 as usize).copied().unwrap_or(0)
    }

    /// Returns the newest committed request of a client.
    pub(crate) fn newest_of(&self, client: &str) -> u64 {
        self.newest.get(client).copied().unwrap_or(0)
    }

    /// Returns whether the reply to a request has been dropped, so that the request may be called stale although it is
    /// the newest of its client.
    pub(crate) fn has_dropped(&self, request: &RequestId) -> bool {
        self.dropped.contains(&(request.client.clone(), request.seq))
    }

    /// Returns the outcomes of a committed request: several if it was applied again after its session was forgotten.
    pub(crate) fn outcomes_of(&self, request: &RequestId) -> &[Expected] {
        self.outcomes.get(&(request.client.clone(), request.seq)).map_or(&[], Vec::as_slice)
    }

    /// Returns the keys of writes that were applied once more because they arrived after their sessions were forgotten.
    pub(crate) fn applied_again(&self) -> &[Bytes] {
        &self.applied_again
    }
}

impl Expected {
    /// Returns the length of the reply that is kept for repeats.
    fn reply_bytes(&self) -> Option<usize> {
        let outcome = match self.clone() {
            Self::Set { revision, created, prev } => Outcome::Set { revision, created, prev },
            Self::Deleted { revision, deleted, prev } => Outcome::Deleted { revision, deleted, prev },
            Self::ConditionFailed => Outcome::ConditionFailed { current: None },
            Self::Stale | Self::SessionsFull => return None,
        };
        Some(outcome.encode().len())
    }
}
