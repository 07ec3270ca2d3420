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

/// Latencies of other clients during one kind of work.
struct Seen {
    writes: Latencies,
    reads: Latencies,
    /// Longest time of a command.
    took: Duration,
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
    println!("time that other clients waited, {} rounds", scale.rounds);
    println!("{:<38} {:>9} {:>19} {:>19}", "", "", "writes", "reads");
    println!("{:<38} {:>9} {:>9} {:>9} {:>9} {:>9}", "while", "took", "99 %", "longest", "99 %", "longest");
    let txn = format!("a transaction writes {OPERATIONS} keys");
    let delete = format!("one request deletes {KEYS} keys");
    for (what, Seen { writes, reads, took }) in [("nothing else runs", &nothing), (&delete, &deletes), (&txn, &txns)] {
        print!("{what:<38} {:>6.0} ms", took.as_secs_f64() * 1e3);
        for latencies in [writes, reads] {
            print!(" {:>6.1} ms {:>6.1} ms", latencies.ms(0.99), latencies.longest_ms());
        }
        println!();
    }
    cluster.check_leader();
}

impl Seen {
    fn nothing() -> Self {
        Self { writes: Latencies::none(), reads: Latencies::none(), took: Duration::ZERO }
    }

    fn look_on(&mut self, client: &Client, work: impl FnOnce()) {
        let value = "v".repeat(VALUE_BYTES);
        let (value, took) = (&value, &mut self.took);
        let run = || {
            thread::sleep(MARGIN);
            let began = Instant::now();
            work();
            *took = (*took).max(began.elapsed());
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
        self.writes.add(&writes);
        self.reads.add(&reads);
    }
}
