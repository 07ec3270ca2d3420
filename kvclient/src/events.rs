//! Events from one node after another: where a stream breaks off, the next node is asked to go on.

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::routing::{Again, Cluster, Deadline, Kind, Reason, Tally, Verdict};
use crate::transport::{Chunk, Failure, Opened, Parser, Stream, Subscription, Transport};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest single wait, after which the caller's wish to end is looked at. Also the longest that a node may take to begin
/// its stream.
const TICK: Duration = Duration::from_millis(500);

/// Silence after which a node is abandoned: it sends an event or a comment every five seconds.
const SILENCE_MAX: Duration = Duration::from_secs(12);

/// Longest wait between two attempts.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Reads an event from its name and data; `None` if this client does not know it.
pub(crate) type Read<E> = fn(&str, &str) -> serde_json::Result<Option<E>>;

/// Request to each node.
pub(crate) struct Asked {
    /// Path and query.
    pub(crate) path: String,
    pub(crate) body: Option<Vec<u8>>,
    /// The event after which the node continues.
    pub(crate) last_event_id: Option<String>,
}

/// The events of one node after another.
pub(crate) struct Events<E> {
    cluster: Arc<Cluster>,
    read: Read<E>,
    /// Node at which to begin, so that the streams of many clients spread over the nodes.
    start: usize,
    listening: Option<Listening<E>>,
    /// Nodes that were tried since the last event.
    tried: Vec<Endpoint>,
    /// Number of rounds through all nodes since the last event.
    round: u32,
    ended: Arc<AtomicBool>,
}

/// Outcome of a wait.
pub(crate) enum Next<E> {
    /// An event, and its id.
    Event(E, Option<String>),
    /// Nothing for a while.
    Nothing,
    /// No node will answer.
    Failed(Error),
    /// The caller has ended the stream.
    Ended,
}

/// The stream of one node.
struct Listening<E> {
    node: Endpoint,
    stream: Stream,
    parser: Parser,
    ready: VecDeque<(E, Option<String>)>,
    last_bytes: Instant,
}

/// Reason why a stream is of no more use.
enum Broken {
    Silent,
    Off,
}

impl<E> Events<E> {
    /// Creates events that end as soon as `ended` is true.
    pub(crate) fn new(cluster: Arc<Cluster>, read: Read<E>, ended: Arc<AtomicBool>) -> Self {
        let start = rand::random::<u16>().into();
        Self { cluster, read, start, listening: None, tried: Vec::new(), round: 0, ended }
    }

    /// Waits for `patience`, to within a tick, for the next event. `asked` is called for each node that is asked.
    pub(crate) fn next(&mut self, patience: Duration, asked: impl Fn() -> Asked) -> Next<E> {
        let started = Instant::now();
        loop {
            if self.ended.load(Ordering::Relaxed) {
                self.leave();
                return Next::Ended;
            }
            match &mut self.listening {
                None => {
                    let left = patience.saturating_sub(started.elapsed());
                    if let Err(error) = self.open(left, &asked) {
                        self.leave();
                        return Next::Failed(error);
                    }
                }
                Some(listening) => match listening.next(self.read) {
                    Ok(Some((event, id))) => {
                        self.tried.clear();
                        self.round = 0;
                        return Next::Event(event, id);
                    }
                    Ok(None) => {}
                    Err(broken) => self.broke(&broken),
                },
            }
            if started.elapsed() >= patience {
                return Next::Nothing;
            }
        }
    }

