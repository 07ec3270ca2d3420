//! Running clients, and the means to control them in a test.

use super::clients::{ACCOUNTS, BALANCE, BANK, MORTAL, Shared, Worker};
use super::judge::Judgement;
use super::notes::{Note, Notes, Saw};
use super::watching::{Told, watch};
use crate::processes::Cluster;
use crate::wait::until;
use kvclient::{Client, Range};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const WORKERS: u64 = 4;

/// Watches that go from node to node as nodes fail.
const WATCHES: usize = 3;

/// Timeouts of one exchange, and of all attempts of a request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes of each value beside those of the clients.
const VALUE_BYTES: usize = 50_000;

/// The key whose change ends the watches.
const END: &str = "zz/end";

/// Running clients.
pub struct DataRecorder {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Notes>>,
    watches: Vec<JoinHandle<Told>>,
    client: Client,
    /// Operations of the recorder itself.
    notes: Notes,
}

impl DataRecorder {
    /// Opens the accounts in an empty store, and starts clients that write, read and watch.
    pub fn start(cluster: &Cluster) -> Self {
        Self::start_beside(cluster, 0)
    }

    /// Does the same after writing this many bytes: snapshots carry no more of the history than the size of the state.
    pub fn start_beside(cluster: &Cluster, bytes: usize) -> Self {
        let builder = || Client::builder().endpoints(cluster.endpoints());
        let client = builder().build().expect("URLs of nodes");
        let hasty = builder().attempt_timeout(ATTEMPT_TIMEOUT).total_timeout(TOTAL_TIMEOUT).build();
        let hasty = hasty.expect("URLs of nodes");
        let shared = Arc::new(Shared::default());
        let mut notes = Notes::default();
        for number in 0..bytes.div_ceil(VALUE_BYTES) {
            let value = shared.value(&"b".repeat(VALUE_BYTES));
            notes.operations.push(set(&client, &format!("beside/{number}"), &value));
        }
        for account in 0..ACCOUNTS {
            notes.operations.push(set(&client, &format!("{BANK}{account}"), &shared.value(&BALANCE.to_string())));
        }
        let watches = (0..WATCHES).map(|_| {
            let client = client.clone();
            thread::spawn(move || watch(&client, END))
        });
        let watches = watches.collect();
        let workers = (0..WORKERS).map(|number| {
            let (client, shared) = (hasty.clone(), Arc::clone(&shared));
            let worker = Worker { client, random: StdRng::seed_from_u64(number), shared, notes: Notes::default() };
            thread::spawn(|| worker.run())
        });
        let workers = workers.collect();
        Self { shared, workers, watches, client, notes }
    }

    /// Waits until this many more writes have been acknowledged.
    #[track_caller]
    pub fn flow(&self, writes: u64) {
        let acknowledged = || self.shared.acknowledged.load(Ordering::Relaxed);
        let target = acknowledged() + writes;
        until("writes are acknowledged", || (acknowledged() >= target).then_some(()));
    }

    /// Stops the clients, and has each node tell the whole history by itself.
    #[track_caller]
    pub fn stop(mut self, cluster: &Cluster) -> Judgement {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut notes = std::mem::take(&mut self.notes);
        for worker in std::mem::take(&mut self.workers) {
            notes.add(worker.join().expect("a client does not panic"));
        }
        // What ends by itself has ended before the last revision.
        let mortals = || self.client.list(Range::prefix(MORTAL)).count().ok();
        until("all leases have ended", || mortals().filter(|left| *left == 0));
        notes.operations.push(set(&self.client, END, "end"));
        let mut told: Vec<Told> = std::mem::take(&mut self.watches)
            .into_iter()
            .map(|watch| watch.join().expect("a watch does not panic"))
            .collect();
        for node in &cluster.nodes {
            let client = Client::connect([node.url()]).expect("the URL of a node");
            told.push(watch(&client, END));
        }
        Judgement::new(notes, told)
    }
}

fn set(client: &Client, key: &str, value: &str) -> Note {
    let invoked = Instant::now();
    let revision = client.set(key, value).expect("the cluster serves").revision;
    let effects = BTreeMap::from([(key.to_owned(), Some(value.to_owned()))]);
    Note { invoked, returned: Instant::now(), saw: Saw::Wrote { revision, effects } }
}

impl Drop for DataRecorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
