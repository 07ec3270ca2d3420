//! Cost of snapshots for a cluster with a large store: three real processes, 1,000,000 keys with values of 100 bytes,
//! and clients that read and write throughout.
//!
//!     cargo bench -p kvd --bench snapshots
//!
//! Latencies are measured while no snapshot is written, and while the three nodes write one after the other. Then
//! follow the memory of the nodes, and the time from a node's start until `/readyz` says that it serves, after `kill
//! -9` of all three.

use hdrhistogram::Histogram;
use kvclient::Client;
use rand::RngExt as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, Node, until};

const KEYS: usize = 1_000_000;
const VALUE_BYTES: usize = 100;

/// Threads that fill the store, and threads that measure: half of these write, half of them read.
const FILLERS: usize = 16;
const CLIENTS: usize = 8;

/// Pause of a client between two requests: the benchmark must not measure waits for a processor.
const PAUSE: Duration = Duration::from_millis(2);

/// Duration of the measurement without snapshots.
const CALM: Duration = Duration::from_secs(20);

/// Snapshots of each node.
const SNAPSHOTS: usize = 5;

const RESTARTS: usize = 5;

/// Longest latency that is distinguished from longer ones, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

fn key(number: usize) -> String {
    format!("key{number:012}")
}

fn main() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    let began = Instant::now();
    fill(&client);
    println!("{KEYS} keys with values of {VALUE_BYTES} bytes, written in {:.0} s", began.elapsed().as_secs_f64());
    // The measurements then start from the same state, whatever was written while the store grew.
    snapshot_all(&cluster);

    println!("\n{:<34} {:>9} {:>9} {:>9} {:>9} {:>9}", "latency in ms", "requests", "p50", "p99", "p99.9", "max");
    let memory_before = memory(&cluster);
    measure("without snapshots", &client, || thread::sleep(CALM));
    let (mut took, mut written) = (Duration::ZERO, 0);
    measure("while snapshots are written", &client, || {
        let began = Instant::now();
        for _ in 0..SNAPSHOTS {
            written += snapshot_all(&cluster);
        }
        took = began.elapsed();
    });
    println!("({written} snapshots in {:.1} s, each given out as a backup as well)", took.as_secs_f64());

    let peak = cluster.nodes.iter().map(Node::peak_memory_bytes).max().unwrap_or_default();
    println!(
        "\nmemory of a node: {:.0} MB before the snapshots, {:.0} MB at its peak",
        memory_before as f64 / 1e6,
        peak as f64 / 1e6
    );

    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        cluster.kill_all();
        let began = Instant::now();
        cluster.start_all();
        for node in &cluster.nodes {
            until("it is ready", || node.get("/readyz").ok().filter(|reply| reply.status == 200));
        }
        times.push(format!("{:.2}", began.elapsed().as_secs_f64()));
    }
    println!("seconds from the start of all three nodes until all are ready: {}", times.join(" "));

    let mut alone = Vec::new();
    for _ in 0..RESTARTS {
        let follower = cluster.follower();
        cluster[follower].kill();
        let began = Instant::now();
        cluster[follower].start();
        until("it is ready", || cluster[follower].get("/readyz").ok().filter(|reply| reply.status == 200));
        alone.push(format!("{:.2}", began.elapsed().as_secs_f64()));
    }
    println!("seconds from the start of one node until it is ready:          {}", alone.join(" "));
}

fn fill(client: &Client) {
    thread::scope(|scope| {
        for filler in 0..FILLERS {
            scope.spawn(move || {
                let value = "v".repeat(VALUE_BYTES);
                for number in (filler..KEYS).step_by(FILLERS) {
                    client.set(key(number), &value).expect("a majority is there");
                }
            });
        }
    });
}

/// Lets every node write a snapshot, one after the other; returns how many did. A backup writes one, of everything
/// applied by then.
fn snapshot_all(cluster: &Cluster) -> usize {
    for node in &cluster.nodes {
        let own = Client::connect([node.url()]).expect("the URL of a node");
        own.save_snapshot_stale(&node.url(), io::sink(), |_| {}).expect("any node gives a backup");
    }
    cluster.nodes.len()
}

fn memory(cluster: &Cluster) -> u64 {
    cluster.nodes.iter().map(Node::memory_bytes).max().unwrap_or_default()
}

/// Sends requests for as long as `meanwhile` runs, and prints their latencies.
fn measure(what: &str, client: &Client, meanwhile: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let (mut sets, mut gets) = (histogram(), histogram());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let stop = &stop;
                    move || (number, send(client, number % 2 == 0, stop))
                })
            })
            .collect();
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let (number, latencies) = client.join().expect("a client does not panic");
            let all = if number % 2 == 0 { &mut sets } else { &mut gets };
            all.add(latencies).expect("the same bounds");
        }
    });
    for (kind, latencies) in [("writes", sets), ("linearizable reads", gets)] {
        let ms = |us: u64| us as f64 / 1e3;
        println!(
            "{:<34} {:>9} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
            format!("{kind} {what}"),
            latencies.len(),
            ms(latencies.value_at_quantile(0.5)),
            ms(latencies.value_at_quantile(0.99)),
            ms(latencies.value_at_quantile(0.999)),
            ms(latencies.max())
        );
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_MAX_US, 3).expect("possible bounds")
}

fn send(client: &Client, writes: bool, stop: &AtomicBool) -> Histogram<u64> {
    let mut latencies = histogram();
    let value = "w".repeat(VALUE_BYTES);
    while !stop.load(Ordering::Relaxed) {
        let key = key(rand::rng().random_range(0..KEYS));
        let began = Instant::now();
        if writes {
            client.set(&key, &value).expect("a majority is there");
        } else {
            client.get(&key).expect("a majority is there").expect("the key is there");
        }
        latencies.saturating_record(began.elapsed().as_micros() as u64);
        thread::sleep(PAUSE);
    }
    latencies
}
