//! Events of one prefix: how long one takes to 1 and to 1,000 watchers, and whether 1,000 keep up with 1,000 writes a
//! second.

use crate::Scale;
use crate::clients::Latencies;
use crate::cluster::Steady;
use crate::watchers::Watchers;
use kvclient::Client;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::Node;

const VALUE_BYTES: usize = 100;
const WATCHERS: [usize; 2] = [1, 1_000];

/// Pause between two writes whose events are timed.
const PAUSE: Duration = Duration::from_millis(10);

/// Rate of writes with which many watchers have to keep up.
const WRITES_PER_SECOND: u32 = 1_000;

/// Threads that write at that rate.
const WRITERS: usize = 16;

/// Revision of a write, and when it was acknowledged.
type Acknowledged = (u64, Instant);

pub(crate) fn measure(scale: Scale) {
    let cluster = Steady::start();
    let (leader, follower) = ([cluster.leader()], [cluster.follower()]);
    let client = cluster.client();

    println!("events of one prefix, values of {VALUE_BYTES} bytes: from the acknowledgement of a write to its event");
    println!("{:>8}  {:<13} {:>8} {:>10} {:>10} {:>10}", "watchers", "", "events", "median", "99 %", "longest");
    for count in WATCHERS {
        for (place, nodes) in [("at the leader", &leader), ("at a follower", &follower)] {
            let watchers = watch(nodes, count);
            let acknowledged = write_one_by_one(&client, scale.lasts, &watchers);
            let latencies = watchers.latencies(&acknowledged);
            println!("{count:>8}  {place:<13} {}", row(&latencies));
        }
    }

    let count = WATCHERS[WATCHERS.len() - 1];
    println!("\n{count} watchers of one prefix, and {WRITES_PER_SECOND} writes a second for {:?}", scale.lasts);
    println!(
        "{:<16} {:>8} {:>8} {:>10} {:>10} {:>10} {:>15} {:>15}",
        "", "writes/s", "events", "median", "99 %", "longest", "slowest behind", "caught up after"
    );
    let all: Vec<&Node> = cluster.nodes().iter().collect();
    for (place, nodes) in [("at the leader", &leader[..]), ("at a follower", &follower), ("at all three", &all)] {
        let watchers = watch(nodes, count);
        let began = Instant::now();
        let acknowledged = write_at_rate(&client, scale.lasts);
        let (took, ended) = (began.elapsed(), Instant::now());
        let newest = acknowledged.iter().map(|(revision, _)| *revision).max().expect("there were writes");
        let behind = watchers.furthest_behind(newest);
        watchers.wait_for(newest);
        println!(
            "{place:<16} {:>8.0} {} {behind:>8} writes {:>12.2} ms",
            acknowledged.len() as f64 / took.as_secs_f64(),
            row(&watchers.latencies(&acknowledged)),
            ended.elapsed().as_secs_f64() * 1e3
        );
    }
    cluster.check_leader();
}

fn watch(nodes: &[&Node], count: usize) -> Watchers {
    Watchers::start((0..count).map(|number| (nodes[number % nodes.len()], "prefix=fan/".to_owned())))
}

/// Writes, and each time waits until all watchers have the event.
fn write_one_by_one(client: &Client, lasts: Duration, watchers: &Watchers) -> Vec<Acknowledged> {
    let (began, mut acknowledged) = (Instant::now(), Vec::new());
    while began.elapsed() < lasts {
        let written = write(client, 0);
        watchers.wait_for(written.0);
        acknowledged.push(written);
        thread::sleep(PAUSE);
    }
    acknowledged
}

/// Writes at [`WRITES_PER_SECOND`], whenever earlier writes are acknowledged.
fn write_at_rate(client: &Client, lasts: Duration) -> Vec<Acknowledged> {
    let (writes, next, began) = (WRITES_PER_SECOND * lasts.as_secs() as u32, AtomicU32::new(0), Instant::now());
    let write_some = |writer| {
        let mut acknowledged = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= writes {
                return acknowledged;
            }
            let due = began + Duration::from_secs(1) * number / WRITES_PER_SECOND;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            acknowledged.push(write(client, writer));
        }
    };
    thread::scope(|scope| {
        let write_some = &write_some;
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write_some(writer))).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic")).collect()
    })
}

fn write(client: &Client, writer: usize) -> Acknowledged {
    let reply = client.set(format!("fan/{writer:02}"), "v".repeat(VALUE_BYTES)).expect("a majority is there");
    (reply.revision, Instant::now())
}

fn row(latencies: &Latencies) -> String {
    format!(
        "{:>8} {:>7.2} ms {:>7.2} ms {:>7.2} ms",
        latencies.count(),
        latencies.ms(0.5),
        latencies.ms(0.99),
        latencies.longest_ms()
    )
}
