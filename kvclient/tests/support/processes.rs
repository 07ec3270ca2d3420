//! A cluster of real processes, to be stopped, killed and started one by one.
//!
//! A node is this test binary itself, run once more for [`node`] alone, which is the daemon with other flags than
//! its own command line: so the binary of kvd need not have been built, and cannot be an old one.

#![allow(dead_code, reason = "each test file uses its part")]

use clap::Parser as _;
use kvclient::{Client, Health, NodeState};
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine, short enough for a test that hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Carries the command line of a node, one word a line.
const FLAGS: &str = "KVD_TEST_FLAGS";

/// The daemon, where this process is to be a node; as a test of its own it has nothing to show.
#[test]
fn node() {
    if let Ok(flags) = std::env::var(FLAGS) {
        // Its end is a signal, and whoever sent it knows.
        let _ = kvd::run(kvd::Cli::parse_from(flags.lines()));
    }
}

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Three nodes with their data in memory, counted from zero. Dropping it kills them.
pub(crate) struct Cluster {
    urls: Vec<String>,
    processes: Vec<Option<Child>>,
}

impl Cluster {
    /// A cluster that has formed and has a leader. Its leader changes only when it is made to: however short of
    /// processors the machine may be, nobody is kept waiting for as long as it takes here to lose patience.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let addresses: Vec<String> = (0..3).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        let peers: Vec<String> = urls.iter().zip(1..).map(|(url, number)| format!("node{number}={url}")).collect();
        let start = |(address, number): (&String, u8)| {
            let (name, peers) = (format!("node{number}"), peers.join(","));
            let flags = ["kvd", "--storage", "memory", "--election-timeout-ms", "1500..2500"];
            let flags = flags.into_iter().chain(["--name", &name, "--listen", address, "--peers", &peers]);
            let test = module_path!().split_once("::").map_or("node".into(), |(_, module)| format!("{module}::node"));
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.args(["--exact", &test]).env(FLAGS, flags.collect::<Vec<_>>().join("\n")).env("RUST_LOG", "off");
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Some(command.spawn().expect("a node starts"))
        };
        let processes = addresses.iter().zip(1..).map(start).collect();
        let cluster = Self { urls, processes };
        cluster.leader();
        cluster
    }

    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Waits until all running nodes have the same leader; returns its number.
    #[track_caller]
    pub(crate) fn leader(&self) -> usize {
        let client = Client::builder().endpoints(&self.urls).attempt_timeout(Duration::from_secs(5)).build();
        let client = client.expect("URLs of nodes");
        until("all running nodes agree on their leader", || {
            let running = self.urls.iter().zip(&self.processes).filter(|(_, process)| process.is_some());
            let healths: Vec<Health> = running.map(|(url, _)| client.health(url).ok()).collect::<Option<_>>()?;
            let leader = healths.iter().find(|health| health.state == NodeState::Leader)?;
            let known = |health: &Health| health.leader.as_ref().is_some_and(|known| known.id == leader.id);
            let number: usize = leader.id.strip_prefix("node")?.parse().ok()?;
            healths.iter().all(known).then_some(number - 1)
        })
    }

    /// The numbers of the nodes other than `number`.
    pub(crate) fn others(&self, number: usize) -> Vec<usize> {
        (0..self.urls.len()).filter(|&other| other != number).collect()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut child = self.processes[number].take().expect("a running node");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// SIGSTOP: from now on it does nothing, and its connections stay open.
    pub(crate) fn pause(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let child = self.processes[number].as_ref().expect("a running node");
        kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port below those that the system gives to outgoing connections, which could take it before the node does.
fn free_port() -> u16 {
    until("a port is free", || {
        let port = rand::rng().random_range(20_000..32_000);
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
