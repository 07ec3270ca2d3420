//! Model of the store: applies the committed commands, shares no code with the store, and forgets nothing.

mod operating;
mod reading;
mod state;

pub(crate) use state::{Lease, place_key};

use bytes::Bytes;
use kvd::kv::{Command, Item, KeyRange, LeaseId, Operation, Outcome, RequestId, Revision, SessionLimits};
use kvd::raft::LogIndex;
use state::{Changing, State};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Idle sessions that are dropped with one command.
const FORGOTTEN_AT_ONCE: usize = 16;

/// Length up to which replies are never dropped.
const SHORT_REPLY_BYTES: usize = 64;

/// Length up to which replies with many items are kept.
const REPLY_BYTES_MAX: usize = 64 << 10;

/// The history of a store.
#[derive(Debug)]
pub(crate) struct Model {
    state: State,
    /// Every item that a key ever had, by the revision that wrote it.
    keys: BTreeMap<Bytes, BTreeMap<Revision, Option<Item>>>,
    /// The keys that changed at each revision, in order.
    changes: BTreeMap<Revision, Vec<Bytes>>,
    /// Every state of each lease, by the entry that made it so; `None` once it has ended.
    leases: BTreeMap<LeaseId, BTreeMap<LogIndex, Option<Lease>>>,
    /// The leases that the last entry has ended because their time was over, each with the entry that had begun it.
    ended: Vec<(Lease, LogIndex)>,
    revision: Revision,
    /// The oldest revision that clients have asked to keep.
    compacted: Revision,
    /// The revision after each entry, from index zero on.
    revisions: Vec<Revision>,
    /// Outcomes of each request, one for each time that it was taken for new.
    // Looked up and never iterated over.
    outcomes: HashMap<(String, u64), Vec<(LogIndex, Expected)>>,
    /// Commands without a request, and their outcomes.
    unnamed: BTreeMap<LogIndex, (Operation, Outcome)>,
    newest: HashMap<String, u64>,
    limits: SessionLimits,
    /// Present session of each client.
    sessions: BTreeMap<String, Session>,
    now_ms: u64,
    /// Requests whose replies were dropped.
    // Looked up and never iterated over.
    dropped: HashSet<(String, u64)>,
    /// Number of requests that were applied once more because they arrived after their sessions were forgotten.
    applied_again: u64,
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
    /// It was new.
    Applied(Outcome),
    /// A newer request of the client had been applied before.
    Stale,
    /// There was no room for another client.
    SessionsFull,
}

impl Expected {
    /// Returns whether a client may be given this outcome.
    pub(crate) fn agrees(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            // A repeat is shown the item that the key has by then.
            (Self::Applied(Outcome::ConditionFailed { .. }), Outcome::ConditionFailed { .. }) => true,
            // The reply was dropped, and its revision is left.
            (Self::Applied(expected), Outcome::NotKept { revision }) => expected.revision() == Some(*revision),
            (Self::Applied(expected), outcome) => expected == outcome,
            // See `Answers::acknowledged`.
            (Self::SessionsFull, outcome) => *outcome == Outcome::SessionsFull,
            (Self::Stale, _) => false,
        }
    }
}

