//! The largest commands, and how long other clients wait meanwhile: the deletion of 100,000 keys at once, and a
//! transaction of 10,000 operations. The same clients without such a command show what is usual on this machine.

use crate::Scale;
use crate::clients::{Latencies, send_while};
use crate::cluster::Steady;
use crate::fill::fill;
use kvclient::{Client, Range, Txn};
use std::thread;
use std::time::{Duration, Instant};

const KEYS: usize = 100_000;
const OPERATIONS: usize = 10_000;
const VALUE_BYTES: usize = 100;

/// Clients that write and read keys of their own, and their pause between two requests.
const WRITERS: usize = 2;
const READERS: usize = 2;
const PAUSE: Duration = Duration::from_millis(1);

/// Time before and after a command, so that none of what it causes is missed.
const MARGIN: Duration = Duration::from_millis(500);

/// What other clients saw during one kind of work.
struct Seen {
    writes: Waits,
    reads: Waits,
    /// Duration of the command in each round, in milliseconds.
    took_ms: Vec<f64>,
}

/// Times that requests of one kind took.
struct Waits {
    all: Latencies,
    /// The longest of each round, in milliseconds.
    longest_ms: Vec<f64>,
}

pub(crate) fn measure(scale: Scale) {
    let cluster = Steady::start();
    let client = cluster.client();
    let [mut nothing, mut deletes, mut txns] = [(); 3].map(|()| Seen::nothing());
    for round in 0..scale.rounds {
        fill(&client, KEYS, |number| format!("range/{number:06}"), VALUE_BYTES);
        cluster.converge();
        nothing.look_on(&client, || thread::sleep(MARGIN));
        deletes.look_on(&client, || {
            let reply = client.delete_range(Range::prefix("range/")).expect("within the limits");
            assert_eq!(reply.deleted, KEYS as u64);
        });
        txns.look_on(&client, || {
            let mut txn = Txn::new();
            for number in 0..OPERATIONS {
                drop(txn.then().set(format!("txn/{round}/{number:05}"), "v".repeat(VALUE_BYTES)));
            }
            assert!(client.commit(txn).expect("within the limits").succeeded());
        });
    }
    println!("time that other clients waited, {} rounds; in a round, the longest time counts", scale.rounds);
    println!("{:<32} {:>16} {:>27} {:>27}", "", "command", "writes", "reads");
    let of_a_group = |first| format!("{first:>9} {:>8} {:>8}", "median", "worst");
    println!("{:<32} {:>7} {:>8} {} {}", "while", "median", "worst", of_a_group("99 %"), of_a_group("99 %"));
    let txn = format!("a transaction writes {OPERATIONS} keys");
    let delete = format!("one request deletes {KEYS} keys");
    for (what, Seen { writes, reads, took_ms }) in [("nothing else runs", &nothing), (&delete, &deletes), (&txn, &txns)]
    {
        print!("{what:<32} {:>4.0} ms {:>5.0} ms", median(took_ms), worst(took_ms));
        for Waits { all, longest_ms } in [writes, reads] {
            print!(" {:>6.1} ms {:>5.0} ms {:>5.0} ms", all.ms(0.99), median(longest_ms), worst(longest_ms));
        }
        println!();
    }
    cluster.check_leader();
}

impl Seen {
    fn nothing() -> Self {
        let [writes, reads] = [(); 2].map(|()| Waits { all: Latencies::none(), longest_ms: Vec::new() });
        Self { writes, reads, took_ms: Vec::new() }
    }

    fn look_on(&mut self, client: &Client, work: impl FnOnce()) {
        let value = "v".repeat(VALUE_BYTES);
        let (value, took_ms) = (&value, &mut self.took_ms);
        let run = || {
            thread::sleep(MARGIN);
            let began = Instant::now();
            work();
            took_ms.push(began.elapsed().as_secs_f64() * 1e3);
            thread::sleep(MARGIN);
        };
        client.set("onlooker", value).expect("a majority is there");
        let mut reads = Latencies::none();
        let write =
            |number| move || drop(client.set(format!("onlooker/{number}"), value).expect("a majority is there"));
        let writes = send_while(
            || {
                reads = send_while(run, READERS, PAUSE, |_| {
                    || drop(client.get("onlooker").expect("a majority is there").expect("it was written"))
                });
            },
            WRITERS,
            PAUSE,
            write,
        );
        for (waits, latencies) in [(&mut self.writes, &writes), (&mut self.reads, &reads)] {
            waits.longest_ms.push(latencies.longest_ms());
            waits.all.add(latencies);
        }
    }
}

fn median(of_rounds: &[f64]) -> f64 {
    let mut sorted = of_rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn worst(of_rounds: &[f64]) -> f64 {
    of_rounds.iter().copied().fold(0.0, f64::max)
}
