//! A store of 1,000,000 keys of 12 bytes with values of 100 bytes, each written once by a request of its own: the
//! memory of a node, and the latency of writes with and without four clients that read the whole store as a stream,
//! again and again.

use crate::Scale;
use crate::clients::{Latencies, send_while};
use crate::cluster::Steady;
use kvclient::Client;
use kvclient::api::ListLine;
use rand::RngExt as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::Node;

const VALUE_BYTES: usize = 100;

/// Threads that fill the store.
const FILLERS: usize = 64;

/// Clients that write, and their pause between two writes: the benchmark must not measure waits for a processor.
const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);

/// Clients that read the whole store.
const READERS: usize = 4;

const MB: f64 = 1e6;

pub(crate) fn measure(scale: Scale) {
    let cluster = Steady::start();
    let client = cluster.client();
    let empty = memory(&cluster);
    let began = Instant::now();
    fill(&client, scale.keys);
    cluster.converge();
    println!("{} keys with values of {VALUE_BYTES} bytes, written in {:.0?}", scale.keys, began.elapsed());
    println!("memory of a node: {:.0} MB; {:.0} MB when it was empty", memory(&cluster) / MB, empty / MB);

    let (mut without, mut with, mut streams) = (Latencies::none(), Latencies::none(), 0);
    for _ in 0..scale.rounds {
        without.add(&write_for(&client, scale));
        streams += stream_while(|| with.add(&write_for(&client, scale)), cluster.leader(), scale.keys);
    }
    println!("\nlatency of writes; {streams} streams of the whole store, {READERS} at a time, from the leader");
    println!("{:<18} {:>8} {:>10} {:>10} {:>10} {:>10}", "", "writes", "median", "99 %", "99.9 %", "longest");
    for (when, latencies) in [("without streams", &without), ("with streams", &with)] {
        let [median, most, nearly_all] = [0.5, 0.99, 0.999].map(|share| latencies.ms(share));
        println!(
            "{when:<18} {:>8} {median:>7.2} ms {most:>7.2} ms {nearly_all:>7.2} ms {:>7.2} ms",
            latencies.count(),
            latencies.longest_ms()
        );
    }
    println!("at 99.9 %, {:.1} times as long with streams", with.ms(0.999) / without.ms(0.999));
    println!("memory of a node at its peak: {:.0} MB", peak_memory(&cluster) / MB);
    cluster.check_leader();
}

fn key(number: usize) -> String {
    format!("key{number:09}")
}

fn fill(client: &Client, keys: usize) {
    thread::scope(|scope| {
        for filler in 0..FILLERS {
            scope.spawn(move || {
                let value = "v".repeat(VALUE_BYTES);
                for number in (filler..keys).step_by(FILLERS) {
                    let written = client.set(key(number), &value).expect("a majority is there");
                    assert!(written.created, "each key is written once");
                }
            });
        }
    });
}

fn memory(cluster: &Steady) -> f64 {
    cluster.nodes().iter().map(Node::memory_bytes).max().unwrap_or_default() as f64
}

fn peak_memory(cluster: &Steady) -> f64 {
    cluster.nodes().iter().map(Node::peak_memory_bytes).max().unwrap_or_default() as f64
}

/// Rewrites keys anywhere in the store.
fn write_for(client: &Client, scale: Scale) -> Latencies {
    send_while(
        || thread::sleep(scale.lasts),
        WRITERS,
        PAUSE,
        |_| {
            let value = "w".repeat(VALUE_BYTES);
            move || drop(client.set(key(rand::rng().random_range(0..scale.keys)), &value).expect("a majority is there"))
        },
    )
}

/// Reads the whole store again and again for as long as `work` runs; each reader then reads to the end. Returns the
/// number of streams.
fn stream_while(work: impl FnOnce(), node: &Node, keys: usize) -> usize {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let read = || {
            let mut streams = 0;
            while !stop.load(Ordering::Relaxed) {
                stream(node, keys);
                streams += 1;
            }
            streams
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        work();
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).sum()
    })
}

/// Reads the whole store, without looking closer at it than to count the items.
fn stream(node: &Node, keys: usize) {
    let mut connection = TcpStream::connect(node.address()).expect("it listens");
    let head = format!("GET /list HTTP/1.1\r\nhost: {}\r\naccept: application/x-ndjson\r\n\r\n", node.address());
    connection.write_all(head.as_bytes()).expect("it is sent");
    let (mut reply, mut line, mut items) = (BufReader::with_capacity(256 << 10, connection), Vec::new(), 0);
    loop {
        line.clear();
        let bytes = reply.read_until(b'\n', &mut line).expect("it answers");
        assert!(bytes > 0, "the stream broke after {items} items");
        if line.starts_with(b"{\"key\":") {
            items += 1;
        } else if line.starts_with(b"{") {
            // The last line. Others are of the reply's head, or frame its chunks.
            let last: ListLine = serde_json::from_slice(&line).expect("a line of a list");
            let is_whole = matches!(last, ListLine::End { count, .. } if count == keys as u64);
            assert!(is_whole && items == keys, "after {items} items: {}", String::from_utf8_lossy(&line));
            return;
        }
    }
}
