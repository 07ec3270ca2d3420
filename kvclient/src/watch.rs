//! Watching who leads, across the death of any node.
//!
//! One node is listened to at a time (`GET /leader/watch`). When it says that it knows no leader, ends
//! the stream, or says nothing for longer than its comment lines are apart, a survey asks the others
//! (hedged, see [`crate::hedge`]) by listening to each for its first event, which tells what it knows; the
//! one listened to goes on being heard meanwhile. The first that names a leader is listened to from then
//! on. Only when none does has the cluster no leader, so a single node that is cut off causes no false
//! alarm. Times are those at which events arrived, however long a survey had to wait for silent nodes.
//!
//! [`Sight`] decides what is news. A node that is behind names an older leader with an older term, and is
//! not believed, unless survey after survey finds nothing newer: then the cluster has begun anew.

use crate::api::{LeaderEvent, NodeUrl};
use crate::cluster::Cluster;
use crate::endpoints::{Endpoint, Leader};
use crate::hedge::Hedge;
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

/// Longest that a survey takes: to ask a node for the members and to wait for its first event.
const SURVEY_MAX: Duration = Duration::from_secs(1);

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
    /// When a leader appears after a time without one: how long that was, from the moment at which the node
    /// listened to lost it (or was lost itself) to the moment at which one was named.
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
    sight: Sight,
    /// Where each survey begins, so that the watches of many clients spread over the nodes.
    start: usize,
    listening: Option<Listening>,
    /// Under way, with the node listened to among those asked.
    survey: Option<Survey>,
    surveyed: Instant,
    /// Surveys in a row, each soon after the one before.
    hasty: u32,
    /// Since when all nodes that answer have named nothing but a leader of an older term.
    older_since: Option<Instant>,
}

