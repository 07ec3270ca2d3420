//! Clients. Each makes one request at a time, and relies only on the answers that it has received.
//!
//! A client retries a request that gets no answer, or a temporary error, under the same request id, at the same node or
//! another. An abandoned request has an unknown outcome, unless every copy of it is known to have had no effect. The
//! answers that clients saw form the history that is checked for linearizability in the end. What they ask for is drawn
//! in [`super::operations`].

use super::coverage::Kind;
use super::events::{Ask, Event, Micros};
use super::linearizability::{Moment, Saw, Seen};
use super::locks::Place;
use super::operations::{Page, What};
use super::queries::{Answer, Answered, Query};
use super::world::World;
use bytes::Bytes;
use kvd::kv::{Command, Item, KeyedItem, LeaseId, Level, OpDone, Operation, Outcome, Revision};
use kvd::node::{ReadError, WriteError};
use kvd::raft::{LogIndex, NodeId};
use std::collections::BTreeMap;

/// Index of a client in the list of clients.
pub(crate) type ClientId = usize;

/// Identifies one sending of one request.
pub(crate) type AttemptId = u64;

/// Redirects that a client follows at once; after that it waits a little.
const HOPS_MAX: u32 = 3;

/// A client gives a request up after this many times its patience.
const PATIENCE_TIMES: u64 = 3;

const MS: Micros = 1_000;

/// Time until a resting client looks again. Microseconds.
const RESTS_FOR: Micros = 50 * MS;

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) name: String,
    /// Number of its last request.
    pub(super) seq: u64,
    leader: Option<NodeId>,
    /// The only node that it reads from, if it is faithful.
    reads_from: Option<NodeId>,
    /// For each key, the last value that it saw and the revision that wrote it.
    pub(super) seen: BTreeMap<Bytes, (Bytes, Revision)>,
    /// Leases of its own, dead or alive.
    pub(super) leases: Vec<LeaseId>,
    /// Its place in the queue of a lock.
    pub(super) place: Option<Place>,
    /// It was told that the cluster has not reached the level of what it asked for.
    pub(super) is_below_level: bool,
    /// A list of which it has yet to read the rest.
    pub(super) page: Option<Page>,
    doing: Option<Doing>,
    /// Number of its latest turn; earlier turns are void.
    turn: u64,
}

/// The request that a client is making.
#[derive(Debug)]
struct Doing {
    what: What,
    invoked: Moment,
    give_up_at: Micros,
    /// Times that it was sent, and copies that have not been answered.
    sent: u32,
    open: Vec<AttemptId>,
    /// True if some copy may have taken effect, or may still.
    unknown: bool,
    hops: u32,
}

/// One sending of one request.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) client: ClientId,
    pub(crate) to: NodeId,
    pub(crate) sent: Moment,
}

/// Answer to a client.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With the entry of the command, where it became one of its own.
    Written(Result<Outcome, WriteError>, Option<LogIndex>),
    Read(Result<Box<Answered>, ReadError>),
    /// Nothing listens there: no node took the request.
    Refused,
    /// The connection was closed before an answer arrived.
    Closed,
}

impl Reply {
    /// Distinguishes replies by their kinds, and successful replies by revision.
    fn number(&self) -> u64 {
        match self {
            Self::Written(Ok(outcome), _) => 10 + outcome.revision().unwrap_or(0),
            Self::Written(Err(_), _) => 2,
            Self::Read(Ok(answered)) => 10 + answered.revision,
            Self::Read(Err(_)) => 3,
            Self::Refused => 4,
            Self::Closed => 5,
        }
    }
}

impl Client {
    pub(crate) fn new(number: usize, reads_from: Option<NodeId>) -> Self {
        Self {
            name: format!("c{number}"),
            seq: 0,
            leader: None,
            reads_from,
            seen: BTreeMap::new(),
            leases: Vec::new(),
            place: None,
            is_below_level: false,
            page: None,
            doing: None,
            turn: 0,
        }
    }

    /// Makes the client read from any node from now on: the node that it read from may never come back.
    pub(crate) fn lose_faith(&mut self) {
        self.reads_from = None;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.doing.is_none()
    }

    /// Remembers an item that it was shown.
    fn sees(&mut self, key: Bytes, item: &Item) {
        // Places of locks come and go.
        if key.starts_with(b"k") {
            self.seen.insert(key, (item.value.clone(), item.mod_revision));
        }
    }
}

impl World {
    /// Starts a client's next request, or retries the one that it is making.
    pub(crate) fn client_turn(&mut self, id: ClientId, turn: u64) {
        if turn != self.clients[id].turn {
            return;
        }
        if self.do_clients_rest() {
            return self.turn_later(id, RESTS_FOR);
        }
        match &self.clients[id].doing {
            None if self.clients_stop => {}
            None => self.begin(id),
            Some(doing) if self.now >= doing.give_up_at => self.give_up(id),
            Some(_) => {
                let to = self.choose_node(id);
                self.send_attempt(id, to);
            }
        }
    }

