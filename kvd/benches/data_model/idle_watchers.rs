//! 10,000 watchers of a key each at one node, while others write another key: the memory that they take, and the
//! processor time that they add to each write.
//!
//! Two clusters take the same writes in turn, and only one of them has watchers. Before it has them, the same
//! comparison shows how much the two differ anyway. Each watcher is told every five seconds that it has missed nothing.
//! What that takes is measured on each cluster while the other one takes the writes, so both times see the same busy
//! machine, and is subtracted.

use crate::Scale;
use crate::clients::send_for;
use crate::cluster::Steady;
use crate::watchers::Watchers;
use std::time::Duration;
use testkit::{Connection, Node};

const WATCHERS: usize = 10_000;
const WRITERS: usize = 8;
const VALUE_BYTES: usize = 100;

/// Time between two events that tell a watcher that it has missed nothing. All get theirs at nearly the same moment, so
/// intervals of this length are comparable.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The leaders of the two clusters, compared.
struct Comparison {
    /// Share of a core that each takes while the other one takes the writes.
    idle: [f64; 2],
    /// Processor time for each write beside that, in microseconds.
    write_us: [f64; 2],
}

pub(crate) fn measure(scale: Scale) {
    let clusters = [Steady::start(), Steady::start()];
    let leaders = [clusters[0].leader(), clusters[1].leader()];
    let without = Comparison::of(leaders, scale);

    let memory_before = leaders[1].memory_bytes();
    let watchers = Watchers::start((0..WATCHERS).map(|number| (leaders[1], format!("key=idle/{number:05}"))));
    let memory = leaders[1].memory_bytes() - memory_before;
    println!("{WATCHERS} idle watchers at the leader of cluster 2, none at that of cluster 1");
    println!("memory of the node for each, its connection included: {:.1} KB", memory as f64 / WATCHERS as f64 / 1e3);

    let with = Comparison::of(leaders, scale);
    println!("processor time of the leaders:");
    println!("{:<46} {:>9} {:>9} {:>8}", "", "cluster 1", "cluster 2", "more");
    for (when, Comparison { idle, write_us }) in [("before they came", &without), ("with them", &with)] {
        let [one, other] = idle.map(|share| share * 100.0);
        println!("{:<46} {one:>7.2} % {other:>7.2} %", format!("{when}: share of a core when idle"));
        let ([one, other], what) = (write_us, format!("{when}: for each write of another key"));
        println!("{what:<46} {one:>6.1} µs {other:>6.1} µs {:>6.1} %", (other / one - 1.0) * 100.0);
    }
    watchers.check_idle();
    clusters.iter().for_each(Steady::check_leader);
}

impl Comparison {
    fn of(leaders: [&Node; 2], scale: Scale) -> Self {
        let (mut idle, mut busy, mut writes) = ([Duration::ZERO; 2], [Duration::ZERO; 2], [0; 2]);
        for _ in 0..scale.rounds {
            for (number, leader) in leaders.iter().enumerate() {
                let before = leaders.map(Node::cpu_time);
                writes[number] += write_for(PROGRESS_EVERY, leader);
                busy[number] += leader.cpu_time() - before[number];
                idle[1 - number] += leaders[1 - number].cpu_time() - before[1 - number];
            }
        }
        let write_us =
            [0, 1].map(|number| busy[number].saturating_sub(idle[number]).as_secs_f64() / writes[number] as f64 * 1e6);
        let took = PROGRESS_EVERY.as_secs_f64() * scale.rounds as f64;
        let idle = idle.map(|idle| idle.as_secs_f64() / took);
        Self { idle, write_us }
    }
}

/// Writes for a while; returns the number of writes.
fn write_for(lasts: Duration, leader: &Node) -> u64 {
    let latencies = send_for(lasts, WRITERS, |writer| {
        let mut connection = Connection::open(&leader.url()).expect("it listens");
        let body = format!(r#"{{"key":"busy/{writer}","value":"{}"}}"#, "v".repeat(VALUE_BYTES));
        move || {
            connection.send("POST /set", &[], body.as_bytes()).expect("it is sent");
            let reply = connection.receive().expect("it answers");
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    });
    latencies.count() + WRITERS as u64
}