impl Model {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self {
            state: State::default(),
            keys: BTreeMap::new(),
            changes: BTreeMap::new(),
            leases: BTreeMap::new(),
            ended: Vec::new(),
            revision: 1,
            compacted: 1,
            // Index zero, and the first configuration.
            revisions: vec![1, 1],
            outcomes: HashMap::new(),
            unnamed: BTreeMap::new(),
            newest: HashMap::new(),
            limits,
            sessions: BTreeMap::new(),
            now_ms: 0,
            dropped: HashSet::new(),
            applied_again: 0,
        }
    }

    /// Applies the next committed entry, which carries this command or none. Returns the request of the command.
    pub(crate) fn apply(&mut self, time_ms: u64, command: Option<&Command>) -> Option<RequestId> {
        self.ended.clear();
        let request = command.and_then(|command| command.request.clone());
        if let Some(command) = command {
            self.now_ms = self.now_ms.max(time_ms);
            self.forget_idle();
            match (&command.operation, &request) {
                (Operation::RaiseLevel { .. }, _) => {}
                (Operation::EndLeases { ends }, _) => self.end_leases(ends),
                (operation, None) => {
                    let outcome = self.operate(operation);
                    self.unnamed.insert(self.next_index(), (operation.clone(), outcome));
                }
                (operation, Some(request)) => self.apply_request(request, operation),
            }
        }
        self.revisions.push(self.revision);
        request
    }

    /// Returns the index of the entry that is applied now, or next.
    fn next_index(&self) -> LogIndex {
        LogIndex(self.revisions.len() as u64)
    }

    fn apply_request(&mut self, request: &RequestId, operation: &Operation) {
        let RequestId { client, seq } = request;
        if self.sessions.get(client).is_some_and(|session| self.is_idle(session)) {
            self.sessions.remove(client);
        }
        let key = (client.clone(), *seq);
        let index = self.next_index();
        let is_full = self.sessions.len() >= self.limits.sessions_max;
        match self.sessions.get_mut(client) {
            Some(session) if *seq <= session.newest => {
                session.last_used_ms = self.now_ms;
                if *seq < session.newest {
                    self.outcomes.entry(key).or_insert_with(|| vec![(index, Expected::Stale)]);
                }
            }
            None if is_full => {
                self.outcomes.entry(key).or_default().push((index, Expected::SessionsFull));
            }
            _ => {
                let outcome = self.operate(operation);
                let reply_bytes = Some(reply_bytes(&outcome));
                let session = Session { newest: *seq, last_used_ms: self.now_ms, reply_bytes };
                self.sessions.insert(client.clone(), session);
                self.drop_long_replies();
                let newest = self.newest.entry(client.clone()).or_default();
                *newest = (*newest).max(*seq);
                let outcomes = self.outcomes.entry(key).or_default();
                let is_repeated = outcomes.iter().any(|(_, before)| matches!(before, Expected::Applied(_)));
                self.applied_again += u64::from(is_repeated);
                outcomes.push((index, Expected::Applied(outcome)));
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

    fn operate(&mut self, operation: &Operation) -> Outcome {
        if let Operation::Compact { revision } = operation {
            if *revision > self.revision {
                return Outcome::FutureRevision { revision: self.revision };
            }
            self.compacted = self.compacted.max(*revision);
            return Outcome::Compacted { revision: self.revision };
        }
        let mut changing = Changing::new(self.state.clone(), self.revision, self.now_ms);
        match operating::operate(&mut changing, operation) {
            Ok(outcome) => {
                self.change(changing);
                outcome
            }
            Err(outcome) => outcome,
        }
    }

    /// Ends leases whose time is over, each in a revision of its own, unless they were renewed since a leader looked.
    fn end_leases(&mut self, ends: &[(LeaseId, u64)]) {
        for (id, ends_ms) in ends {
            let Some(lease) = self.state.leases.get(id).copied().filter(|lease| lease.ends_ms == *ends_ms) else {
                continue;
            };
            let begun = self.leases[id].last_key_value().map_or(LogIndex(0), |(index, _)| *index);
            self.ended.push((lease, begun));
            let mut changing = Changing::new(self.state.clone(), self.revision, self.now_ms);
            changing.end_lease(*id);
            self.change(changing);
        }
    }

    /// Makes a changed state the present one.
    fn change(&mut self, changing: Changing) {
        let index = self.next_index();
        self.revision = changing.revision();
        let Changing { state, touched, .. } = changing;
        for (id, lease) in &state.leases {
            // A lease whose time begins anew in the same millisecond has the same end, and lives from here on.
            if self.state.leases.get(id) != Some(lease) {
                self.leases.entry(*id).or_default().insert(index, Some(*lease));
            }
        }
        for id in self.state.leases.keys().filter(|id| !state.leases.contains_key(id)) {
            self.leases.entry(*id).or_default().insert(index, None);
        }
        for key in &touched {
            self.keys.entry(key.clone()).or_default().insert(self.revision, state.items.get(key).cloned());
        }
        if !touched.is_empty() {
            self.changes.insert(self.revision, touched.into_iter().collect());
        }
        self.state = state;
    }

    /// Returns the newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the oldest revision that clients have asked to keep.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Returns the item of a key at a revision.
    pub(crate) fn item_at(&self, key: &[u8], revision: Revision) -> Option<&Item> {
        self.keys.get(key)?.range(..=revision).next_back()?.1.as_ref()
    }

    /// Returns all keys and their current items, in order.
    pub(crate) fn items(&self) -> Vec<(Vec<u8>, Item)> {
        self.state.items.iter().map(|(key, item)| (key.to_vec(), item.clone())).collect()
    }

    /// Returns the items in some ranges at a revision, in order.
    pub(crate) fn items_at(&self, revision: Revision, ranges: &[KeyRange]) -> Vec<(Bytes, Item)> {
        let keys = self.keys.keys().filter(|key| ranges.iter().any(|range| range.contains(key)));
        keys.filter_map(|key| Some((key.clone(), self.item_at(key, revision)?.clone()))).collect()
    }

    /// Returns the present leases.
    pub(crate) fn present_leases(&self) -> &BTreeMap<LeaseId, Lease> {
        &self.state.leases
    }

    /// Returns the leases that the last entry has ended because their time was over, each with the entry from which on
    /// its time was counted.
    pub(crate) fn just_ended(&self) -> &[(Lease, LogIndex)] {
        &self.ended
    }

    /// Returns the changes of the keys in some ranges at a revision: each key with its item before and after.
    pub(crate) fn changes_at<'a>(
        &'a self,
        revision: Revision,
        ranges: &'a [KeyRange],
    ) -> impl Iterator<Item = (&'a Bytes, Option<&'a Item>, Option<&'a Item>)> {
        let keys = self.changes.get(&revision).into_iter().flatten();
        let keys = keys.filter(|key| ranges.iter().any(|range| range.contains(key)));
        keys.map(move |key| (key, self.item_at(key, revision - 1), self.item_at(key, revision)))
    }

    /// Returns the revision once everything up to `index` is applied; zero if `index` is not committed.
    pub(crate) fn revision_at(&self, index: LogIndex) -> Revision {
        self.revisions.get(index.0 as usize).copied().unwrap_or(0)
    }

    /// Returns the first and the last entry after which the store is at a revision. The last is unknown for the newest
    /// revision.
    pub(crate) fn entries_at(&self, revision: Revision) -> (LogIndex, Option<LogIndex>) {
        let first = self.revisions.partition_point(|at| *at < revision);
        let next = self.revisions.partition_point(|at| *at <= revision);
        (LogIndex(first as u64), (next < self.revisions.len()).then(|| LogIndex(next as u64 - 1)))
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

    /// Returns the outcomes of a committed request, each with its entry: several if it was applied again after its
    /// session was forgotten.
    pub(crate) fn outcomes_of(&self, request: &RequestId) -> &[(LogIndex, Expected)] {
        self.outcomes.get(&(request.client.clone(), request.seq)).map_or(&[], Vec::as_slice)
    }

    /// Returns the command without a request in an entry, and its outcome.
    pub(crate) fn unnamed_at(&self, index: LogIndex) -> Option<&(Operation, Outcome)> {
        self.unnamed.get(&index)
    }

    /// Returns the first entry after `after` that keeps these leases alive with this result.
    pub(crate) fn keepalive_after(
        &self,
        after: LogIndex,
        leases: &[LeaseId],
        ttls: &[Option<u64>],
    ) -> Option<LogIndex> {
        let kept = |(operation, outcome): &(Operation, Outcome)| {
            let (Operation::KeepAlive { leases: all }, Outcome::KeptAlive { ttls_ms }) = (operation, outcome) else {
                return false;
            };
            let parts = all.windows(leases.len()).zip(ttls_ms.windows(leases.len()));
            parts.into_iter().any(|part| part == (leases, ttls))
        };
        self.unnamed.range(after.next()..).find(|(_, unnamed)| kept(unnamed)).map(|(index, _)| *index)
    }

    /// Returns the number of requests that were applied once more because they arrived after their sessions were
    /// forgotten.
    pub(crate) fn applied_again(&self) -> u64 {
        self.applied_again
    }
}

/// Returns the length of the reply that is kept for repeats.
fn reply_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::ConditionFailed { .. } => Outcome::ConditionFailed { current: None }.encode().len(),
        Outcome::DeletedRange { revision, .. } | Outcome::Txn { revision, .. } => {
            let bytes = outcome.encode().len();
            if bytes > REPLY_BYTES_MAX { Outcome::NotKept { revision: *revision }.encode().len() } else { bytes }
        }
        outcome => outcome.encode().len(),
    }
}