    fn begin(&mut self, id: ClientId) {
        let plan = self.plan.clients;
        let what = self.draw_operation(id);
        if let What::Write(command) | What::Unnamed(command) = &what {
            let valid = command.validate();
            assert!(valid.is_ok(), "no client may send {command:?}: {valid:?}");
        }
        let give_up_at = self.now + PATIENCE_TIMES * plan.patience_ms * MS;
        let invoked = self.moment;
        let is_named = matches!(what, What::Write(_));
        self.clients[id].doing =
            Some(Doing { what, invoked, give_up_at, sent: 0, open: Vec::new(), unknown: false, hops: 0 });
        let to = self.choose_node(id);
        self.send_attempt(id, to);
        if is_named && self.chance.percent(plan.hedged_percent) {
            let other = self.any_node();
            self.send_attempt(id, other);
        }
    }

    /// Chooses the node to ask: for a write mostly the leader that the client knows, for a read any node.
    fn choose_node(&mut self, id: ClientId) -> NodeId {
        let client = &self.clients[id];
        let leader = client.leader;
        let is_write = !matches!(client.doing, Some(Doing { what: What::Read { .. }, .. }));
        if !is_write
            && self.chance.percent(15)
            && let Some(deposed) = self.deposed_leader().filter(|deposed| !self.hindered.contains(deposed))
        {
            // No client would know to ask this node, and no other is as likely to return stale data.
            return deposed;
        }
        let client = &self.clients[id];
        match (leader, client.reads_from) {
            (Some(leader), _) if self.chance.percent(if is_write { 80 } else { 30 }) => leader,
            (_, Some(node)) if !is_write => node,
            _ => self.any_node(),
        }
    }

    fn send_attempt(&mut self, id: ClientId, to: NodeId) {
        self.attempts_sent += 1;
        let attempt = self.attempts_sent;
        let Some(doing) = &mut self.clients[id].doing else { return };
        let (ask, request) = match &doing.what {
            What::Write(command) | What::Unnamed(command) => (Ask::Write(command.clone()), command.request.clone()),
            What::Read { query, stale: true } => (Ask::StaleRead(query.clone()), None),
            What::Read { query, stale: false } => (Ask::Read(query.clone()), None),
        };
        if let Some(request) = &request {
            if doing.sent > 0 {
                self.coverage.count(Kind::WriteRetried);
            }
            self.invariants.answers.sent(request);
        }
        let Some(doing) = &mut self.clients[id].doing else { return };
        doing.sent += 1;
        doing.open.push(attempt);
        let sent = Attempt { client: id, to, sent: self.moment };
        self.attempts.insert(attempt, sent);
        if !self.network.loses_client_message(to, &mut self.chance) {
            let at = self.now + self.network.delay(&mut self.chance);
            self.queue.schedule(at, Event::Request { to, attempt, ask });
        }
        let patience = self.plan.clients.patience_ms * MS;
        self.queue.schedule(self.now + patience, Event::AttemptTimeout(attempt));
    }

    /// Sends a node's answer on its way to the client.
    pub(crate) fn reply_later(&mut self, attempt: AttemptId, reply: Reply) {
        let Some(Attempt { to, .. }) = self.attempts.get(&attempt) else { return };
        if !self.network.loses_client_message(*to, &mut self.chance) {
            let at = self.now + self.network.delay(&mut self.chance);
            self.queue.schedule(at, Event::Reply { attempt, reply });
        }
    }

    /// Handles a client's timeout: the request may be lost, in flight or done.
    pub(crate) fn attempt_timed_out(&mut self, attempt: AttemptId) {
        let Some(Attempt { client: id, .. }) = self.attempts.remove(&attempt) else { return };
        let Some(doing) = &mut self.clients[id].doing else { return };
        if let Some(place) = doing.open.iter().position(|open| *open == attempt) {
            doing.open.remove(place);
            doing.unknown = true;
            // A leader that does not answer may never answer.
            self.clients[id].leader = None;
            self.turn_later(id, 0);
        }
    }

    pub(crate) fn turn_later(&mut self, id: ClientId, after: Micros) {
        self.clients[id].turn += 1;
        self.queue.schedule(self.now + after, Event::ClientTurn(id, self.clients[id].turn));
    }

