//! The event stream of one node.

use crate::api::LeaderEvent;
use crate::endpoint::Endpoint;
use crate::routing::Cluster;
use crate::transport::{Chunk, Event, Opened, Parser, Stream, Transport};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Longest single wait for events. Also the longest that a node may take to begin its stream.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Silence after which a node is asked whether it still answers. A hung node would not report the next leader.
const DOUBTED_AFTER: Duration = Duration::from_secs(2);

/// Silence after which the node is abandoned: nodes send a comment line every five seconds.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The stream of one node.
pub(super) struct Listening {
    pub(super) node: Endpoint,
    stream: Stream,
    parser: Parser,
    ready: VecDeque<LeaderEvent>,
    /// The newest event.
    pub(super) last: Option<LeaderEvent>,
    last_bytes: Instant,
    /// Time at which the node last showed that it is alive.
    alive: Instant,
}

/// Outcome of listening for a while.
pub(super) enum Heard {
    Event(LeaderEvent),
    /// Nothing new.
    Nothing,
    /// Nothing for so long that the node must be gone.
    Silence,
    /// The stream has ended, or is malformed.
    Ended,
}

impl Listening {
    /// Opens the stream of a node and waits for its first event.
    pub(super) fn open(cluster: &Cluster, node: &Endpoint) -> Option<(Self, LeaderEvent)> {
        let transport = Transport::new();
        if cluster.id().is_none() || !cluster.endpoints().members_known() {
            // The answer identifies the cluster. A node that fails here will fail below as well.
            let _ = cluster.probe(&transport, node, TICK);
        }
        let opened = transport.stream(cluster.target(node, "/leader/watch"), TICK);
        cluster.note(node, opened.as_ref().err());
        let stream = match opened.ok()? {
            Opened::Begun(stream) => stream,
            Opened::Answer(reply) => {
                // The stream is useless in any case; the node may belong to another cluster.
                let _ = cluster.admit(node, reply.cluster.as_deref());
                return None;
            }
        };
        cluster.admit_data(node, stream.cluster.as_deref()).ok()?;
        let mut listening = Self::new(node.clone(), stream);
        match listening.next(TICK) {
            Heard::Event(event) => Some((listening, event)),
            Heard::Nothing | Heard::Silence | Heard::Ended => None,
        }
    }

    /// Returns whether the node still answers. It is asked only after it has been silent for a while.
    pub(super) fn is_alive(&mut self, cluster: &Cluster) -> bool {
        if self.alive.elapsed() < DOUBTED_AFTER {
            return true;
        }
        let answers = cluster.probe(&Transport::new(), &self.node, TICK).is_ok();
        if answers {
            self.alive = Instant::now();
        }
        answers
    }

    fn new(node: Endpoint, stream: Stream) -> Self {
        let (parser, ready) = (Parser::default(), VecDeque::new());
        let now = Instant::now();
        Self { node, stream, parser, ready, last: None, last_bytes: now, alive: now }
    }

    /// Waits for an event for `patience`, to within a tick.
    pub(super) fn next(&mut self, patience: Duration) -> Heard {
        let started = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = Some(event.clone());
                return Heard::Event(event);
            }
            match self.stream.read(&mut buffer) {
                Chunk::Bytes(amount) => {
                    self.last_bytes = Instant::now();
                    self.alive = self.last_bytes;
                    let mut events: Vec<Event> = Vec::new();
                    if self.parser.push(&buffer[..amount], &mut events).is_err() {
                        return Heard::Ended;
                    }
                    for event in events.into_iter().filter(|event| event.name == "leader") {
                        match serde_json::from_str(&event.data) {
                            Ok(event) => self.ready.push_back(event),
                            Err(_) => return Heard::Ended,
                        }
                    }
                }
                Chunk::Idle if self.last_bytes.elapsed() > SILENCE_MAX => return Heard::Silence,
                Chunk::Idle => {}
                Chunk::Ended => return Heard::Ended,
            }
            if self.ready.is_empty() && started.elapsed() >= patience {
                return Heard::Nothing;
            }
        }
    }
}
