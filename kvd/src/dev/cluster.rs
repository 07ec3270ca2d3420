//! The nodes of a cluster: watches them, and restarts each one that ends.

use super::banner::banner;
use super::error::DevError;
use super::node::{Ended, Event, Node, RESTART_PAUSE};
use super::observer::{Observer, Seen};
use crate::cli::exit_code;
use crate::logging::LogFormat;
use crate::server::{StartError, listen};
use crate::storage::{Identity, RealDisk};
use clap::ValueEnum as _;
use futures_util::future::{join_all, select_all};
use std::ffi::OsString;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// Pause between two checks while all nodes are well.
const CALM_PAUSE: Duration = Duration::from_millis(250);

/// Pause between two checks while there is no leader, or a node has yet to catch up.
const WATCHFUL_PAUSE: Duration = Duration::from_millis(5);

/// Time for the nodes to log their last steps, so that the banner comes after those lines.
const LAST_LINES: Duration = Duration::from_millis(100);

/// The cluster to start.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Number of nodes: `node1`, `node2`, ...
    pub(crate) nodes: u16,
    /// The first node's port on 127.0.0.1; the others follow.
    pub(crate) base_port: u16,
    /// Parent of the nodes' data directories.
    pub(crate) data_dir: PathBuf,
    /// Format of their logs.
    pub(crate) log_format: LogFormat,
}

/// A cluster. Dropping it kills its processes.
#[derive(Debug)]
pub(crate) struct Cluster {
    data_dir: PathBuf,
    nodes: Vec<Node>,
    observer: Observer,
    /// The last known leader, even if it has ended since.
    leader: Option<Leader>,
    /// Time since which the cluster has been without a leader because its process ended.
    leaderless_since: Option<Instant>,
}

#[derive(Debug)]
struct Leader {
    term: u64,
    name: String,
}

impl Cluster {
    /// Starts the processes. [`Cluster::run`] watches them.
    ///
    /// # Errors
    /// [`DevError`], which names the flag at fault.
    pub(crate) fn start(options: Options) -> Result<Self, DevError> {
        let Options { nodes: count, data_dir, log_format, .. } = &options;
        let addresses = free_addresses(&options)?;
        let names: Vec<String> = (1..=*count).map(|number| format!("node{number}")).collect();
        check_data(&options, &names)?;
        let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
        let peers: Vec<String> = names.iter().zip(&urls).map(|(name, url)| format!("{name}={url}")).collect();
        let log_format = log_format.to_possible_value().expect("no format is left out").get_name().to_owned();
        let mut nodes = Vec::new();
        for ((name, url), address) in names.into_iter().zip(&urls).zip(addresses) {
            let arguments: Vec<OsString> = vec![
                "--name".into(),
                name.clone().into(),
                "--listen".into(),
                address.to_string().into(),
                "--peers".into(),
                peers.join(",").into(),
                "--data-dir".into(),
                data_dir.join(&name).into(),
                "--log-format".into(),
                log_format.clone().into(),
                "--until-stdin-ends".into(),
            ];
            nodes.push(Node::start(name, url.clone(), arguments)?);
        }
        let observer = Observer::new(urls);
        Ok(Self { data_dir: options.data_dir, nodes, observer, leader: None, leaderless_since: None })
    }

    /// Watches the nodes, reports what happens to them, and restarts each one that ends. Returns when the cluster
    /// cannot be formed, or no node is left. In every case the cluster must be stopped afterwards.
    pub(crate) async fn run(&mut self) -> DevError {
        if let Err(error) = self.come_up().await {
            return error;
        }
        sleep(LAST_LINES).await;
        let leader = self.leader.as_ref().map(|leader| leader.name.as_str());
        say(&banner(&self.nodes, leader, &self.data_dir));
        loop {
            let is_calm = self.leaderless_since.is_none() && self.nodes.iter().all(Node::has_caught_up);
            let pause = if is_calm { CALM_PAUSE } else { WATCHFUL_PAUSE };
            match self.next(pause).await {
                Next::Event(index, Event::Ended(ended)) => {
                    self.say_end(index, &ended);
                    if self.nodes.iter().all(Node::is_given_up) {
                        return self.ended(index, ended);
                    }
                }
                Next::Event(index, Event::Due) => self.nodes[index].restart(),
                Next::Seen(seen) => {
                    if self.see_leader(&seen) {
                        self.say_leader();
                    }
                    self.see_caught_up(&seen, |node, pid| {
                        say_news(&format!("{} runs again (pid {pid}), and has caught up", node.name));
                    });
                }
            }
        }
    }

    /// Waits until all nodes serve.
    async fn come_up(&mut self) -> Result<(), DevError> {
        while !self.nodes.iter().all(Node::has_caught_up) {
            match self.next(WATCHFUL_PAUSE).await {
                Next::Event(index, Event::Ended(ended)) => return Err(self.ended(index, ended)),
                Next::Event(_, Event::Due) => {}
                Next::Seen(seen) => {
                    self.see_leader(&seen);
                    self.see_caught_up(&seen, |_, _| {});
                }
            }
        }
        Ok(())
    }

    /// Stops all nodes at once, each after its requests in flight.
    ///
    /// # Errors
    /// [`DevError::Ended`] if one of them failed.
    pub(crate) async fn stop(&mut self) -> Result<(), DevError> {
        say(&format!("\nstopping; the data stays in {}", self.data_dir.display()));
        join_all(self.nodes.iter_mut().map(Node::stop)).await.into_iter().collect()
    }

