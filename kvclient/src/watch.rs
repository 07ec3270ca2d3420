//! Watching who leads, across the death of any node.
//!
//! One node is listened to at a time (`GET /leader/watch`). When it says that it knows no leader, ends
//! the stream, or says nothing for longer than its comment lines are apart, the others are asked in turn
//! by listening to each for its first event, which tells what it knows. The first that names a leader is
//! listened to from then on. Only when none does has the cluster no leader, so a single node that is cut
//! off causes no false alarm.
//!
//! [`Sight`] decides what is news. It takes back nothing: a node that is behind names an older leader
//! with an older term, and is not believed.

use crate::api::{LeaderEvent, NodeUrl};
use crate::cluster::Cluster;
use crate::endpoints::{Endpoint, Leader};
use crate::sse::{Event, Parser};
use crate::transport::{Chunk, Failure, Stream, Transport};
use std::collections::VecDeque;
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How often a wait for events comes up for air; also the longest that a node may take to begin.
const TICK: Duration = Duration::from_millis(500);

/// Silence after which a node is left: nodes send a comment line every five seconds.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// While there is no leader: how often all nodes are asked again, lest the one listened to is cut off.
const SURVEY_EVERY: Duration = Duration::from_secs(1);

/// Surveys that may follow each other without a pause: as a leader dies, what a node knows is outdated
/// within milliseconds.
const HASTY_SURVEYS_MAX: u32 = 4;

/// A change of leader, as told by [`LeaderWatch`].
///
/// ```
/// # use kvclient::Client;
/// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let present = client.watch_leader().find(|change| change.leader.is_some()).expect("a watch has no end");
/// println!("{} leads term {}", present.leader.expect("asked for").id, present.term);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderChange {
    /// When this client learned of it, by the local clock.
    pub at: SystemTime,
    /// The newest term known.
    pub term: u64,
    /// The last leader before, also across a time without one; `None` if this watch has seen none.
    pub previous: Option<NodeUrl>,
    /// Who leads now; `None` when no node that answers knows a leader.
    pub leader: Option<NodeUrl>,
    /// When a leader appears after a time without one: how long that was, as far as this client saw it.
    pub without_leader: Option<Duration>,
}

/// An endless iterator over changes of leader, from [`Client::watch_leader`](crate::Client::watch_leader).
///
/// The first item says who leads now, or that nobody does; each further one differs from the one before.
/// `next` waits for as long as nothing changes.
///
/// ```
/// # use kvclient::Client;
/// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// let mut watch = client.watch_leader();
/// let now = watch.next().expect("a watch has no end");
/// println!("term {}: {:?}", now.term, now.leader);
/// # anyhow::Ok(())
/// ```
pub struct LeaderWatch {
    cluster: Arc<Cluster>,
    transport: Transport,
    sight: Sight,
    /// Where each survey begins, so that the watches of many clients spread over the nodes.
    start: usize,
    listening: Option<Listening>,
    surveyed: Instant,
    /// Surveys in a row, each soon after the one before.
    hasty: u32,
}

impl LeaderWatch {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            transport: Transport::new(),
            sight: Sight::default(),
            start: rand::random::<u16>().into(),
            listening: None,
            surveyed: Instant::now(),
            hasty: 0,
        }
    }

    /// The next change, or `None` if there is none for `timeout`; the watch goes on either way.
    ///
    /// May take half a second longer than asked, and as much again per node that does not answer.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # use std::time::Duration;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let mut watch = client.watch_leader();
    /// while let Some(change) = watch.next_timeout(Duration::from_secs(1)) {
    ///     println!("term {}: {:?}", change.term, change.leader);
    /// }
    /// println!("the same leader for a second");
    /// # anyhow::Ok(())
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<LeaderChange> {
        let started = Instant::now();
        loop {
            if let Some(change) = self.advance() {
                return Some(change);
            }
            if started.elapsed() >= timeout {
                return None;
            }
        }
    }

    /// One step: an event, a tick without any, or a survey of all nodes.
    fn advance(&mut self) -> Option<LeaderChange> {
        let Some(listening) = &mut self.listening else { return self.survey() };
        match listening.next(TICK) {
            Heard::Event(event) if event.leader.is_some() => {
                let change = self.sight.names(&event, Instant::now());
                self.learn(&event);
                return change;
            }
            // It may be the cluster, or this node alone.
            Heard::Event(_) => {}
            Heard::Nothing if self.sight.sees_leader() || self.surveyed.elapsed() < SURVEY_EVERY => return None,
            Heard::Nothing => {}
            Heard::Ended => self.listening = None,
            Heard::Silence => {
                let failure = Failure::Silent(SILENCE_MAX);
                self.cluster.note(&listening.node, Some(&failure));
                self.listening = None;
            }
        }
        self.sight.doubt(Instant::now());
        self.survey()
    }

    /// Listens to each node for what it knows, until one names a leader.
    fn survey(&mut self) -> Option<LeaderChange> {
        self.pause_if_hasty();
        // What is listened to stays, should no node know better.
        let mut fallback = self.listening.take();
        let mut newest_term = 0;
        let mut tried: Vec<Endpoint> = Vec::new();
        loop {
            let node = self.cluster.endpoints().next(self.start, &tried, Instant::now()).cloned();
            let Some(node) = node else { break };
            tried.push(node.clone());
            if !self.cluster.endpoints().members_known() {
                // For the members it tells; a node that fails here will fail below as well.
                let _ = self.cluster.probe(&self.transport, &node, TICK);
            }
            let Some((listening, event)) = self.listen(&node) else { continue };
            newest_term = newest_term.max(event.term);
            if event.leader.is_some() && event.term >= self.sight.term {
                self.listening = Some(listening);
                self.learn(&event);
                return self.sight.names(&event, Instant::now());
            }
            fallback.get_or_insert(listening);
        }
        self.listening = fallback;
        self.sight.names_none(newest_term, Instant::now(), SystemTime::now())
    }

    /// Keeps a watch from spinning where no node answers, or all of them end their streams at once.
    fn pause_if_hasty(&mut self) {
        self.hasty = if self.surveyed.elapsed() < SURVEY_EVERY { self.hasty.saturating_add(1) } else { 0 };
        if self.hasty > HASTY_SURVEYS_MAX {
            let backoff = self.cluster.limits.backoff;
            thread::sleep(backoff.wait(self.hasty - HASTY_SURVEYS_MAX, &mut rand::rng()));
        }
        self.surveyed = Instant::now();
    }

    /// Opens the stream of a node and waits for its first event.
    fn listen(&self, node: &Endpoint) -> Option<(Listening, LeaderEvent)> {
        let stream = self.transport.stream(node, "/leader/watch", TICK);
        self.cluster.note(node, stream.as_ref().err());
        let mut listening = Listening::new(node.clone(), stream.ok()?);
        match listening.next(TICK) {
            Heard::Event(event) => Some((listening, event)),
            Heard::Nothing | Heard::Silence | Heard::Ended => None,
        }
    }

    /// Tells the rest of the client who leads.
    fn learn(&self, event: &LeaderEvent) {
        let named = event.leader.as_ref().and_then(|leader| Endpoint::parse(&leader.url).ok());
        if let Some(endpoint) = named {
            let leader = Leader { endpoint, term: Some(event.term) };
            let mut endpoints = self.cluster.endpoints_mut();
            if endpoints.leader().is_none_or(|present| leader.supersedes(present)) {
                endpoints.set_leader(leader);
            }
        }
    }
}

