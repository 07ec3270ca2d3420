//! A well-behaved client, and its view of a cluster that other clients mistreat.

use crate::http::Connection;
use crate::wait::until;
use kvclient::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Pause after an answer: the client only observes, and puts no load on the cluster.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends the same requests again and again.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Seen>>,
}

/// Observations of a bystander.
#[derive(Debug)]
pub struct Seen {
    /// Requests that were answered.
    pub answers: usize,
    /// Longest time to an answer, retries included.
    pub slowest: Duration,
    /// Failures, if any.
    pub failures: Vec<String>,
}

impl Bystander {
    /// Starts a bystander that writes a key and reads back its write.
    pub fn start(client: &Client) -> Self {
        let client = client.clone();
        Self::asking(move |round| {
            let value = (round / 2).to_string();
            if round % 2 == 0 {
                return client.set("bystander", value).map(drop).map_err(|error| error.to_string());
            }
            match client.get("bystander") {
                Ok(Some(item)) if item.value == value.as_bytes() => Ok(()),
                Ok(other) => Err(format!("read {other:?} instead of {value}")),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Starts a bystander that reads a key from one node, which need not have a leader, over one persistent connection.
    pub fn connected(mut connection: Connection, key: &str) -> Self {
        let what = format!("GET /get?consistency=stale&key={key}");
        Self::asking(move |_| {
            let reply = connection.send(&what, &[], b"").and_then(|()| connection.receive());
            match reply {
                Ok(reply) if reply.status == 200 => Ok(()),
                Ok(reply) => Err(format!("{} {}", reply.status, reply.text())),
                Err(cause) => Err(cause.to_string()),
            }
        })
    }

    fn asking(mut ask: impl FnMut(usize) -> Result<(), String> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let look_on = move || {
            let mut seen = Seen { answers: 0, slowest: Duration::ZERO, failures: Vec::new() };
            for round in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                match ask(round) {
                    Ok(()) => seen.answers += 1,
                    Err(why) => seen.failures.push(why),
                }
                seen.slowest = seen.slowest.max(began.elapsed());
                counted.store(round + 1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
            seen
        };
        Self { stop, rounds, thread: Some(thread::spawn(look_on)) }
    }

    /// Waits until it has made this many more requests, answered or not.
    #[track_caller]
    pub fn look_on(&self, rounds: usize) {
        let target = self.rounds.load(Ordering::Relaxed) + rounds;
        until("a bystander is answered", || (self.rounds.load(Ordering::Relaxed) >= target).then_some(()));
    }

    /// Stops after the next answer, and returns the observations.
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("a bystander does not panic")
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
