//! What the store should be: the committed commands, applied by a model that shares no code with it and forgets nothing.

use bytes::Bytes;
use kvd::kv::{Command, Condition, Item, Operation, Outcome, RequestId, Revision};
use kvd::raft::LogIndex;
use std::collections::{BTreeMap, HashMap};

/// The history of a store.
#[derive(Debug)]
pub(crate) struct Model {
    /// Every item that ever stood under a key, by the revision that put it there.
    keys: BTreeMap<Bytes, BTreeMap<Revision, Option<Item>>>,
    revision: Revision,
    /// The revision after each entry, from index zero on.
    revisions: Vec<Revision>,
    // Looked up and never iterated over.
    outcomes: HashMap<(String, u64), Expected>,
    newest: HashMap<String, u64>,
}

impl Default for Model {
    fn default() -> Self {
        let (keys, outcomes, newest) = Default::default();
        // Index zero, and the first configuration.
        Self { keys, revision: 1, revisions: vec![1, 1], outcomes, newest }
    }
}

/// What a request came to when it was applied.
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
    /// With whatever stood there when it was answered.
    ConditionFailed,
    /// A newer request of the client had been applied before.
    Stale,
}

impl Expected {
    /// Whether a client may be told this.
    pub(crate) fn agrees(&self, outcome: &Outcome) -> bool {
        match outcome.clone() {
            Outcome::Set { revision, created, prev } => *self == Self::Set { revision, created, prev },
            Outcome::Deleted { revision, deleted, prev } => *self == Self::Deleted { revision, deleted, prev },
            Outcome::ConditionFailed { .. } => *self == Self::ConditionFailed,
            // See `Answers::acknowledged`.
            Outcome::StaleRequest { .. } | Outcome::SessionsFull | Outcome::SeqReused => false,
        }
    }
}

impl Model {
    /// Applies the next committed entry, which carries this command or none. Returns the request of the command.
    pub(crate) fn apply(&mut self, command: Option<&Command>) -> Option<RequestId> {
        let request = command.and_then(|command| command.request.clone());
        if let Some(command) = command {
            let key = request.as_ref().map(|request| (request.client.clone(), request.seq));
            let newest = request.as_ref().and_then(|request| self.newest.get(&request.client)).copied().unwrap_or(0);
            let is_repeat = key.as_ref().is_some_and(|key| self.outcomes.contains_key(key));
            if !is_repeat {
                let is_stale = request.as_ref().is_some_and(|request| request.seq < newest);
                let outcome = if is_stale { Expected::Stale } else { self.operate(&command.operation) };
                if let Some(key) = key {
                    self.newest.insert(key.0.clone(), newest.max(key.1));
                    self.outcomes.insert(key, outcome);
                }
            }
        }
        self.revisions.push(self.revision);
        request
    }

    fn operate(&mut self, operation: &Operation) -> Expected {
        let current = self.item(operation.key()).cloned();
        let (Operation::Set { condition, .. } | Operation::Delete { condition, .. }) = operation;
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
        }
    }

    fn item(&self, key: &[u8]) -> Option<&Item> {
        self.item_at(key, Revision::MAX)
    }

    /// What stood under a key at a revision.
    pub(crate) fn item_at(&self, key: &[u8], revision: Revision) -> Option<&Item> {
        self.keys.get(key)?.range(..=revision).next_back()?.1.as_ref()
    }

    /// All keys and their items as they are now, in order.
    pub(crate) fn items(&self) -> Vec<(Vec<u8>, Item)> {
        let newest = |(key, items): (&Bytes, &BTreeMap<Revision, Option<Item>>)| {
            let item = items.values().next_back()?.clone()?;
            Some((key.to_vec(), item))
        };
        self.keys.iter().filter_map(newest).collect()
    }

    /// The revision once everything up to `index` is applied. Zero where that is not committed.
    pub(crate) fn revision_at(&self, index: LogIndex) -> Revision {
        self.revisions.get(index.0 as usize).copied().unwrap_or(0)
    }

    /// The newest request of a client that is committed.
    pub(crate) fn newest_of(&self, client: &str) -> u64 {
        self.newest.get(client).copied().unwrap_or(0)
    }

    /// What a committed request came to.
    pub(crate) fn outcome_of(&self, request: &RequestId) -> Option<&Expected> {
        self.outcomes.get(&(request.client.clone(), request.seq))
    }
}
