//! Threads that send one request after another, and the latencies that they saw.

use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest latency that is distinguished from longer ones, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Latencies of requests, and how long the clients sent some.
pub(crate) struct Latencies {
    us: Histogram<u64>,
    took: Duration,
}

impl Latencies {
    pub(crate) fn none() -> Self {
        Self { us: Histogram::new_with_max(LATENCY_MAX_US, 3).expect("possible bounds"), took: Duration::ZERO }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.us.saturating_record(latency.as_micros() as u64);
    }

    /// Adds those of other requests, which were sent at another time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.us.add(&other.us).expect("the same bounds");
        self.took += other.took;
    }

    pub(crate) fn count(&self) -> u64 {
        self.us.len()
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.us.len() as f64 / self.took.as_secs_f64()
    }

    /// Returns the latency below which this share of all requests was, in milliseconds.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        self.us.value_at_quantile(share) as f64 / 1e3
    }

    pub(crate) fn longest_ms(&self) -> f64 {
        self.us.max() as f64 / 1e3
    }
}

/// Runs this many clients for a while. `client` returns what the client of a number does for one request.
pub(crate) fn send_for<C: FnMut() + Send>(lasts: Duration, clients: usize, client: impl Fn(usize) -> C) -> Latencies {
    send_while(|| thread::sleep(lasts), clients, Duration::ZERO, client)
}

/// Runs this many clients for as long as `work` runs, with a pause between two requests of a client. The first request
/// of each client, which connects it, is not measured.
pub(crate) fn send_while<C: FnMut() + Send>(
    work: impl FnOnce(),
    clients: usize,
    pause: Duration,
    client: impl Fn(usize) -> C,
) -> Latencies {
    let mut clients: Vec<C> = (0..clients).map(client).collect();
    clients.iter_mut().for_each(|send| send());
    let stop = AtomicBool::new(false);
    let run = |mut send: C| {
        let mut latencies = Latencies::none();
        while !stop.load(Ordering::Relaxed) {
            let sent = Instant::now();
            send();
            latencies.record(sent.elapsed());
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        latencies
    };
    thread::scope(|scope| {
        let run = &run;
        let running: Vec<_> = clients.into_iter().map(|send| scope.spawn(move || run(send))).collect();
        let began = Instant::now();
        work();
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        let mut all = Latencies { took, ..Latencies::none() };
        for client in running {
            all.add(&client.join().expect("a client does not panic"));
        }
        all
    })
}