impl LeaderWatch {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            sight: Sight::default(),
            start: rand::random::<u16>().into(),
            listening: None,
            survey: None,
            surveyed: Instant::now(),
            hasty: 0,
            older_since: None,
        }
    }

    /// The next change, or `None` if there is none for `timeout`; the watch goes on either way.
    ///
    /// May take a second longer than asked where nodes do not answer.
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
            let left = timeout.saturating_sub(started.elapsed());
            if let Some(change) = self.advance(left) {
                return Some(change);
            }
            if started.elapsed() >= timeout {
                return None;
            }
        }
    }

    /// One step: an event, a tick without any, or part of a survey. Pauses for `left` at most.
    fn advance(&mut self, left: Duration) -> Option<LeaderChange> {
        if self.survey.is_some() {
            return self.go_on_with_survey();
        }
        if let Some(listening) = &mut self.listening {
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
        }
        self.pause_if_hasty(left);
        self.survey = Some(Survey::start(&self.cluster, self.start, self.listening.take()));
        self.go_on_with_survey()
    }

    /// Waits for the nodes asked, until one names a leader, or nobody is left who could.
    fn go_on_with_survey(&mut self) -> Option<LeaderChange> {
        let mut survey = self.survey.take()?;
        loop {
            // The node listened to has said that it knows none. There is no need to wait for it to say more before
            // that is told, and good reason to hear it out afterwards.
            let heard_all_others = survey.listened_to && survey.asked.under_way() == 1 && survey.asked.all_asked();
            if heard_all_others && let Some(change) = self.sight.names_none(survey.newest_term, Instant::now()) {
                self.survey = Some(survey);
                return Some(change);
            }
            let Some(told) = survey.asked.next() else { break };
            survey.listened_to &= !told.listened_to;
            if let Some((listening, event)) = told.heard {
                if event.leader.is_some() && event.term >= self.sight.term {
                    self.listening = Some(listening);
                    self.older_since = None;
                    self.learn(&event);
                    return self.sight.names(&event, told.at);
                }
                survey.take(listening, event);
            }
        }
        self.listening = survey.fallback;
        self.restarted(survey.newest_term, survey.older.as_ref())
            .or_else(|| self.sight.names_none(survey.newest_term, Instant::now()))
    }

    /// Whether all that is there has begun anew, with terms from one on, after its data was wiped.
    ///
    /// Nodes that are merely behind, or on the wrong side of a partition, name an old leader as well; but such a
    /// leader steps down within an election timeout, so after two surveys [`SURVEY_EVERY`] apart nobody names it.
    fn restarted(&mut self, newest_term: u64, older: Option<&LeaderEvent>) -> Option<LeaderChange> {
        let Some(older) = older.filter(|_| newest_term < self.sight.term) else {
            self.older_since = None;
            return None;
        };
        let since = *self.older_since.get_or_insert_with(Instant::now);
        if since.elapsed() < SURVEY_EVERY {
            return None;
        }
        self.older_since = None;
        self.sight.begin_anew();
        let outdated = self.cluster.endpoints().leader().filter(|leader| leader.term > Some(older.term)).cloned();
        if let Some(leader) = outdated {
            self.cluster.endpoints_mut().forget_leader(&leader);
        }
        let change = self.sight.names(older, Instant::now());
        self.learn(older);
        change
    }

    /// Keeps a watch from spinning where no node answers, or all of them end their streams at once.
    fn pause_if_hasty(&mut self, left: Duration) {
        self.hasty = if self.surveyed.elapsed() < SURVEY_EVERY { self.hasty.saturating_add(1) } else { 0 };
        if self.hasty > HASTY_SURVEYS_MAX {
            let wait = self.cluster.limits.backoff.wait(self.hasty - HASTY_SURVEYS_MAX, &mut rand::rng());
            // The waits between retries of a patient program are too long to look away from the cluster.
            thread::sleep(wait.min(SURVEY_EVERY).min(left));
        }
        self.surveyed = Instant::now();
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
            if let Some(change) = self.advance(Duration::MAX) {
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

/// What a node said when it was asked by listening to it.
struct Told {
    /// `None` where it did not answer. The event is the newest it has told.
    heard: Option<(Listening, LeaderEvent)>,
    at: Instant,
    /// Whether this is the node that was listened to before.
    listened_to: bool,
}

/// Names the node to ask after those.
type NextNode = Box<dyn FnMut(&[Endpoint]) -> Option<Endpoint> + Send>;

/// A round over all nodes in search of one that names a leader.
struct Survey {
    asked: Hedge<Told, NextNode>,
    /// Whether the node listened to before has still to answer.
    listened_to: bool,
    /// What to listen to, should no node know better.
    fallback: Option<Listening>,
    newest_term: u64,
    /// The newest leader that was named, of a term older than what is known.
    older: Option<LeaderEvent>,
}

impl Survey {
    fn start(cluster: &Arc<Cluster>, start: usize, listening: Option<Listening>) -> Self {
        let known = listening.as_ref().map(|listening| listening.node.clone());
        let nodes = Arc::clone(cluster);
        let next = move |asked: &[Endpoint]| {
            let tried: Vec<Endpoint> = known.iter().chain(asked).cloned().collect();
            nodes.endpoints().next(start, &tried, Instant::now()).cloned()
        };
        let listener = Arc::clone(cluster);
        let listen = move |node: &Endpoint| {
            let heard = listen(&listener, node);
            Told { heard, at: Instant::now(), listened_to: false }
        };
        let mut survey = Self {
            asked: Hedge::new(Box::new(next), Instant::now() + SURVEY_MAX, listen),
            listened_to: listening.is_some(),
            fallback: None,
            newest_term: 0,
            older: None,
        };
        if let Some(mut listening) = listening {
            survey.asked.beside(move || {
                let heard = match listening.next(TICK) {
                    Heard::Event(event) => Some((listening, event)),
                    Heard::Nothing => listening.last.clone().map(|last| (listening, last)),
                    Heard::Silence | Heard::Ended => None,
                };
                Told { heard, at: Instant::now(), listened_to: true }
            });
        }
        survey
    }

    /// Takes note of a node that names no leader worth believing.
    fn take(&mut self, listening: Listening, event: LeaderEvent) {
        self.newest_term = self.newest_term.max(event.term);
        self.fallback.get_or_insert(listening);
        if event.leader.is_some() && self.older.as_ref().is_none_or(|older| older.term < event.term) {
            self.older = Some(event);
        }
    }
}

/// Opens the stream of a node and waits for its first event.
fn listen(cluster: &Cluster, node: &Endpoint) -> Option<(Listening, LeaderEvent)> {
    let transport = Transport::new();
    if !cluster.endpoints().members_known() {
        // For the members it tells; a node that fails here will fail below as well.
        let _ = cluster.probe(&transport, node, TICK);
    }
    let stream = transport.stream(node, "/leader/watch", TICK);
    cluster.note(node, stream.as_ref().err());
    let mut listening = Listening::new(node.clone(), stream.ok()?);
    match listening.next(TICK) {
        Heard::Event(event) => Some((listening, event)),
        Heard::Nothing | Heard::Silence | Heard::Ended => None,
    }
}

/// The stream of one node.
struct Listening {
    node: Endpoint,
    stream: Stream,
    parser: Parser,
    ready: VecDeque<LeaderEvent>,
    /// The newest event.
    last: Option<LeaderEvent>,
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
        let (parser, ready) = (Parser::default(), VecDeque::new());
        Self { node, stream, parser, ready, last: None, last_bytes: Instant::now() }
    }

    /// Waits for an event for `patience`, to within a tick.
    fn next(&mut self, patience: Duration) -> Heard {
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

    /// Terms count from the beginning again.
    fn begin_anew(&mut self) {
        self.term = 0;
        self.leader = None;
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
        let gap = self.doubted.take().filter(|_| self.told);
        self.term = event.term;
        self.leader.clone_from(&event.leader);
        self.told = true;
        let previous = std::mem::replace(&mut self.previous, event.leader.clone());
        Some(LeaderChange {
            at: by_the_clock(now),
            term: self.term,
            previous,
            leader: self.leader.clone(),
            without_leader: gap.map(|since| now.saturating_duration_since(since)),
        })
    }

    /// No node that answers names a leader; the newest of them is at `term`.
    fn names_none(&mut self, term: u64, now: Instant) -> Option<LeaderChange> {
        let since = *self.doubted.get_or_insert(now);
        if self.told && self.leader.is_none() {
            return None;
        }
        // Not `term` if it is newer: a vote may have ended in it, and the next leader may come with it.
        self.told = true;
        self.leader = None;
        Some(LeaderChange {
            at: by_the_clock(since),
            term: self.term.max(term),
            previous: self.previous.clone(),
            leader: None,
            without_leader: None,
        })
    }
}

/// A moment by the local clock.
fn by_the_clock(moment: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(moment.elapsed()).unwrap_or(now)
}

#[cfg(test)]
mod tests;
