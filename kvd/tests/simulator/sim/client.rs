//! Clients. Each makes one request at a time, and relies only on the answers that it has received.
//!
//! A client retries a request that gets no answer, or a temporary error, under the same request id, at the same node or
//! another. An abandoned request has an unknown outcome, unless every copy of it is known to have had no effect. The
//! answers that clients saw form the history that is checked for linearizability in the end.

use super::coverage::Kind;
use super::events::{Ask, Event, Micros};
use super::linearizability::{Answer, Call, Condition, Moment, Operation as Seen, Seen as SeenItem};
use super::world::World;
use bytes::Bytes;
use kvd::kv::{self, Command, Item, Operation, Outcome, RequestId, Revision};
use kvd::node::{ReadError, WriteError};
use kvd::raft::NodeId;
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
    name: String,
    /// Number of its last request.
    seq: u64,
    leader: Option<NodeId>,
    /// The only node that it reads from, if it is faithful.
    reads_from: Option<NodeId>,
    /// For each key, the number of the last value that it saw and the revision that wrote it.
    seen: BTreeMap<u64, (u64, Revision)>,
    doing: Option<Doing>,
    /// Number of its latest turn; earlier turns are void.
    turn: u64,
}

/// The request that a client is making.
#[derive(Debug)]
struct Doing {
    key: u64,
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

#[derive(Clone, Debug)]
enum What {
    Write { command: Command, call: Call },
    Read { stale: bool },
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
    Written(Result<Outcome, WriteError>),
    Read(Result<Option<Item>, ReadError>),
    /// Nothing listens there: no node took the request.
    Refused,
    /// The connection was closed before an answer arrived.
    Closed,
}

/// Returns the value with this number: its digits, padded to `length` bytes.
fn value_bytes(number: u64, length: usize) -> Bytes {
    let mut value = number.to_string().into_bytes();
    value.resize(value.len().max(length), b'.');
    value.into()
}

/// Returns the number of a value; see [`value_bytes`].
pub(crate) fn value_number(value: &[u8]) -> u64 {
    let digits: Vec<u8> = value.iter().copied().take_while(u8::is_ascii_digit).collect();
    String::from_utf8_lossy(&digits).parse().expect("every value begins with its number")
}

pub(crate) fn key_bytes(key: u64) -> Bytes {
    format!("k{key}").into()
}

impl Reply {
    /// Distinguishes replies by their kinds, and successful replies by revision.
    fn number(&self) -> u64 {
        match self {
            Self::Written(Ok(Outcome::Set { revision, .. } | Outcome::Deleted { revision, .. })) => 10 + revision,
            Self::Written(Ok(_)) => 1,
            Self::Written(Err(_)) => 2,
            Self::Read(Ok(item)) => 10 + item.as_ref().map_or(0, |item| item.mod_revision),
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
        let key = self.chance.within(0..plan.keys);
        let what = if self.chance.percent(plan.read_percent) {
            What::Read { stale: self.chance.percent(20) }
        } else {
            self.draw_write(id, key)
        };
        let give_up_at = self.now + PATIENCE_TIMES * plan.patience_ms * MS;
        let invoked = self.moment;
        self.clients[id].doing =
            Some(Doing { key, what, invoked, give_up_at, sent: 0, open: Vec::new(), unknown: false, hops: 0 });
        let to = self.choose_node(id);
        self.send_attempt(id, to);
        let is_read = matches!(self.clients[id].doing, Some(Doing { what: What::Read { .. }, .. }));
        if !is_read && self.chance.percent(plan.hedged_percent) {
            let other = self.any_node();
            self.send_attempt(id, other);
        }
    }

    fn draw_write(&mut self, id: ClientId, key: u64) -> What {
        let plan = self.plan.clients;
        self.values += 1;
        let number = self.values;
        let must_be_conditional = key + 1 == plan.keys;
        let is_conditional = must_be_conditional || self.chance.percent(plan.conditional_percent);
        let (condition, expected) = if is_conditional { self.draw_condition(id, key) } else { (None, None) };
        let client = &mut self.clients[id];
        client.seq += 1;
        let request = Some(RequestId { client: client.name.clone(), seq: client.seq });
        let prev = self.chance.percent(20);
        let key = key_bytes(key);
        let (operation, call) = if self.chance.percent(15) {
            (Operation::Delete { key, condition, prev }, Call::Delete { condition: expected })
        } else {
            let value = value_bytes(number, plan.value_bytes);
            (Operation::Set { key, value, condition, prev }, Call::Set { value: number, condition: expected })
        };
        What::Write { command: Command { operation, request }, call }
    }

    /// Draws a condition, and returns it together with its equivalent in the history. The history knows no revisions,
    /// but each revision of a key has only one value.
    fn draw_condition(&mut self, id: ClientId, key: u64) -> (Option<kv::Condition>, Option<Condition>) {
        let seen = self.clients[id].seen.get(&key).copied();
        match (self.chance.within(0..6), seen) {
            (0 | 1, Some((value, revision))) => {
                (Some(kv::Condition::ModRevision(revision)), Some(Condition::Value(value)))
            }
            (2 | 3, Some((value, _))) => {
                let bytes = value_bytes(value, self.plan.clients.value_bytes);
                (Some(kv::Condition::Value(bytes)), Some(Condition::Value(value)))
            }
            (4, _) => (Some(kv::Condition::Present), Some(Condition::Present)),
            _ => (Some(kv::Condition::Absent), Some(Condition::Absent)),
        }
    }

    /// Chooses the node to ask: for a write mostly the leader that the client knows, for a read any node.
    fn choose_node(&mut self, id: ClientId) -> NodeId {
        let client = &self.clients[id];
        let leader = client.leader;
        let is_write = matches!(client.doing, Some(Doing { what: What::Write { .. }, .. }));
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
            What::Write { command, .. } => (Ask::Write(command.clone()), command.request.clone()),
            What::Read { stale: true } => (Ask::StaleRead(doing.key), None),
            What::Read { stale: false } => (Ask::Read(doing.key), None),
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
            Reply::Written(Ok(Outcome::SessionsFull)) => {
                self.coverage.count(Kind::SessionsFull);
                self.turn_later(id, backoff);
            }
            Reply::Written(Ok(Outcome::StaleRequest { .. })) => {
                // It has been applied, but its outcome has been forgotten.
                self.coverage.count(Kind::ReplyDropped);
                doing.unknown = true;
                self.give_up(id);
            }
            Reply::Written(Ok(outcome)) => self.write_answered(id, &sent, &outcome),
            Reply::Written(Err(WriteError::NotLeader { leader })) => {
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
            Reply::Written(Err(WriteError::OutcomeUnknown)) | Reply::Closed => {
                doing.unknown = true;
                self.clients[id].leader = None;
                self.turn_later(id, backoff);
            }
            Reply::Written(Err(
                WriteError::NoLeader
                | WriteError::TransferringLeadership
                | WriteError::Superseded
                | WriteError::Overloaded
                | WriteError::BelowLevel { .. },
            ))
            | Reply::Refused
            | Reply::Read(Err(_)) => {
                self.clients[id].leader = None;
                self.turn_later(id, backoff);
            }
            Reply::Read(Ok(item)) => self.read_answered(id, &sent, item.as_ref()),
        }
    }

    fn write_answered(&mut self, id: ClientId, sent: &Attempt, outcome: &Outcome) {
        let client = &mut self.clients[id];
        client.leader = Some(sent.to);
        let Some(Doing { key, what: What::Write { call, .. }, invoked, sent: times, .. }) = client.doing.take() else {
            return;
        };
        if self.is_calm && invoked >= self.calm_since {
            self.served += 1;
        }
        let answer = match outcome {
            Outcome::Set { revision, created, .. } => {
                self.coverage.count(Kind::Write);
                if let Call::Set { value, .. } = &call {
                    client.seen.insert(key, (*value, *revision));
                }
                Answer::Written { existed: !created }
            }
            Outcome::Deleted { deleted, .. } => {
                self.coverage.count(Kind::Write);
                Answer::Written { existed: *deleted }
            }
            Outcome::ConditionFailed { current } => {
                self.coverage.count(Kind::ConditionFailed);
                // The answer to a repeat shows the item as it is at that later time.
                let current = (times == 1).then(|| current.as_ref().map(seen_item));
                Answer::ConditionFailed { current }
            }
            Outcome::StaleRequest { .. } | Outcome::SessionsFull | Outcome::SeqReused | Outcome::LevelRaised { .. } => {
                unreachable!("a client is told no such thing of the request that it is about")
            }
        };
        if let Outcome::ConditionFailed { current: Some(item) } = outcome {
            self.clients[id].seen.insert(key, (value_number(&item.value), item.mod_revision));
        }
        self.history.push(Seen { key, invoked, returned: Some(self.moment), call, answer: Some(answer) });
        self.pause_client(id);
    }

    fn read_answered(&mut self, id: ClientId, sent: &Attempt, item: Option<&Item>) {
        let client = &mut self.clients[id];
        let Some(Doing { key, what: What::Read { stale }, .. }) = client.doing.take() else { return };
        if let Some(item) = item {
            client.seen.insert(key, (value_number(&item.value), item.mod_revision));
        }
        if !stale {
            // Each sending is a separate read, so this one began when it was sent.
            let answer = Some(Answer::Found(item.map(seen_item)));
            self.history.push(Seen { key, invoked: sent.sent, returned: Some(self.moment), call: Call::Get, answer });
        }
        self.pause_client(id);
    }

    fn give_up(&mut self, id: ClientId) {
        let Some(Doing { key, what, invoked, unknown, open, .. }) = self.clients[id].doing.take() else { return };
        match what {
            What::Write { call, .. } if unknown || !open.is_empty() => {
                self.coverage.count(Kind::WriteUnknown);
                self.history.push(Seen { key, invoked, returned: None, call, answer: None });
            }
            What::Write { .. } => self.coverage.count(Kind::WriteRefused),
            What::Read { .. } => self.coverage.count(Kind::ReadFailed),
        }
        self.pause_client(id);
    }

    fn pause_client(&mut self, id: ClientId) {
        let pause = self.chance.exponential(self.plan.clients.pause_us);
        self.turn_later(id, pause);
    }
}

fn seen_item(item: &Item) -> SeenItem {
    SeenItem { value: value_number(&item.value), version: item.version }
}