    pub(crate) fn client_hears(&mut self, attempt: AttemptId, reply: Reply) {
        self.trace.mix_all(&[attempt, reply.number()]);
        let Some(sent) = self.attempts.remove(&attempt) else { return };
        let id = sent.client;
        let is_rest = self.do_clients_rest();
        let Some(doing) = &mut self.clients[id].doing else { return };
        let Some(place) = doing.open.iter().position(|open| *open == attempt) else { return };
        doing.open.remove(place);
        let backoff = self.chance.within(5 * MS..100 * MS);
        match reply {
            Reply::Written(Ok(Outcome::SessionsFull), _) => {
                self.coverage.count(Kind::SessionsFull);
                self.turn_later(id, backoff);
            }
            Reply::Written(Ok(Outcome::StaleRequest { .. } | Outcome::NotKept { .. }), _) => {
                // It has been applied, but its outcome has been forgotten.
                self.coverage.count(Kind::ReplyDropped);
                doing.unknown = true;
                self.give_up(id);
            }
            Reply::Written(Ok(outcome), index) => self.write_answered(id, &sent, index, outcome),
            Reply::Written(Err(WriteError::BelowLevel { .. }), _) => {
                // It can wait for long until all nodes are upgraded.
                self.coverage.count(Kind::BelowLevel);
                self.clients[id].is_below_level = true;
                self.give_up(id);
            }
            Reply::Written(Err(WriteError::NotLeader { leader }), _) => {
                self.coverage.count(Kind::Redirect);
                let client = &mut self.clients[id];
                client.leader = Some(leader);
                let Some(doing) = &mut client.doing else { return };
                doing.hops += 1;
                if doing.hops % (HOPS_MAX + 1) == 0 || is_rest {
                    self.turn_later(id, backoff);
                } else {
                    self.send_attempt(id, leader);
                }
            }
            Reply::Written(Err(WriteError::OutcomeUnknown), _) | Reply::Closed => {
                doing.unknown = true;
                self.clients[id].leader = None;
                self.turn_later(id, backoff);
            }
            Reply::Written(
                Err(
                    WriteError::NoLeader
                    | WriteError::TransferringLeadership
                    | WriteError::Superseded
                    | WriteError::Overloaded
                    | WriteError::StoreFull,
                ),
                _,
            )
            | Reply::Refused
            | Reply::Read(Err(_)) => {
                self.clients[id].leader = None;
                self.turn_later(id, backoff);
            }
            Reply::Read(Ok(answered)) => self.read_answered(id, &sent, *answered),
        }
    }

    fn write_answered(&mut self, id: ClientId, sent: &Attempt, index: Option<LogIndex>, outcome: Outcome) {
        let client = &mut self.clients[id];
        client.leader = Some(sent.to);
        let Some(Doing { what, invoked, sent: times, .. }) = client.doing.take() else { return };
        if self.is_calm && invoked >= self.calm_since {
            self.served += 1;
        }
        let (What::Write(command) | What::Unnamed(command)) = what else { return };
        if command.level() > Level::FIRST {
            self.clients[id].is_below_level = false;
        }
        self.count_write(&command.operation, &outcome);
        self.learn(id, &command.operation, &outcome);
        let returned = Some(self.moment);
        let seen = match (command, outcome) {
            (Command { request: Some(request), .. }, outcome) => {
                let what = Saw::Write { request, outcome: Some(outcome), sent: times };
                Seen { invoked, returned, what }
            }
            (Command { operation: Operation::KeepAlive { leases }, .. }, Outcome::KeptAlive { ttls_ms }) => {
                Seen { invoked: sent.sent, returned, what: Saw::KeepAlive { leases, ttls_ms } }
            }
            (_, outcome) => {
                let index = index.expect("an unnamed command is answered at its own entry");
                Seen { invoked: sent.sent, returned, what: Saw::Unnamed { index, outcome } }
            }
        };
        self.history.push(seen);
        self.pause_client(id);
    }

    /// Counts a write that has its answer.
    fn count_write(&mut self, operation: &Operation, outcome: &Outcome) {
        self.coverage.count(match outcome {
            Outcome::ConditionFailed { .. } => Kind::ConditionFailed,
            _ => Kind::Write,
        });
        let kind = match (operation, outcome) {
            (Operation::Txn(_), Outcome::Txn { done, .. }) if done.succeeded => Some(Kind::TxnThen),
            (Operation::Txn(_), Outcome::Txn { .. }) => Some(Kind::TxnElse),
            (_, Outcome::DeletedRange { done, .. }) if done.deleted > 1 => Some(Kind::RangeDeleted),
            (_, Outcome::LeaseGranted { .. }) => Some(Kind::LeaseGranted),
            (_, Outcome::LeaseExists) => Some(Kind::LeaseExists),
            (_, Outcome::LeaseNotFound { .. }) => Some(Kind::LeaseNotFound),
            (_, Outcome::LeaseRevoked { deleted: 1.., .. }) => Some(Kind::LeaseRevoked),
            (_, Outcome::KeptAlive { ttls_ms }) if ttls_ms.contains(&None) => Some(Kind::KeptAliveTooLate),
            (_, Outcome::KeptAlive { .. }) => Some(Kind::KeptAlive),
            (_, Outcome::LockTaken { .. }) => Some(Kind::LockTaken),
            (_, Outcome::PlaceTaken { .. }) => Some(Kind::PlaceTaken),
            (_, Outcome::LockHeld { .. }) => Some(Kind::LockHeld),
            (_, Outcome::PlaceLost | Outcome::LockLost) => Some(Kind::LockLost),
            (_, Outcome::Unlocked { .. }) => Some(Kind::Unlocked),
            (_, Outcome::Compacted { .. }) => Some(Kind::Compacted),
            _ => None,
        };
        kind.into_iter().for_each(|kind| self.coverage.count(kind));
    }

