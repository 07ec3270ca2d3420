//! Cost of a write that a follower forwards, compared with one sent to the leader: three real processes, and the same
//! writers at a follower and at the leader in turn.
//!
//!     cargo bench -p kvd --bench forwarding

use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, Connection, Node};

/// Times that each path is measured with each number of writers.
const ROUNDS: usize = 5;

const LASTS: Duration = Duration::from_secs(3);

const WRITERS: [usize; 3] = [1, 8, 64];

const VALUE_BYTES: usize = 100;

fn main() {
    let cluster = Cluster::start(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let (leader, follower) = (cluster[leader].url(), cluster[follower].url());
    println!("{:>7}  {:<22} {:>9} {:>9} {:>9}", "writers", "", "writes/s", "median", "99 %");
    for writers in WRITERS {
        let mut ways = [("at the leader", &leader, Vec::new()), ("sent on by a follower", &follower, Vec::new())];
        for _ in 0..ROUNDS {
            for (_, url, times) in &mut ways {
                times.extend(run(url, writers));
            }
        }
        for (way, _, mut times) in ways {
            times.sort_unstable();
            let ms = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
            let rate = times.len() as f64 / (LASTS * ROUNDS as u32).as_secs_f64();
            println!("{writers:>7}  {way:<22} {rate:>9.0} {:>6.2} ms {:>6.2} ms", ms(50), ms(99));
        }
    }
    let leaders: Vec<_> = cluster.nodes.iter().filter_map(Node::health).map(|health| health.leader).collect();
    assert!(leaders.iter().all(|name| *name == leaders[0]), "the leader has changed meanwhile: measure again");
}

/// Returns the latency of each write, with this many writers that write at a node for a while.
fn run(url: &str, writers: usize) -> Vec<Duration> {
    let began = Instant::now();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..writers).map(|writer| scope.spawn(move || write(url, writer, began))).collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic")).collect()
    })
}

fn write(url: &str, writer: usize, began: Instant) -> Vec<Duration> {
    let mut connection = Connection::open(url).expect("it listens");
    let body = format!(r#"{{"key":"bench/{writer}","value":"{}"}}"#, "x".repeat(VALUE_BYTES));
    let mut times = Vec::new();
    while began.elapsed() < LASTS {
        let sent = Instant::now();
        connection.send("POST /set", &["content-type: application/json"], body.as_bytes()).expect("it is sent");
        let reply = connection.receive().expect("it answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
        times.push(sent.elapsed());
    }
    times
}
