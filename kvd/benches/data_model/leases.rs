//! Grants and keepalives of many clients, and the processor time of nodes that keep 50,000 leases alive.

use crate::Scale;
use crate::clients::{Latencies, send_for};
use crate::cluster::Steady;
use kvclient::Client;
use kvclient::api::{GrantRequest, LeaseId};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 64;

/// Longer than any measurement, for leases that nobody keeps alive.
const LONG_TTL_MS: u64 = 3_600_000;

/// Leases that are kept alive, and how often each is renewed.
const KEPT: usize = 50_000;
const RENEWED_EVERY: Duration = Duration::from_secs(5);

/// Time to live of these leases: the first must not end before the last is granted.
const KEPT_TTL_MS: u64 = 60_000;

/// Leases of one request.
const RENEWED_AT_ONCE: usize = 1_000;

pub(crate) fn measure(scale: Scale) {
    let cluster = Steady::start();
    let client = cluster.client();
    println!("leases, {CLIENTS} clients");
    println!("{:<12} {:>9} {:>10} {:>10}", "", "a second", "median", "99 %");
    let grants = send_for(scale.lasts, CLIENTS, |_| {
        || {
            grant(&client, LONG_TTL_MS);
        }
    });
    print("grants", &grants);
    let keepalives = send_for(scale.lasts, CLIENTS, |_| {
        let lease = grant(&client, LONG_TTL_MS);
        let client = &client;
        move || {
            client.renew_lease(lease).expect("the lease is there");
        }
    });
    print("keepalives", &keepalives);
    cluster.check_leader();
    drop((client, cluster));

    keep_many(scale);
}

/// Keeps many leases alive in a cluster that does nothing else.
fn keep_many(scale: Scale) {
    let cluster = Steady::start();
    let client = cluster.client();
    let leases = grant_many(&client);
    // One round before the measurement, so that all have their full time.
    renew_all(&client, &leases);
    let idle = cluster.shares_of_core(|| thread::sleep(RENEWED_EVERY));
    let rounds = u32::try_from(scale.rounds).expect("a few").min(4);
    let busy = cluster.shares_of_core(|| {
        for _ in 0..rounds {
            renew_all(&client, &leases);
        }
    });
    println!("\n{KEPT} leases, each kept alive every {RENEWED_EVERY:?} by requests of {RENEWED_AT_ONCE}");
    println!("{:<24} {:>8} {:>10} {:>10}", "share of a core", "leader", "follower", "follower");
    for (what, shares) in [("nothing renewed", idle), ("all kept alive", busy)] {
        let [leader, one, other] = [0, 1, 2].map(|node| shares[node] * 100.0);
        println!("{what:<24} {leader:>6.1} % {one:>8.1} % {other:>8.1} %");
    }
    cluster.check_leader();
}

fn grant(client: &Client, ttl_ms: u64) -> LeaseId {
    client.grant_lease_with(GrantRequest::new(ttl_ms)).expect("a majority is there").lease
}

fn grant_many(client: &Client) -> Vec<LeaseId> {
    thread::scope(|scope| {
        let granting: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let share = (number..KEPT).step_by(CLIENTS);
                scope.spawn(move || share.map(|_| grant(client, KEPT_TTL_MS)).collect::<Vec<_>>())
            })
            .collect();
        granting.into_iter().flat_map(|client| client.join().expect("a client does not panic")).collect()
    })
}

/// Renews all leases once, spread evenly over [`RENEWED_EVERY`].
fn renew_all(client: &Client, leases: &[LeaseId]) {
    let (began, requests) = (Instant::now(), leases.chunks(RENEWED_AT_ONCE));
    let pause = RENEWED_EVERY / u32::try_from(requests.len()).expect("a few");
    for (number, some) in (1..).zip(requests) {
        let renewed = client.renew_leases(some.iter().copied()).expect("a majority is there");
        assert_eq!(renewed.values().flatten().count(), some.len(), "a lease has ended though it was kept alive");
        thread::sleep((began + pause * number).saturating_duration_since(Instant::now()));
    }
}

fn print(what: &str, latencies: &Latencies) {
    let (rate, median, most) = (latencies.per_second(), latencies.ms(0.5), latencies.ms(0.99));
    println!("{what:<12} {rate:>9.0} {median:>7.2} ms {most:>7.2} ms");
}
