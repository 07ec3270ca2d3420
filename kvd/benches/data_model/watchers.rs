//! Thousands of watchers in one thread. Each checks that it misses no revision, and notes when each change arrived.

use crate::clients::Latencies;
use crate::events::{Event, Events};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use testkit::Node;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

/// Watchers that connect at the same time.
const CONNECTING_MAX: usize = 64;

/// Bytes of one read.
const READ_BYTES_MAX: usize = 256 << 10;

/// Time that all watchers have for what is awaited of them.
const DEADLINE: Duration = Duration::from_secs(120);

/// Pause between two looks at the watchers.
const PAUSE: Duration = Duration::from_millis(1);

/// Some watchers. They leave when dropped.
pub(crate) struct Watchers {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    watchers: Vec<Mutex<Seen>>,
    connecting: Semaphore,
    /// Buffer for the bytes of each read.
    buffer: Mutex<Vec<u8>>,
}

/// Observations of one watcher.
#[derive(Default)]
struct Seen {
    /// Revision of `start`.
    start: Option<u64>,
    /// Arrival of each revision after that, in microseconds since `began`.
    arrivals_us: Vec<u32>,
}

/// Connection of one watcher.
struct Watcher {
    number: usize,
    address: String,
    target: String,
    shared: Arc<Shared>,
}

impl Watchers {
    /// Connects watchers, each at a node with the query of its watch, and waits until all of them watch. Nobody may
    /// write what they do not watch unless they watch nothing that is written.
    pub(crate) fn start<'n>(watches: impl IntoIterator<Item = (&'n Node, String)>) -> Self {
        let watches: Vec<_> =
            watches.into_iter().map(|(node, query)| (node.address().to_owned(), format!("/watch?{query}"))).collect();
        let shared = Arc::new(Shared {
            began: Instant::now(),
            watchers: watches.iter().map(|_| Mutex::default()).collect(),
            connecting: Semaphore::new(CONNECTING_MAX),
            buffer: Mutex::new(vec![0; READ_BYTES_MAX]),
        });
        let (stop, stopped) = oneshot::channel();
        let run = {
            let shared = Arc::clone(&shared);
            move || {
                let watcher =
                    |(number, (address, target))| Watcher { number, address, target, shared: Arc::clone(&shared) };
                run(watches.into_iter().enumerate().map(watcher), stopped);
            }
        };
        let started = Self { shared, stop: Some(stop), thread: Some(thread::spawn(run)) };
        started.wait("watch", |seen| seen.start.is_some());
        started
    }

    /// Returns how many revisions the watcher that is furthest behind `revision` has yet to see.
    pub(crate) fn furthest_behind(&self, revision: u64) -> u64 {
        self.seen().map(|seen| revision.saturating_sub(seen.position())).max().unwrap_or_default()
    }

    /// Waits until all have seen this revision.
    #[track_caller]
    pub(crate) fn wait_for(&self, revision: u64) {
        self.wait(&format!("see revision {revision}"), |seen| seen.position() >= revision);
    }

    /// Checks that nothing has arrived at any of them.
    #[track_caller]
    pub(crate) fn check_idle(&self) {
        self.check_alive();
        assert!(
            self.seen().all(|seen| seen.arrivals_us.is_empty()),
            "a watcher was told of a key that it does not watch"
        );
    }

    /// Returns the times from when each of these revisions was acknowledged until each watcher had it. An event that
    /// came first counts as 0.
    pub(crate) fn latencies(&self, acknowledged: &[(u64, Instant)]) -> Latencies {
        let mut latencies = Latencies::none();
        for seen in self.seen() {
            let start = seen.start.expect("it watches");
            for (revision, at) in acknowledged {
                let arrival = Duration::from_micros(seen.arrivals_us[(revision - start - 1) as usize].into());
                latencies.record(arrival.saturating_sub(*at - self.shared.began));
            }
        }
        latencies
    }

    fn seen(&self) -> impl Iterator<Item = MutexGuard<'_, Seen>> {
        self.shared.watchers.iter().map(|seen| seen.lock().expect("a watcher does not panic"))
    }

    #[track_caller]
    fn check_alive(&self) {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "a watcher has failed");
    }

    #[track_caller]
    fn wait(&self, what: &str, has: impl Fn(&Seen) -> bool) {
        let began = Instant::now();
        // Those that have need not be looked at again.
        for seen in &self.shared.watchers {
            while !has(&seen.lock().expect("a watcher does not panic")) {
                self.check_alive();
                assert!(began.elapsed() < DEADLINE, "the watchers do not all {what} within {DEADLINE:?}");
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A failure has been printed, and whoever waits for the watchers has seen that they ended.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

impl Seen {
    /// Everything up to this revision has been seen.
    fn position(&self) -> u64 {
        self.start.unwrap_or_default() + self.arrivals_us.len() as u64
    }

    fn event(&mut self, event: Event, now_us: u32) -> Result<(), String> {
        match (event, self.start) {
            (Event::Start(revision), None) => self.start = Some(revision),
            (Event::Change(revision), Some(_)) if revision == self.position() + 1 => self.arrivals_us.push(now_us),
            (Event::Progress(_), Some(_)) if self.arrivals_us.is_empty() => {}
            (Event::Progress(revision), Some(_)) if revision == self.position() => {}
            _ => return Err(format!("{event:?} after {} of {:?}", self.position(), self.start)),
        }
        Ok(())
    }
}

/// Watches until stopped. A watcher that fails ends all.
fn run(watchers: impl Iterator<Item = Watcher>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for watcher in watchers {
            tasks.spawn(watcher.watch());
        }
        tokio::select! {
            _ = stopped => {}
            Some(failed) = tasks.join_next() => panic!("{}", failed.expect("a watcher does not panic")),
        }
    });
}

impl Watcher {
    /// Watches for ever; returns why it ended all the same.
    async fn watch(self) -> String {
        let Err(error) = self.try_watch().await;
        format!("watcher {} of {}: {error}", self.number, self.target)
    }

    async fn try_watch(&self) -> io::Result<std::convert::Infallible> {
        let mut connecting = Some(self.shared.connecting.acquire().await.map_err(io::Error::other)?);
        let stream = TcpStream::connect(&self.address).await?;
        let request = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", self.target, self.address);
        stream.writable().await?;
        if stream.try_write(request.as_bytes())? != request.len() {
            return Err(io::Error::other("the request did not fit into an empty buffer"));
        }
        let mut events = Events::default();
        loop {
            stream.readable().await?;
            match self.read(&stream, &mut events) {
                Ok(()) => {}
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(cause) => return Err(cause),
            }
            if connecting.is_some() && self.seen().start.is_some() {
                connecting = None;
            }
        }
    }

    /// Reads what there is.
    fn read(&self, stream: &TcpStream, events: &mut Events) -> io::Result<()> {
        let mut buffer = self.shared.buffer.lock().expect("a watcher does not panic");
        let bytes = stream.try_read(&mut buffer)?;
        if bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let now_us = u32::try_from(self.shared.began.elapsed().as_micros()).expect("it takes less than an hour");
        let mut seen = self.seen();
        let mut told = Ok(());
        events
            .read(&buffer[..bytes], |event| {
                if told.is_ok() {
                    told = seen.event(event, now_us);
                }
            })
            .and(told)
            .map_err(io::Error::other)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.watchers[self.number].lock().expect("a watcher does not panic")
    }
}