    /// Lets a client learn from the answer to a write.
    fn learn(&mut self, id: ClientId, operation: &Operation, outcome: &Outcome) {
        let client = &mut self.clients[id];
        match (operation, outcome) {
            (Operation::Set { put, .. }, Outcome::Set { revision, .. }) => {
                client.seen.insert(put.key.clone(), (put.value.clone(), *revision));
            }
            (_, Outcome::ConditionFailed { current: Some(item) }) => {
                if let Some(key) = operation.key() {
                    client.sees(key.to_vec().into(), item);
                }
            }
            (Operation::Txn(_), Outcome::Txn { done, .. }) => {
                for result in &done.results {
                    if let OpDone::List(listed) = result {
                        listed.items.iter().for_each(|KeyedItem { key, item }| client.sees(key.clone(), item));
                    }
                }
            }
            (_, Outcome::LeaseGranted { lease, .. } | Outcome::LockTaken { lease, .. }) => client.knows_lease(*lease),
            _ => {}
        }
        self.lock_answered(id, operation, outcome);
    }

    fn read_answered(&mut self, id: ClientId, sent: &Attempt, answered: Answered) {
        let client = &mut self.clients[id];
        let Some(Doing { what: What::Read { stale, .. }, .. }) = client.doing.take() else { return };
        match (&answered.query, &answered.answer) {
            (Query::Get { key, at: None }, Answer::Item(Some(item))) => client.sees(key.clone(), item),
            (Query::List { list, at }, Answer::List(listed)) => {
                if !list.keys_only && at.is_none() {
                    listed.items.iter().for_each(|KeyedItem { key, item }| client.sees(key.clone(), item));
                }
                if let Some(last) = listed.items.last().filter(|_| listed.more) {
                    let at = at.unwrap_or(answered.revision);
                    let range =
                        if list.descending { list.range.before(&last.key) } else { list.range.after(&last.key) };
                    client.page = Some(Page { list: kvd::kv::List { range, ..list.clone() }, at });
                }
            }
            _ => {}
        }
        let is_forgotten = matches!(answered.answer, Answer::Forgotten { .. });
        self.coverage.count(match (&answered.query, is_forgotten) {
            (_, true) => Kind::PastForgotten,
            (Query::Get { at: None, .. }, _) => Kind::KeyRead,
            (Query::Get { .. }, _) => Kind::PastRead,
            (Query::List { at: None, .. }, _) => Kind::FirstPage,
            (Query::List { .. }, _) if answered.query.at() < Some(answered.revision) => Kind::PageOfThePast,
            (Query::List { .. }, _) => Kind::NextPage,
            (Query::Txn(_), _) => Kind::ReadTxn,
            (Query::Lock(_), _) => Kind::LockRead,
            (Query::Lease(_), _) => Kind::LeaseRead,
            (Query::Past { .. }, _) => Kind::HistoryRead,
        });
        if !stale && !is_forgotten {
            // Each sending is a separate read, so this one began when it was sent.
            self.history.push(Seen { invoked: sent.sent, returned: Some(self.moment), what: Saw::Read(answered) });
        }
        self.pause_client(id);
    }

    fn give_up(&mut self, id: ClientId) {
        let Some(Doing { what, invoked, unknown, open, sent, .. }) = self.clients[id].doing.take() else { return };
        match what {
            What::Write(Command { request: Some(request), .. }) if unknown || !open.is_empty() => {
                self.coverage.count(Kind::WriteUnknown);
                let what = Saw::Write { request, outcome: None, sent };
                self.history.push(Seen { invoked, returned: None, what });
            }
            What::Write(_) | What::Unnamed(_) => self.coverage.count(Kind::WriteRefused),
            What::Read { .. } => self.coverage.count(Kind::ReadFailed),
        }
        self.pause_client(id);
    }

    fn pause_client(&mut self, id: ClientId) {
        let pause = self.chance.exponential(self.plan.clients.pause_us);
        self.turn_later(id, pause);
    }
}
