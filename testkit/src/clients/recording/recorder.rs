//! Running clients, and the means to control them in a test.

use super::clock::Clock;
use super::history::History;
use super::keys::KeyNames;
use super::notes::Notes;
use super::one_node::OneNode;
use super::reader::{Consistency, Reader};
use super::shared::Shared;
use super::writer::Writer;
use crate::linearizability::Moment;
use crate::processes::{Cluster, Node};
use crate::wait::until;
use kvclient::Client;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Number of writers of each kind.
const PATIENT: u64 = 2;
const IMPATIENT: u64 = 2;

/// Timeout of one exchange, and of all attempts of a repeated request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Running clients.
pub struct Recorder {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Notes>>,
}

impl Recorder {
    /// Starts the writers, and for each node a writer that writes only there and one reader of each kind.
    pub fn start(cluster: &Cluster) -> Self {
        Self::start_at(cluster, "")
    }

    /// Does the same with keys whose names begin with `prefix`, for several histories of one cluster.
    pub fn start_at(cluster: &Cluster, prefix: &str) -> Self {
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            names: KeyNames::beginning_with(prefix),
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
        for number in 0..PATIENT + IMPATIENT {
            let sends_once = number >= PATIENT;
            let client = if sends_once { &impatient } else { &patient };
            recorder.start_writer(client, None, sends_once);
        }
        for node in &cluster.nodes {
            recorder.start_writer(&impatient, Some(OneNode::new(node.url())), true);
        }
        for (number, node) in cluster.nodes.iter().enumerate() {
            recorder.pin(number, node, Consistency::Linearizable);
            recorder.pin(number, node, Consistency::Stale);
        }
        recorder
    }

    fn start_writer(&mut self, client: &Client, node: Option<OneNode>, sends_once: bool) {
        let (client, shared) = (client.clone(), Arc::clone(&self.shared));
        let random = StdRng::seed_from_u64(self.clients.len() as u64);
        let (notes, known) = (Notes::default(), BTreeMap::new());
        let writer = Writer { client, node, sends_once, random, shared, notes, known };
        self.clients.push(thread::spawn(|| writer.run()));
    }

    /// Starts a reader at the node with this number, in addition to those that it already has.
    pub fn pin(&mut self, number: usize, node: &Node, consistency: Consistency) {
        let client = self.clients.len();
        let reader = Reader {
            node: number,
            number: client,
            at: OneNode::new(node.url()),
            consistency,
            random: StdRng::seed_from_u64(client as u64),
            shared: Arc::clone(&self.shared),
            notes: Notes::default(),
        };
        self.clients.push(thread::spawn(|| reader.run()));
    }

    /// Returns the present moment of this recording.
    pub fn now(&self) -> Moment {
        self.shared.clock.now()
    }

    /// Waits until this many more writes have been acknowledged.
    #[track_caller]
    pub fn flow(&self, writes: u64) {
        grow("writes are acknowledged", &self.shared.acknowledged, writes);
    }

    /// Waits until the node has answered this many more linearizable reads of the readers pinned to it.
    #[track_caller]
    pub fn flow_at(&self, node: usize, reads: u64) {
        grow("reads are answered", &self.shared.answered[node], reads);
    }

    /// Waits until the readers pinned to the node have sent it one more linearizable read, whether it answers or not.
    #[track_caller]
    pub fn ask(&self, node: usize) {
        grow("a read is begun", &self.shared.asked[node], 1);
    }

    /// Stops the clients; each finishes its present request.
    pub fn stop(mut self) -> History {
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