impl Iterator for LeaderWatch {
    type Item = LeaderChange;

    fn next(&mut self) -> Option<LeaderChange> {
        loop {
            if let Some(change) = self.advance() {
                return Some(change);
            }
        }
    }
}

impl FusedIterator for LeaderWatch {}

impl fmt::Debug for LeaderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.listening.as_ref().map(|listening| &listening.node);
        f.debug_struct("LeaderWatch").field("listening_to", &node).field("sight", &self.sight).finish_non_exhaustive()
    }
}

/// The stream of one node.
struct Listening {
    node: Endpoint,
    stream: Stream,
    parser: Parser,
    ready: VecDeque<LeaderEvent>,
    last_bytes: Instant,
}

/// What came of listening for a while.
enum Heard {
    Event(LeaderEvent),
    /// Nothing new.
    Nothing,
    /// Nothing for so long that the node must be gone.
    Silence,
    /// The stream is over, or is not what it should be.
    Ended,
}

impl Listening {
    fn new(node: Endpoint, stream: Stream) -> Self {
        Self { node, stream, parser: Parser::default(), ready: VecDeque::new(), last_bytes: Instant::now() }
    }

    /// Waits for an event for `patience`, to within a tick.
    fn next(&mut self, patience: Duration) -> Heard {
        let started = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Heard::Event(event);
            }
            match self.stream.read(&mut buffer) {
                Chunk::Bytes(amount) => {
                    self.last_bytes = Instant::now();
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

/// What has been told of the leader, and hence what is news.
#[derive(Debug, Default)]
struct Sight {
    term: u64,
    leader: Option<NodeUrl>,
    /// The leader told last, also after it was lost.
    previous: Option<NodeUrl>,
    /// Since when it has been doubtful, and then certain, that there is none.
    doubted: Option<Instant>,
    /// Whether anything has been told yet.
    told: bool,
}

impl Sight {
    fn sees_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Something suggests that the leader is gone.
    fn doubt(&mut self, now: Instant) {
        if self.told {
            self.doubted.get_or_insert(now);
        }
    }

    /// A node names a leader.
    fn names(&mut self, event: &LeaderEvent, now: Instant) -> Option<LeaderChange> {
        // Within a term there is one leader (paper §5.2), so a second name would be an error of the node.
        let known = event.term < self.term || (event.term == self.term && self.leader.is_some());
        if known || event.leader.is_none() {
            if event.term == self.term && event.leader == self.leader {
                self.doubted = None;
            }
            return None;
        }
        let gap = self.doubted.take().filter(|_| self.told && self.leader.is_none());
        self.term = event.term;
        self.leader.clone_from(&event.leader);
        self.told = true;
        let previous = std::mem::replace(&mut self.previous, event.leader.clone());
        Some(LeaderChange {
            at: SystemTime::now(),
            term: self.term,
            previous,
            leader: self.leader.clone(),
            without_leader: gap.map(|since| now.saturating_duration_since(since)),
        })
    }

    /// No node that answers names a leader; the newest of them is at `term`.
    fn names_none(&mut self, term: u64, now: Instant, at: SystemTime) -> Option<LeaderChange> {
        self.doubted.get_or_insert(now);
        if self.told && self.leader.is_none() {
            return None;
        }
        // Not `term` if it is newer: a vote may have ended in it, and the next leader may come with it.
        self.told = true;
        self.leader = None;
        Some(LeaderChange {
            at,
            term: self.term.max(term),
            previous: self.previous.clone(),
            leader: None,
            without_leader: None,
        })
    }
}

#[cfg(test)]
mod tests;
