//! Writers at full speed. Each has its own keys, which it overwrites without end, so that the store keeps its size. It
//! remembers the possible values of each key.

use hdrhistogram::Histogram;
use kvclient::api::GetReply;
use kvclient::{Applied, Client};
use rand::RngExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use testkit::{Cluster, Connection};

/// Keys of one writer.
const KEYS: usize = 2_000;

/// Bytes of a value.
const VALUE_BYTES: usize = 100;

/// Reads sent ahead of their replies when a node is checked.
const READS_AHEAD: usize = 64;

/// Longest latency that is distinguished from longer ones, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Writers that are idle between two loads.
pub(crate) struct Writers(Vec<Writer>);

#[derive(Default)]
struct Writer {
    number: usize,
    /// Number of its last write.
    last: u64,
    keys: Vec<Expected>,
}

/// Possible contents of a key.
#[derive(Clone, Default)]
struct Expected {
    /// The number of the last write that was acknowledged.
    acknowledged: Option<u64>,
    /// Numbers of writes that may have been applied, or may be later.
    unknown: Vec<u64>,
}

/// Outcomes of the writes of one load.
#[derive(Debug)]
pub(crate) struct Written {
    /// Latencies of the acknowledged writes, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
}

impl Default for Written {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LATENCY_MAX_US, 3).expect("possible bounds");
        Self { latencies, refused: 0, unknown: 0 }
    }
}

/// Running writers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<(Writer, Written)>>,
}

struct Shared {
    began: Instant,
    stop: AtomicBool,
    /// Time of the last acknowledged write, and the longest gap between two that has not been taken yet, in
    /// microseconds.
    last: AtomicU64,
    longest_gap: AtomicU64,
}

impl Writers {
    pub(crate) fn new(writers: usize) -> Self {
        let writer = |number| Writer { number, last: 0, keys: vec![Expected::default(); KEYS] };
        Self((0..writers).map(writer).collect())
    }

    /// Starts all writers.
    pub(crate) fn start(self, client: Client) -> Load {
        let shared = Shared {
            began: Instant::now(),
            stop: AtomicBool::new(false),
            last: AtomicU64::new(0),
            longest_gap: AtomicU64::new(0),
        };
        let shared = Arc::new(shared);
        let start = |writer: Writer| {
            let (client, shared) = (client.clone(), Arc::clone(&shared));
            thread::spawn(move || writer.run(&client, &shared))
        };
        let writers = self.0.into_iter().map(start).collect();
        Load { shared, writers }
    }

    /// Checks that each node holds, by itself, the last acknowledged value of each key, or one that may have been
    /// written after it. All nodes must have caught up.
    #[track_caller]
    pub(crate) fn check(&self, cluster: &Cluster) {
        for node in &cluster.nodes {
            let mut connection = Connection::open(&node.url()).expect("it takes connections");
            let keys: Vec<(String, &Expected)> = self.keys().collect();
            for some in keys.chunks(READS_AHEAD) {
                for (key, _) in some {
                    let what = format!("GET /get?consistency=stale&key={key}");
                    connection.send(&what, &[], b"").expect("it answers");
                }
                for (key, expected) in some {
                    let reply = connection.receive().expect("it answers");
                    let found = (reply.status == 200).then(|| {
                        let GetReply { item, .. } = reply.json();
                        item.value_str().and_then(|value| value.trim().parse().ok()).expect("a number was written")
                    });
                    assert!(
                        expected.allows(found),
                        "{}: {key} holds {found:?}, not {:?}",
                        node.name,
                        expected.acknowledged
                    );
                }
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = (String, &Expected)> {
        self.0.iter().flat_map(|writer| {
            writer.keys.iter().enumerate().map(|(key, expected)| (key_name(writer.number, key), expected))
        })
    }
}

fn key_name(writer: usize, key: usize) -> String {
    format!("load/{writer:03}/{key:06}")
}

impl Expected {
    fn allows(&self, found: Option<u64>) -> bool {
        found == self.acknowledged || found.is_some_and(|found| self.unknown.contains(&found))
    }
}

impl Writer {
    fn run(mut self, client: &Client, shared: &Shared) -> (Self, Written) {
        let mut written = Written::default();
        while !shared.stop.load(Ordering::Relaxed) {
            let key = rand::rng().random_range(0..KEYS);
            self.last += 1;
            let value = format!("{:>VALUE_BYTES$}", self.last);
            let asked = Instant::now();
            match client.set(key_name(self.number, key), value) {
                Ok(_) => {
                    shared.acknowledged();
                    written.latencies.saturating_record(asked.elapsed().as_micros() as u64);
                    self.keys[key].acknowledged = Some(self.last);
                }
                Err(error) if error.applied() == Applied::No => written.refused += 1,
                Err(_) => {
                    written.unknown += 1;
                    self.keys[key].unknown.push(self.last);
                }
            }
        }
        (self, written)
    }
}

impl Shared {
    fn acknowledged(&self) {
        let now = self.began.elapsed().as_micros() as u64;
        let before = self.last.fetch_max(now, Ordering::Relaxed);
        self.longest_gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
    }
}

impl Load {
    /// Returns the longest time between two acknowledged writes, of any writers, since the last call.
    pub(crate) fn take_longest_gap(&self) -> Duration {
        Duration::from_micros(self.shared.longest_gap.swap(0, Ordering::Relaxed))
    }

    /// Stops the writers; each finishes its last write.
    pub(crate) fn stop(self) -> (Writers, Written) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let (mut writers, mut all) = (Vec::new(), Written::default());
        for writer in self.writers {
            let (writer, written) = writer.join().expect("a writer does not panic");
            all.latencies.add(&written.latencies).expect("the same bounds");
            all.refused += written.refused;
            all.unknown += written.unknown;
            writers.push(writer);
        }
        (Writers(writers), all)
    }
}