    async fn next(&mut self, pause: Duration) -> Next {
        let Self { nodes, observer, .. } = self;
        let event = select_all(nodes.iter_mut().map(|node| Box::pin(node.next_event())));
        let seen = async {
            sleep(pause).await;
            observer.look().await
        };
        tokio::select! {
            // The end of a leader must be noticed before the next leader is, or the time without a leader would be
            // unknown.
            biased;
            (event, index, _) = event => Next::Event(index, event),
            seen = seen => Next::Seen(seen),
        }
    }

    /// Takes in who leads. Returns whether that is news.
    fn see_leader(&mut self, seen: &[Option<Seen>]) -> bool {
        let leader_of = |seen: &Seen| Some((seen.health.term, seen.health.leader.clone()?.id));
        let Some((term, name)) = seen.iter().flatten().filter_map(leader_of).max() else { return false };
        // Nodes that have not noticed yet that a leader has ended still name it, under its old term.
        let is_news = self.leader.as_ref().is_none_or(|known| known.term < term);
        if is_news {
            self.leader = Some(Leader { term, name });
        }
        is_news
    }

    fn see_caught_up(&mut self, seen: &[Option<Seen>], news: impl Fn(&Node, u32)) {
        for (node, seen) in self.nodes.iter_mut().zip(seen) {
            if seen.as_ref().is_some_and(|seen| seen.has_caught_up)
                && node.set_caught_up()
                && let Some(pid) = node.pid()
            {
                news(node, pid);
            }
        }
    }

    /// Reports that a node has ended, and what happens next.
    fn say_end(&mut self, index: usize, Ended { pid, how, .. }: &Ended) {
        let node = &self.nodes[index];
        let was_leader = self.leader.as_ref().is_some_and(|leader| leader.name == node.name);
        let next = match node.is_given_up() {
            true => "is not started again, since that would not help".to_owned(),
            false => format!("starts again in {} s", RESTART_PAUSE.as_secs()),
        };
        let role = if was_leader { ", the leader" } else { "" };
        say_news(&format!("{} (pid {pid}{role}) {how}; it {next}", node.name));
        if was_leader {
            self.leaderless_since.get_or_insert_with(Instant::now);
        }
        let (running, all) = (self.nodes.iter().filter(|node| node.pid().is_some()).count(), self.nodes.len());
        let majority = all / 2 + 1;
        if running < majority {
            say_news(&format!("nobody can lead until {majority} of {all} nodes run; {running} do"));
        }
    }

    fn say_leader(&mut self) {
        let Some(Leader { name, .. }) = &self.leader else { return };
        let after = self
            .leaderless_since
            .take()
            .map_or_else(String::new, |since| format!(", after {} ms without a leader", since.elapsed().as_millis()));
        let pid = self.nodes.iter().find(|node| node.name == *name).and_then(Node::pid);
        let kill = pid.map_or_else(String::new, |pid| format!("; to kill it: kill -9 {pid}"));
        say_news(&format!("{name} leads now{after}{kill}"));
    }

    fn ended(&self, index: usize, Ended { how, code, .. }: Ended) -> DevError {
        // The user of `kvd dev` did not ask for the node to end.
        let code = if code == exit_code::DONE { exit_code::FAILED } else { code };
        DevError::Ended { name: self.nodes[index].name.clone(), how, code }
    }
}

/// The next thing to handle.
enum Next {
    /// Something happened to the node with this index.
    Event(usize, Event),
    /// The nodes were asked.
    Seen(Vec<Option<Seen>>),
}

/// Prints for the user. If nobody reads any more (`kvd dev | head`), the cluster keeps running.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line that stands among those of the log.
fn say_news(text: &str) {
    say(&format!("kvd dev: {text}"));
}

/// Returns the addresses of the nodes, after checking that nothing listens on them.
fn free_addresses(options: &Options) -> Result<Vec<SocketAddr>, DevError> {
    let Options { nodes, base_port, .. } = *options;
    let listen_for = |node: u16| {
        let port = base_port.checked_add(node).ok_or(DevError::Ports { base_port, nodes })?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = listen(address).map_err(|error| match error {
            StartError::Listen { address, cause } => DevError::Listen { base_port, address, cause },
            other => DevError::Spawn { name: format!("node{}", node + 1), cause: std::io::Error::other(other) },
        });
        Ok((address, listener?))
    };
    // All are held at the same time, so that no port is counted twice.
    let held: Vec<(SocketAddr, TcpListener)> = (0..nodes).map(listen_for).collect::<Result<_, _>>()?;
    Ok(held.into_iter().map(|(address, _)| address).collect())
}

/// Refuses data of a cluster of another size, and names the options of `kvd dev` instead of a single node's flags.
fn check_data(options: &Options, names: &[String]) -> Result<(), DevError> {
    let known = names.iter().find_map(|name| first_members(&options.data_dir.join(name)));
    match known {
        Some(known) if known != names => {
            Err(DevError::OtherNodes { nodes: options.nodes, dir: options.data_dir.clone(), known: known.len() })
        }
        _ => Ok(()),
    }
}

/// Returns the members that formed the cluster of this directory, sorted by name. Errors in the directory are left for
/// the node to report.
fn first_members(dir: &Path) -> Option<Vec<String>> {
    let disk = dir.is_dir().then(|| RealDisk::open(dir).ok())??;
    Some(Identity::load(&disk).ok()??.cluster?.first_members)
}
