//! Large values over slow links: entries use a whole link, and still depose no leader.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Namespaces, Network, at_the_clients, skip};

const NODES: usize = 3;
const VALUE_BYTES: usize = 1 << 20;

/// The writers and the links.
#[derive(Clone, Copy)]
struct Case {
    /// Rate of each direction of each link, in Mbit/s.
    rate: u32,
    writers: usize,
    lasts: Duration,
}

/// Time for which a writer tries to get one value through: on such a link values wait for each other.
const PATIENCE: Duration = Duration::from_secs(60);

/// Share of the link that must be acknowledged values. Percent.
const GOODPUT_MIN: f64 = 80.0;

#[test]
fn large_values_fill_a_slow_link_and_depose_nobody() {
    run(Case { rate: 20, writers: 8, lasts: Duration::from_secs(20) });
}

#[test]
#[ignore = "the same for a minute"]
fn large_values_fill_a_slow_link_for_a_minute_and_depose_nobody() {
    run(Case { rate: 20, writers: 8, lasts: Duration::from_secs(60) });
}

/// A writer that waits for each answer leaves the link idle meanwhile, so no goodput is required of it.
#[test]
#[ignore = "takes half a minute, and is less than what eight writers do"]
fn one_writer_of_large_values_deposes_nobody() {
    run(Case { rate: 100, writers: 1, lasts: Duration::from_secs(30) });
}

fn run(case: Case) {
    let network = match Namespaces::new(NODES) {
        Ok(network) => network,
        Err(why) => return skip(&format!("it may not make network namespaces: {why}")),
    };
    at_the_clients(&network, |network| write_over_slow_links(network, case));
}

fn write_over_slow_links(network: &Namespaces, case: Case) {
    let mut cluster = network.prepare();
    cluster.start_all();
    let leader = cluster.leader();
    let term = || cluster.nodes.iter().filter_map(|node| node.health()).map(|health| health.term).max();
    let before = term();
    if let Err(why) = network.limit_rate(case.rate) {
        return skip(&format!("it may not limit the rate of a link: {why}"));
    }
    let (began, written, failed) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let endpoints = cluster.endpoints();
    thread::scope(|scope| {
        for writer in 0..case.writers {
            let (endpoints, written, failed) = (&endpoints, &written, &failed);
            scope.spawn(move || {
                let client = kvclient::Client::builder()
                    .endpoints(endpoints.clone())
                    .attempt_timeout(PATIENCE)
                    .total_timeout(PATIENCE)
                    .build()
                    .expect("URLs of nodes");
                while began.elapsed() < case.lasts {
                    let counter = match client.set(format!("k{writer}"), vec![b'x'; VALUE_BYTES]) {
                        Ok(_) => written,
                        Err(error) => {
                            println!("writer {writer}: {error}");
                            failed
                        }
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let took = began.elapsed().as_secs_f64();
    let (written, failed) = (written.into_inner(), failed.into_inner());
    // The leader sends each value once to every other node.
    let copies = (NODES - 1) as f64;
    let goodput = written as f64 * VALUE_BYTES as f64 * copies * 8.0 / (f64::from(case.rate) * 1e6) / took * 100.0;
    println!("{written} values of 1 MiB in {took:.1} s: {goodput:.0} % of {} Mbit/s; {failed} failed", case.rate);
    assert_eq!(term(), before, "no election");
    assert_eq!(cluster.leader(), leader);
    assert_eq!(failed, 0, "every write succeeds in its time");
    assert!(case.writers == 1 || goodput >= GOODPUT_MIN, "{goodput:.0} %");
}