    /// Opens the stream of the next node, if it answers.
    fn open(&mut self, left: Duration, asked: impl Fn() -> Asked) -> Result<(), Error> {
        let cluster = Arc::clone(&self.cluster);
        let next = cluster.endpoints().next(self.start, &self.tried, Instant::now()).cloned();
        let Some(node) = next else {
            // All nodes have had their turn.
            self.tried.clear();
            if cluster.endpoints().are_all_strangers() {
                return Err(self.strangers());
            }
            let wait = cluster.limits.backoff.wait(self.round, &mut rand::rng()).min(WAIT_MAX).min(left);
            self.round = self.round.saturating_add(1);
            thread::sleep(wait);
            return Ok(());
        };
        self.tried.push(node.clone());
        let transport = Transport::new();
        if cluster.id().is_none() || !cluster.endpoints().members_known() {
            // The answer identifies the cluster. A node that fails here will fail below as well.
            let _ = cluster.probe(&transport, &node, TICK);
        }
        let Asked { path, body, last_event_id } = asked();
        let subscription = Subscription { body: body.as_deref(), last_event_id };
        let verdict = match transport.events(cluster.target(&node, &path), &subscription, TICK) {
            Ok(Opened::Begun(stream)) => {
                if cluster.admit_data(&node, stream.cluster.as_deref()).is_ok() {
                    cluster.note(&node, None);
                    self.listening = Some(Listening::new(node, stream));
                }
                return Ok(());
            }
            Ok(Opened::Answer(reply)) => cluster.judge(Kind::Read, &node, Ok(reply)),
            Err(failure) => cluster.judge(Kind::Read, &node, Err(failure)),
        };
        match verdict {
            Verdict::Refused(error) => Err(error),
            // Another node may do better.
            Verdict::Again(_) | Verdict::Done(_) | Verdict::Missing { .. } | Verdict::Redirect(_) => Ok(()),
        }
    }

    /// The error where every node belongs to another cluster, whose revisions mean nothing here.
    fn strangers(&self) -> Error {
        let mut tally = Tally::of(Kind::Read);
        let own = self.cluster.id().unwrap_or("none");
        for node in self.cluster.endpoints().all() {
            let detail = format!("{node} belongs to another cluster than this client, whose is {own}");
            tally.add(Again::not_sent(Reason::WrongCluster, detail));
        }
        self.cluster.give_up(tally, &Deadline::after(Duration::ZERO))
    }

    fn broke(&mut self, broken: &Broken) {
        let Some(listening) = self.listening.take() else { return };
        let failure = match broken {
            Broken::Silent => Failure::Silent(SILENCE_MAX),
            Broken::Off => Failure::Broken("the stream broke off".into()),
        };
        self.cluster.note(&listening.node, Some(&failure));
        self.tried = vec![listening.node];
        self.start = self.start.wrapping_add(1);
    }

    /// Leaves the node whose stream has ended with an error, for another one. It has its turn again after the others.
    pub(crate) fn told(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        self.tried = vec![listening.node];
        self.start = self.start.wrapping_add(1);
    }

    /// Leaves the node that is listened to.
    pub(crate) fn leave(&mut self) {
        self.listening = None;
        self.tried.clear();
    }
}

impl<E> Listening<E> {
    fn new(node: Endpoint, stream: Stream) -> Self {
        Self { node, stream, parser: Parser::default(), ready: VecDeque::new(), last_bytes: Instant::now() }
    }

    /// Returns the next event, if one arrives within a tick, and its id.
    fn next(&mut self, read: Read<E>) -> Result<Option<(E, Option<String>)>, Broken> {
        if let Some(event) = self.ready.pop_front() {
            return Ok(Some(event));
        }
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Chunk::Bytes(amount) => {
                self.last_bytes = Instant::now();
                let mut events = Vec::new();
                self.parser.push(&buffer[..amount], &mut events).map_err(|_| Broken::Off)?;
                for event in events {
                    // Events of newer nodes are passed over.
                    let known = read(&event.name, &event.data).map_err(|_| Broken::Off)?;
                    self.ready.extend(known.map(|known| (known, event.id)));
                }
                Ok(self.ready.pop_front())
            }
            Chunk::Idle if self.last_bytes.elapsed() > SILENCE_MAX => Err(Broken::Silent),
            Chunk::Idle => Ok(None),
            Chunk::Ended => Err(Broken::Off),
        }
    }
}
