//! Clients that do everything there is to do, and write down what they were told, for [`History`] to judge.
//!
//! Writers use the real client. Some repeat a request until it has an outcome, as the client does by default; the
//! others send it once, so that they meet the unknown outcomes, and the answers that are of that very moment. Readers
//! are pinned to one node each, leader or not, cut off or not, and read from it both ways.
//!
//! A few keys are fought over, by writers of all kinds. Others see only reads and conditional sets: where nothing
//! deletes and nothing is overwritten unseen, there is no unknown delete or write that would explain away a loss.

use super::cluster::Cluster;
use super::history::{History, Life, NodeRead, Notes, Revision, StaleRead};
use super::http::Connection;
use super::linearizability::{self, Answer, Call, Moment, Operation, Seen, Value};
use super::node::Node;
use super::wait::until;
use kvclient::api::GetReply;
use kvclient::{Applied, Client, Condition, DeleteReply, DeleteRequest, Error, Item, SetReply, SetRequest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Writers of either kind.
const PATIENT: u64 = 2;
const IMPATIENT: u64 = 2;

/// Keys that are fought over, and keys that see only reads and conditional sets.
const CONTENDED_KEYS: u64 = 3;
const GUARDED_KEYS: u64 = 2;

/// Pause of a client after an answer. The tests look for wrong answers and not for the greatest rate, and the
/// processors are needed for elections.
const PAUSE: Duration = Duration::from_millis(5);

/// Pause of a client that was refused: what it met lasts for a while.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// Time for one exchange, and for all attempts of one that is repeated.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// One clock for all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    /// Microseconds since the recording began.
    pub(super) fn now(self) -> Moment {
        self.0.elapsed().as_micros().try_into().expect("a test does not take centuries")
    }
}

/// What the keys of one history are called: nobody else writes to them, before or after.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    prefix: String,
}

impl KeyNames {
    /// All keys by their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, String)> {
        (1..=CONTENDED_KEYS + GUARDED_KEYS).map(|number| (number, self.name(number)))
    }

    fn name(&self, number: u64) -> String {
        format!("{}{}/{number}", self.prefix, if is_guarded(number) { "guarded" } else { "contended" })
    }
}

fn is_guarded(number: u64) -> bool {
    number > CONTENDED_KEYS
}

/// What a reader sees of an item.
pub(super) fn seen(item: &Item) -> Seen {
    let value = item.value_str().and_then(|value| value.parse().ok());
    Seen { value: value.unwrap_or_else(|| panic!("nobody wrote {item:?}")), version: item.version }
}

/// Clients at work.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Notes>>,
}

/// What the clients have in common.
struct Shared {
    clock: Clock,
    names: KeyNames,
    stop: AtomicBool,
    /// Numbers values, so that each is written by one request.
    values: AtomicU64,
    acknowledged: AtomicU64,
    /// For each node the linearizable reads that those who are pinned to it have begun, and those that it answered.
    asked: Vec<AtomicU64>,
    answered: Vec<AtomicU64>,
}

