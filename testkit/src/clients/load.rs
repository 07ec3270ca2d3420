//! Threads that write without end, and the outcome that they were told of each write.
//!
//! Each write has its own key, so its fate can be checked afterwards: an acknowledged write must be there, a refused
//! one (`applied: no`) must not, one of unknown outcome may. And no write may have been applied twice: each key is at
//! version 1, and the revision of the store counts every change ever made.

use crate::http::Connection;
use crate::processes::Node;
use crate::wait::until;
use kvclient::api::GetReply;
use kvclient::{Applied, Client, Health, Item};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Pause of a writer after a write. The tests look for lost writes and not for the highest rate, and elections need the
/// processors.
const PAUSE: Duration = Duration::from_millis(3);

/// Reads sent ahead of their replies when a node is checked.
const READS_AHEAD: usize = 32;

/// Revision of an empty store.
const REVISION_EMPTY: u64 = 1;

/// Running writers.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Vec<Write>>>,
}

struct Write {
    key: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Acknowledged(Instant),
    Unknown,
    Refused,
}

impl Load {
    /// Starts this many writers, which share the client.
    pub fn start(client: &Client, writers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let writer = |number| {
            let (client, stop, acknowledged) = (client.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
            thread::spawn(move || write(&client, number, &stop, &acknowledged))
        };
        let writers = (1..=writers).map(writer).collect();
        Self { stop, acknowledged, writers }
    }

    /// Waits until this many more writes have been acknowledged.
    #[track_caller]
    pub fn flow(&self, writes: u64) {
        let target = self.acknowledged.load(Ordering::Relaxed) + writes;
        until("writes are acknowledged", || (self.acknowledged.load(Ordering::Relaxed) >= target).then_some(()));
    }

    /// Stops the writers; each finishes its last write.
    pub fn stop(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let writers = std::mem::take(&mut self.writers);
        let writes = writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic"));
        Ledger { writes: writes.collect() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn write(client: &Client, writer: usize, stop: &AtomicBool, acknowledged: &AtomicU64) -> Vec<Write> {
    let mut writes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let key = format!("writer{writer}/{:06}", writes.len());
        let outcome = match client.set(&key, value_of(&key)) {
            Ok(_) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                Outcome::Acknowledged(Instant::now())
            }
            Err(error) if error.applied() == Applied::No => Outcome::Refused,
            Err(_) => Outcome::Unknown,
        };
        writes.push(Write { key, outcome });
        thread::sleep(PAUSE);
    }
    writes
}

fn value_of(key: &str) -> String {
    format!("the value of {key}")
}

/// Outcomes that the writers were told.
pub struct Ledger {
    writes: Vec<Write>,
}

impl Ledger {
    /// Returns the number of acknowledged writes.
    pub fn acknowledged(&self) -> usize {
        self.writes.iter().filter(|write| matches!(write.outcome, Outcome::Acknowledged(_))).count()
    }

    /// Returns the number of other writes.
    pub fn failed(&self) -> usize {
        self.writes.len() - self.acknowledged()
    }

    /// Returns, for each of these moments, the longest time without an acknowledgement before the next moment.
    pub fn gaps(&self, moments: &[Instant]) -> Vec<Duration> {
        let mut times: Vec<Instant> = self
            .writes
            .iter()
            .filter_map(|write| match write.outcome {
                Outcome::Acknowledged(at) => Some(at),
                Outcome::Unknown | Outcome::Refused => None,
            })
            .collect();
        times.sort_unstable();
        let longest = |from: Instant, to: Option<&Instant>| {
            let pairs = times.windows(2).filter(|pair| pair[1] > from && to.is_none_or(|to| pair[0] < *to));
            pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        };
        moments.iter().enumerate().map(|(index, moment)| longest(*moment, moments.get(index + 1))).collect()
    }

    /// Checks that each of these nodes holds, by itself, every acknowledged write, no refused write, and nothing twice.
    /// No other client may have written to the cluster, and all nodes must have caught up.
    #[track_caller]
    pub fn check(&self, nodes: &[Node]) {
        thread::scope(|scope| {
            let checks: Vec<_> = nodes.iter().map(|node| scope.spawn(|| self.check_node(node))).collect();
            for check in checks {
                let found = check.join().expect("a node is checked");
                assert!(found.is_empty(), "{} of {} writes: {:?}", found.len(), self.writes.len(), &found[..1]);
            }
        });
    }

    /// Returns the faults of a node, if there are any.
    fn check_node(&self, node: &Node) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut present = 0;
        for (write, item) in self.writes.iter().zip(self.read_all(node)) {
            let expected = match (&item, write.outcome) {
                (None, Outcome::Acknowledged(_)) | (Some(_), Outcome::Refused) => false,
                (Some(item), _) => item.version == 1 && item.value == value_of(&write.key).as_bytes(),
                (None, _) => true,
            };
            if !expected {
                let found = item.as_ref().map(|item| (item.version, item.value_str()));
                wrong.push(format!("{}: {} was {:?}, found {found:?}", node.name, write.key, write.outcome));
            }
            present += u64::from(item.is_some());
        }
        let Health { revision, keys, .. } = node.health().expect("the node answers");
        if (revision, keys) != (REVISION_EMPTY + present, present) {
            wrong.push(format!("{}: {present} writes found, but revision {revision}, {keys} keys", node.name));
        }
        wrong
    }

    /// Returns the items of all writes as this node holds them, without asking other nodes.
    fn read_all(&self, node: &Node) -> Vec<Option<Item>> {
        let mut connection = Connection::open(&node.url()).expect("the node answers");
        let mut items = Vec::with_capacity(self.writes.len());
        for writes in self.writes.chunks(READS_AHEAD) {
            for write in writes {
                let what = format!("GET /get?consistency=stale&key={}", write.key);
                connection.send(&what, &[], b"").expect("the node reads");
            }
            for _ in writes {
                let reply = connection.receive().expect("the node answers");
                items.push(match reply.status {
                    200 => Some(reply.json::<GetReply>().item),
                    404 => None,
                    status => panic!("{}: {status} {}", node.name, reply.text()),
                });
            }
        }
        items
    }
}