impl Recorder {
    /// Starts the writers, and for each node one reader of either kind.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self::start_at(cluster, "")
    }

    /// The same at keys whose names begin with `prefix`, for one history after the other of the same cluster.
    pub(crate) fn start_at(cluster: &Cluster, prefix: &str) -> Self {
        let shared = Arc::new(Shared {
            clock: Clock(Instant::now()),
            names: KeyNames { prefix: prefix.to_owned() },
            stop: AtomicBool::new(false),
            values: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            asked: cluster.nodes.iter().map(|_| AtomicU64::new(0)).collect(),
            answered: cluster.nodes.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let builder = || Client::builder().endpoints(cluster.endpoints()).attempt_timeout(ATTEMPT_TIMEOUT);
        let patient = builder().total_timeout(TOTAL_TIMEOUT).build().expect("URLs of nodes");
        let impatient = builder().total_timeout(ATTEMPT_TIMEOUT).retries(0).build().expect("URLs of nodes");
        let mut recorder = Self { shared, clients: Vec::new() };
        for seed in 0..PATIENT + IMPATIENT {
            let sends_once = seed >= PATIENT;
            let client = if sends_once { &impatient } else { &patient }.clone();
            let (shared, random) = (Arc::clone(&recorder.shared), StdRng::seed_from_u64(seed));
            let writer = Writer { client, sends_once, random, shared, notes: Notes::default(), known: BTreeMap::new() };
            recorder.clients.push(thread::spawn(|| writer.run()));
        }
        for (number, node) in cluster.nodes.iter().enumerate() {
            recorder.pin(number, node, Consistency::Linearizable);
            recorder.pin(number, node, Consistency::Stale);
        }
        recorder
    }

    /// Starts a reader at the node of this number, beside those that it has already.
    pub(crate) fn pin(&mut self, number: usize, node: &Node, consistency: Consistency) {
        let (shared, random) = (Arc::clone(&self.shared), StdRng::seed_from_u64(self.clients.len() as u64));
        let life = Life { node: number, reader: self.clients.len(), connection: 0 };
        let reader = Reader { life, url: node.url(), consistency, random, shared, notes: Notes::default() };
        self.clients.push(thread::spawn(|| reader.run()));
    }

    pub(crate) fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// Waits until as many more writes have been acknowledged.
    #[track_caller]
    pub(crate) fn flow(&self, writes: u64) {
        grow("writes are acknowledged", &self.shared.acknowledged, writes);
    }

    /// Waits until the node has answered as many more linearizable reads to those who are pinned to it.
    #[track_caller]
    pub(crate) fn flow_at(&self, node: usize, reads: u64) {
        grow("reads are answered", &self.shared.answered[node], reads);
    }

    /// Waits until those who are pinned to the node have asked it once more for a linearizable read, whether it
    /// answers or not.
    #[track_caller]
    pub(crate) fn ask(&self, node: usize) {
        grow("a read is begun", &self.shared.asked[node], 1);
    }

    /// Stops the clients; each finishes what it is at.
    pub(crate) fn stop(mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut notes = Notes::default();
        for client in std::mem::take(&mut self.clients) {
            notes.add(client.join().expect("a client does not panic"));
        }
        History::new(self.shared.clock, self.shared.names.clone(), notes)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn grow(what: &str, counter: &AtomicU64, by: u64) {
    let target = counter.load(Ordering::Relaxed) + by;
    until(what, || (counter.load(Ordering::Relaxed) >= target).then_some(()));
}

/// Writes, and reads in between, through the real client.
struct Writer {
    client: Client,
    /// Whether each request is sent once and never repeated.
    sends_once: bool,
    random: StdRng,
    shared: Arc<Shared>,
    notes: Notes,
    /// The value of each key that was seen or written last, and the revision of that.
    known: BTreeMap<u64, (Value, u64)>,
}

impl Writer {
    fn run(mut self) -> Notes {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = self.random.random_range(1..=CONTENDED_KEYS + GUARDED_KEYS);
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

    /// The condition as the checker knows it: only values that are known were asked for.
    fn translated(&self, key: u64, condition: &Condition) -> linearizability::Condition {
        match condition {
            Condition::Absent => linearizability::Condition::Absent,
            Condition::Present => linearizability::Condition::Present,
            Condition::ModRevision(_) | Condition::Value(_) => linearizability::Condition::Value(self.known[&key].0),
        }
    }

    fn get(&mut self, key: u64) -> bool {
        let invoked = self.shared.clock.now();
        let Ok(item) = self.client.get(&self.shared.names.name(key)) else { return false };
        let returned = self.shared.clock.now();
        let answer = Answer::Found(item.as_ref().map(seen));
        self.notes.operations.push(answered(key, invoked, returned, Call::Get, answer));
        self.learn(key, item.as_ref());
        true
    }

    /// Whichever node answers: of the order of such reads nothing is promised.
    fn get_stale(&mut self, key: u64) -> bool {
        let Ok(item) = self.client.get_stale(&self.shared.names.name(key)) else { return false };
        let returned = self.shared.clock.now();
        self.notes.stale_reads.push(StaleRead { life: None, key, returned, item });
        true
    }

    fn set(&mut self, key: u64, condition: Option<Condition>) -> bool {
        let value = self.shared.values.fetch_add(1, Ordering::Relaxed) + 1;
        let translated = condition.as_ref().map(|condition| self.translated(key, condition));
        let invoked = self.shared.clock.now();
        let name = self.shared.names.name(key);
        let result = self.client.set_with(SetRequest { condition, ..SetRequest::new(&name, value.to_string()) });
        let result = result.map(|SetReply { revision, created, .. }| {
            self.known.insert(key, (value, revision));
            (Answer::Written { existed: !created }, Some(revision))
        });
        self.written(key, invoked, Call::Set { value, condition: translated }, result)
    }

    fn delete(&mut self, key: u64, condition: Option<Condition>) -> bool {
        let translated = condition.as_ref().map(|condition| self.translated(key, condition));
        let invoked = self.shared.clock.now();
        let name = self.shared.names.name(key);
        let result = self.client.delete_with(DeleteRequest { condition, ..DeleteRequest::new(&name) });
        let result = result.map(|DeleteReply { revision, deleted, .. }| {
            (Answer::Written { existed: deleted > 0 }, (deleted > 0).then_some(revision))
        });
        self.written(key, invoked, Call::Delete { condition: translated }, result)
    }

    /// Notes what became of a write; whether there was an answer to it.
    fn written(&mut self, key: u64, invoked: Moment, call: Call, result: Result<(Answer, Option<u64>), Error>) -> bool {
        let returned = self.shared.clock.now();
        let answer = match result {
            Ok((answer, changed_at)) => {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.notes.acknowledged += 1;
                let changed = |revision| Revision { invoked, returned, revision, changed: true };
                self.notes.revisions.extend(changed_at.map(changed));
                Some(answer)
            }
            Err(Error::ConditionFailed { current }) => {
                self.learn(key, current.as_ref());
                // Asked for again, the answer shows what is there by then.
                Some(Answer::ConditionFailed { current: self.sends_once.then(|| current.as_ref().map(seen)) })
            }
            Err(error) if error.applied() == Applied::No => {
                self.notes.refused += 1;
                return false;
            }
            Err(_) => {
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

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consistency {
    Linearizable,
    Stale,
}

/// Reads from one node alone.
struct Reader {
    life: Life,
    url: String,
    consistency: Consistency,
    random: StdRng,
    shared: Arc<Shared>,
    notes: Notes,
}

impl Reader {
    fn run(mut self) -> Notes {
        let mut connection = None;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = self.random.random_range(1..=CONTENDED_KEYS + GUARDED_KEYS);
            let answered = match self.consistency {
                Consistency::Linearizable => self.get(&mut connection, key),
                Consistency::Stale => self.get_stale(&mut connection, key),
            };
            thread::sleep(if answered { PAUSE } else { REFUSED_PAUSE });
        }
        self.notes
    }

    fn get(&mut self, connection: &mut Option<Connection>, key: u64) -> bool {
        let node = self.life.node;
        let invoked = self.shared.clock.now();
        self.shared.asked[node].fetch_add(1, Ordering::Relaxed);
        let found = self.exchange(connection, key, "linearizable");
        let returned = self.shared.clock.now();
        self.notes.node_reads.push(NodeRead { node, invoked, returned, answered: found.is_some() });
        let Some(found) = found else { return false };
        self.shared.answered[node].fetch_add(1, Ordering::Relaxed);
        if let Some(GetReply { revision, .. }) = found {
            self.notes.revisions.push(Revision { invoked, returned, revision, changed: false });
        }
        let answer = Answer::Found(found.map(|reply| seen(&reply.item)));
        self.notes.operations.push(answered(key, invoked, returned, Call::Get, answer));
        true
    }

    fn get_stale(&mut self, connection: &mut Option<Connection>, key: u64) -> bool {
        let Some(found) = self.exchange(connection, key, "stale") else { return false };
        let returned = self.shared.clock.now();
        let (revision, item) = found.map(|reply| (reply.revision, reply.item)).unzip();
        self.notes.stale_reads.push(StaleRead { life: Some((self.life, revision)), key, returned, item });
        true
    }

    /// What the node says is there; `None` if it does not answer that.
    fn exchange(
        &mut self,
        connection: &mut Option<Connection>,
        key: u64,
        consistency: &str,
    ) -> Option<Option<GetReply>> {
        let what = format!("GET /get?consistency={consistency}&key={}", self.shared.names.name(key));
        let mut ask = || {
            let open = match connection.take() {
                Some(open) => open,
                None => {
                    self.life.connection += 1;
                    Connection::open(&self.url)?
                }
            };
            let open = connection.insert(open);
            open.send(&what, &[], b"")?;
            open.receive()
        };
        let Ok(reply) = ask() else {
            *connection = None;
            return None;
        };
        match reply.status {
            200 => Some(Some(reply.json())),
            404 => Some(None),
            503 | 504 => None,
            status => panic!("{}: {status} {}", self.url, reply.text()),
        }
    }
}

fn answered(key: u64, invoked: Moment, returned: Moment, call: Call, answer: Answer) -> Operation {
    Operation { key, invoked, returned: Some(returned), call, answer: Some(answer) }
}
