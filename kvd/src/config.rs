//! The settings of a node, read and checked once.
//!
//! The caller fills in [`Options`], as text wherever a user would give text. [`Config::check`] converts them to a
//! [`Config`], or says in one sentence which flag is wrong and what it should be. No code after that checks a setting
//! again.

use crate::kv::{Level, StoreLimits};
use crate::naming;
use crate::raft::{self, MemberInfo};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use thiserror::Error;

/// Most members of a cluster to form. A larger number of voters makes no sense: every write waits for a majority of
/// them.
const PEERS_MAX: usize = 15;

/// Largest value that any setting may allow, in bytes. An entry travels between nodes in one frame, and may also hold a
/// value to compare with.
pub(crate) const VALUE_BYTES_LIMIT: usize = 8 << 20;

/// Longest heartbeat interval and longest election timeout that can be set, in milliseconds.
const HEARTBEAT_MS_LIMIT: u64 = 10_000;
const ELECTION_TIMEOUT_MS_LIMIT: u64 = 60_000;

/// Least number of open files and connections that a node can work with. Its log, its snapshots and the streams to
/// other nodes need nearly all of them.
pub const OPEN_FILES_MIN: u64 = 96;

/// Streams and waits of clients at the same time, unless a flag says otherwise.
pub const STREAMS_MAX: usize = 10_000;

/// Number of open files and connections that suffices for everything that a node does.
pub const OPEN_FILES_MAX: u64 = 16_384;

/// Storage of a node's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StorageKind {
    /// In the data directory: survives crashes and power failures.
    #[default]
    Disk,
    /// In memory: a node that stops has lost everything, and comes back as another one.
    Memory,
}

/// Bounds of the election timeout: how long a follower waits for its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionTimeout {
    /// Lower bound, in milliseconds.
    pub min_ms: u64,
    /// Upper bound, in milliseconds.
    pub max_ms: u64,
}

impl std::str::FromStr for ElectionTimeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| part.trim().parse::<u64>().ok();
        let bounds = text.split_once("..").and_then(|(min, max)| Some((parse(min)?, parse(max)?)));
        match bounds {
            Some((min_ms, max_ms)) => Ok(Self { min_ms, max_ms }),
            None => Err("expected two numbers of milliseconds, such as 150..300".into()),
        }
    }
}

impl std::fmt::Display for ElectionTimeout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.min_ms, self.max_ms)
    }
}

/// Settings of a node as given by the user, unchecked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the node, unique in its cluster.
    pub name: String,
    /// Address and port to listen on.
    pub listen: String,
    /// All members of a cluster to form, each `name=URL`, including this node. Empty for a cluster of one.
    pub peers: Vec<String>,
    /// Client URLs of nodes of an existing cluster to join. Empty if the node forms a cluster.
    pub join: Vec<String>,
    /// True if the node stays a learner in the cluster that it joins.
    pub learner: bool,
    /// Data directory of the node.
    pub data_dir: PathBuf,
    /// URL at which clients reach the node, if that is not the address it listens on.
    pub advertise_client_url: Option<String>,
    /// URL at which the other nodes reach the node, if that is not its URL among the peers.
    pub advertise_peer_url: Option<String>,
    /// True if the node must have data by now. If the data is missing, the node does not found a cluster.
    pub expect_data: bool,
    /// Storage of the log.
    pub storage: StorageKind,
    /// Silence after which a leader sends a heartbeat, in milliseconds.
    pub heartbeat_ms: u64,
    /// Bounds of the election timeout: how long a follower waits for its leader.
    pub election_timeout: ElectionTimeout,
    /// Largest value accepted, in bytes.
    pub value_bytes_max: usize,
    /// Growth of the log, in bytes, after which a snapshot replaces its beginning.
    pub snapshot_log_bytes: u64,
    /// Limits of the node's store.
    pub store: StoreLimits,
    /// Largest transaction, in bytes as it is in the log.
    pub txn_bytes_max: usize,
    /// Streams and waits of clients at the same time.
    pub streams_max: usize,
    /// The newest level that the node may know.
    pub level_max: u32,
    /// Limit of the operating system on files and connections that the node may have open at the same time.
    pub open_files: u64,
}

/// Default silence after which a leader sends a heartbeat. Milliseconds.
pub const HEARTBEAT_MS: u64 = 75;

/// Default election timeout of followers.
pub const ELECTION_TIMEOUT: ElectionTimeout = ElectionTimeout { min_ms: 150, max_ms: 300 };

/// Default for the largest value. Bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Default for the largest transaction. Bytes.
pub const TXN_BYTES_MAX: usize = 2 << 20;

/// Default growth of the log from one snapshot to the next. Bytes.
pub const SNAPSHOT_LOG_BYTES: u64 = 64 << 20;

/// Least growth from one snapshot to the next. More frequent snapshots cost more than they save. Bytes.
const SNAPSHOT_LOG_BYTES_MIN: u64 = 64 << 10;

/// Time after which a request without an answer ends as `timeout`. Milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 5_000;

impl Options {
    /// Returns the options for a node with these members and its log on disk. All else has the defaults of the daemon's
    /// flags.
    pub fn new(name: impl Into<String>, listen: impl Into<String>, peers: Vec<String>, data_dir: PathBuf) -> Self {
        Self {
            name: name.into(),
            listen: listen.into(),
            peers,
            join: Vec::new(),
            learner: false,
            data_dir,
            advertise_client_url: None,
            advertise_peer_url: None,
            expect_data: false,
            storage: StorageKind::Disk,
            heartbeat_ms: HEARTBEAT_MS,
            election_timeout: ELECTION_TIMEOUT,
            value_bytes_max: VALUE_BYTES_MAX,
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            store: StoreLimits::default(),
            txn_bytes_max: TXN_BYTES_MAX,
            streams_max: STREAMS_MAX,
            level_max: Level::NEWEST.0,
            open_files: OPEN_FILES_MAX,
        }
    }
}

/// Checked settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the node, unique in its cluster.
    pub name: String,
    /// Addresses to listen on: all addresses of the given name, at least one.
    pub listen: Vec<SocketAddr>,
    /// The other members of the cluster to form.
    pub peers: Vec<Peer>,
    /// URLs of nodes of the cluster to join: origins, without a trailing slash. Empty for a node that forms a cluster.
    pub join: Vec<String>,
    /// True if the node stays a learner in that cluster.
    pub learner: bool,
    /// Data directory of the node.
    pub data_dir: PathBuf,
    /// URL at which clients reach the node: an origin, without a trailing slash.
    pub client_url: String,
    /// URL at which the other nodes reach the node: an origin, without a trailing slash.
    pub peer_url: String,
    /// True if no setting gives `peer_url`, so that it equals the client URL. A URL that the cluster has recorded is
    /// better then; see [`Config::use_recorded`].
    pub is_peer_url_guessed: bool,
    /// True if the node must have data by now. If the data is missing, the node does not found a cluster.
    pub expect_data: bool,
    /// Storage of the log.
    pub storage: StorageKind,
    /// Timings and limits of consensus.
    pub raft: raft::Settings,
    /// Largest value accepted, in bytes.
    pub value_bytes_max: usize,
    /// Growth of the log, in bytes, after which a snapshot replaces its beginning.
    pub snapshot_log_bytes: u64,
    /// Limits of the node's store.
    pub store: StoreLimits,
    /// Largest transaction, in bytes as it is in the log.
    pub txn_bytes_max: usize,
    /// Streams and waits of clients at the same time.
    pub streams_max: usize,
    /// The newest level that the node knows, or is set to know.
    pub level_max: Level,
    /// Files and connections that the node may have open at the same time.
    pub open_files: u64,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name of the node.
    pub name: String,
    /// URL at which the node is dialled: an origin, without a trailing slash.
    pub url: String,
}

/// Invalid setting; the message names the flag.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The setting has to be changed.
    #[error("{0}")]
    Wrong(String),
    /// The setting may become valid later: something that it names does not exist yet.
    #[error("{0}")]
    NotYet(String),
}

impl Config {
    /// Checks the settings of a node.
    ///
    /// # Errors
    /// The first invalid setting, in a sentence that names its flag.
    pub fn check(options: Options) -> Result<Self, ConfigError> {
        check_name("--name", &options.name)?;
        let listen = resolve(&options.listen)?;
        let first = listen[0];
        let peers = check_peers(&options.name, &options.peers)?;
        let join = check_join(&options)?;
        let own_url = peers.iter().find(|peer| peer.name == options.name).map(|peer| peer.url.clone());
        let client_url = match &options.advertise_client_url {
            Some(url) => check_url("--advertise-client-url", url)?,
            None => own_url.clone().unwrap_or_else(|| format!("http://{first}")),
        };
        let undialable = !is_dialable(first);
        if undialable && options.advertise_client_url.is_none() && options.peers.is_empty() {
            return Err(ConfigError::Wrong(format!(
                "--listen {first} is not an address that a client can connect to: set --advertise-client-url"
            )));
        }
        // Clients may come from outside, through an address that means nothing to the other nodes. So the listen
        // address is the better guess, if other machines can reach it.
        let is_own_machine_alone = first.ip().is_loopback() && options.advertise_client_url.is_some();
        let (peer_url, is_peer_url_guessed) = match (&options.advertise_peer_url, own_url) {
            (Some(url), _) => (check_url("--advertise-peer-url", url)?, false),
            (None, Some(url)) => (url, false),
            (None, None) if undialable || is_own_machine_alone => (client_url.clone(), true),
            (None, None) => (format!("http://{first}"), false),
        };
        let ElectionTimeout { min_ms, max_ms } = options.election_timeout;
        if !(1..=HEARTBEAT_MS_LIMIT).contains(&options.heartbeat_ms) {
            return Err(ConfigError::Wrong(format!(
                "--heartbeat-ms {}: choose between 1 and {HEARTBEAT_MS_LIMIT}",
                options.heartbeat_ms
            )));
        }
        if min_ms < 2 * options.heartbeat_ms {
            return Err(ConfigError::Wrong(format!(
                "--election-timeout-ms {min_ms}..{max_ms}: one lost heartbeat would start an election; begin at \
                 twice --heartbeat-ms ({}) or more",
                options.heartbeat_ms
            )));
        }
        if max_ms <= min_ms || max_ms > ELECTION_TIMEOUT_MS_LIMIT {
            return Err(ConfigError::Wrong(format!(
                "--election-timeout-ms {min_ms}..{max_ms}: the second number must be larger than the first (usually \
                 twice as large), so that followers time out at different moments, and at most \
                 {ELECTION_TIMEOUT_MS_LIMIT}"
            )));
        }
        if options.snapshot_log_bytes < SNAPSHOT_LOG_BYTES_MIN {
            return Err(ConfigError::Wrong(format!(
                "--snapshot-log-bytes {}: choose at least {SNAPSHOT_LOG_BYTES_MIN}, or the node takes snapshots \
                 without a pause",
                options.snapshot_log_bytes
            )));
        }
        if options.value_bytes_max == 0 || options.value_bytes_max > VALUE_BYTES_LIMIT {
            return Err(ConfigError::Wrong(format!(
                "--max-value-bytes {}: choose between 1 and {VALUE_BYTES_LIMIT}",
                options.value_bytes_max
            )));
        }
        let level_max = Level(options.level_max);
        if !(Level::FIRST..=Level::NEWEST).contains(&level_max) {
            return Err(ConfigError::Wrong(format!(
                "--level-max {level_max}: this kvd supports levels {} to {}",
                Level::FIRST,
                Level::NEWEST
            )));
        }
        if options.open_files < OPEN_FILES_MIN {
            return Err(ConfigError::Wrong(format!(
                "the limit on open files is {}, and kvd needs at least {OPEN_FILES_MIN}: raise it (`ulimit -n` of a \
                 shell, LimitNOFILE= of systemd, --ulimit of a container)",
                options.open_files
            )));
        }
        let raft = raft::Settings {
            heartbeat_ms: options.heartbeat_ms,
            election_timeout_min_ms: min_ms,
            election_timeout_max_ms: max_ms,
            ..raft::Settings::default()
        };
        let others = peers.into_iter().filter(|peer| peer.name != options.name).collect();
        Ok(Self {
            name: options.name,
            listen,
            peers: others,
            join,
            learner: options.learner,
            data_dir: options.data_dir,
            client_url,
            peer_url,
            is_peer_url_guessed,
            expect_data: options.expect_data,
            storage: options.storage,
            raft,
            value_bytes_max: options.value_bytes_max,
            snapshot_log_bytes: options.snapshot_log_bytes,
            store: options.store,
            txn_bytes_max: options.txn_bytes_max,
            streams_max: options.streams_max,
            level_max,
            open_files: options.open_files,
        })
    }

    /// Adopts the peer URL that the cluster has recorded for this node, if no setting gives one: the client URL may
    /// work for clients alone. A node that is recorded with one URL for both keeps following its client URL.
    pub fn use_recorded(&mut self, recorded: &MemberInfo) {
        if self.is_peer_url_guessed && recorded.peer_url != recorded.client_url {
            self.peer_url.clone_from(&recorded.peer_url);
        }
    }

    /// Returns the URLs of the other configured members.
    pub fn peer_urls(&self) -> Vec<String> {
        self.peers.iter().map(|peer| peer.url.clone()).collect()
    }

    /// Returns the names of all configured members, including this node.
    pub fn member_names(&self) -> BTreeSet<&str> {
        self.peers.iter().map(|peer| peer.name.as_str()).chain([self.name.as_str()]).collect()
    }
}

fn check_name(flag: &str, name: &str) -> Result<(), ConfigError> {
    naming::check_name(name).map_err(|why| ConfigError::Wrong(format!("{flag} {name:?}: {why}")))
}

/// Returns true if a node that listens here can be reached here: not for an address that stands for all addresses of its
/// machine, nor for any port.
pub(crate) fn is_dialable(listen: SocketAddr) -> bool {
    !listen.ip().is_unspecified() && listen.port() != 0
}

/// Returns all addresses of a name. `localhost` always has two, whatever is configured for it (RFC 6761 §6.3). The
/// first one stands for the node in everything that clients are told.
fn resolve(listen: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let parts = listen.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let Some((host, port)) = parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) else {
        return Err(ConfigError::Wrong(format!(
            "--listen {listen}: expected an address and a port, such as 127.0.0.1:8081"
        )));
    };
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let not_yet = |why: &str| ConfigError::NotYet(format!("--listen {listen}: this host name has no address{why}"));
    let found = listen.to_socket_addrs().map_err(|cause| not_yet(&format!(" ({cause})")))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(not_yet("")) } else { Ok(addresses) }
}

fn check_peers(name: &str, peers: &[String]) -> Result<Vec<Peer>, ConfigError> {
    let mut checked: Vec<Peer> = Vec::new();
    for peer in peers.iter().map(|peer| peer.trim()).filter(|peer| !peer.is_empty()) {
        let Some((peer_name, url)) = peer.split_once('=') else {
            return Err(ConfigError::Wrong(format!(
                "--peers {peer}: expected name=URL, such as node2=http://127.0.0.1:8082"
            )));
        };
        check_name("--peers", peer_name)?;
        if !url.contains("://") {
            return Err(ConfigError::Wrong(format!("--peers needs URLs: {peer_name}=http://{url}")));
        }
        let url = check_url("--peers", url)?;
        if checked.iter().any(|other| other.name == peer_name) {
            return Err(ConfigError::Wrong(format!("--peers names {peer_name} twice: each node needs its own name")));
        }
        if let Some(other) = checked.iter().find(|other| other.url == url) {
            return Err(ConfigError::Wrong(format!(
                "--peers gives {} and {peer_name} the same URL {url}: each node needs its own URL",
                other.name
            )));
        }
        checked.push(Peer { name: peer_name.to_owned(), url });
    }
    if !checked.is_empty() && !checked.iter().any(|peer| peer.name == name) {
        let names: Vec<_> = checked.iter().map(|peer| peer.name.as_str()).collect();
        return Err(ConfigError::Wrong(format!(
            "--peers lists {} but not this node, --name {name}: it must list every member, this one included",
            names.join(", ")
        )));
    }
    if checked.len() > PEERS_MAX {
        return Err(ConfigError::Wrong(format!("--peers lists {} nodes: at most {PEERS_MAX} can vote", checked.len())));
    }
    Ok(checked)
}

fn check_join(options: &Options) -> Result<Vec<String>, ConfigError> {
    let urls = options.join.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
    let urls: Vec<String> = urls.map(|url| check_url("--join", url)).collect::<Result<_, _>>()?;
    if !urls.is_empty() && !options.peers.is_empty() {
        return Err(ConfigError::Wrong(
            "--join and --peers exclude each other: --peers lists the nodes that form a new cluster, --join names a \
             node of an existing one"
                .into(),
        ));
    }
    if options.learner && urls.is_empty() {
        return Err(ConfigError::Wrong(
            "--learner is for nodes that join a cluster: give the URL of one of its nodes, such as --join \
             http://10.0.0.1:8081"
                .into(),
        ));
    }
    Ok(urls)
}

fn check_url(flag: &str, text: &str) -> Result<String, ConfigError> {
    naming::origin(text).map_err(|why| ConfigError::Wrong(format!("{flag} {text}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let peers = vec!["node1=http://127.0.0.1:8081".into(), "node2=http://127.0.0.1:8082/".into()];
        Options::new("node1", "127.0.0.1:8081", peers, "data".into())
    }

    #[test]
    fn urls_default_to_what_the_peers_call_this_node() {
        let config = Config::check(options()).unwrap();
        assert_eq!(
            (config.client_url.as_str(), config.peer_url.as_str()),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081")
        );
        assert_eq!(config.peers, [Peer { name: "node2".into(), url: "http://127.0.0.1:8082".into() }]);
        let advertised = Options { advertise_client_url: Some("http://localhost:9".into()), ..options() };
        let config = Config::check(advertised).unwrap();
        assert_eq!(
            (config.client_url.as_str(), config.peer_url.as_str()),
            ("http://localhost:9", "http://127.0.0.1:8081")
        );
        assert!(!config.is_peer_url_guessed);
        let alone = Config::check(Options { peers: Vec::new(), ..options() }).unwrap();
        assert_eq!((alone.client_url.as_str(), alone.peers.len()), ("http://127.0.0.1:8081", 0));
    }

    #[test]
    fn where_no_setting_gives_a_peer_url_the_recorded_one_is_better_than_the_client_url() {
        let recorded =
            MemberInfo { name: "node1".into(), client_url: "http://c:1".into(), peer_url: "http://p:1".into() };
        let public = Some("http://public:9".to_owned());
        let alone = |listen: &str| Options {
            advertise_client_url: public.clone(),
            ..Options::new("node1", listen, Vec::new(), "data".into())
        };
        for (options, without_data, with_data) in [
            (alone("0.0.0.0:8080"), "http://public:9", "http://p:1"),
            (alone("[::]:8080"), "http://public:9", "http://p:1"),
            (alone("127.0.0.1:8080"), "http://public:9", "http://p:1"),
            // Other machines reach the address directly.
            (alone("192.0.2.7:8080"), "http://192.0.2.7:8080", "http://192.0.2.7:8080"),
            (
                Options { advertise_peer_url: Some("http://q:1".into()), ..alone("0.0.0.0:8080") },
                "http://q:1",
                "http://q:1",
            ),
            (
                Options { advertise_client_url: public.clone(), ..options() },
                "http://127.0.0.1:8081",
                "http://127.0.0.1:8081",
            ),
        ] {
            let mut config = Config::check(options).unwrap();
            assert_eq!(config.peer_url, without_data, "{config:?}");
            config.use_recorded(&recorded);
            assert_eq!((config.peer_url.as_str(), config.client_url.as_str()), (with_data, "http://public:9"));
        }
        let one_for_both = MemberInfo { peer_url: recorded.client_url.clone(), ..recorded };
        let mut config = Config::check(alone("0.0.0.0:8080")).unwrap();
        config.use_recorded(&one_for_both);
        assert_eq!(config.peer_url, "http://public:9", "it has moved");
    }

    #[test]
    fn what_will_not_do_is_refused_with_the_name_of_its_flag() {
        let peers = |peers: &[&str]| peers.iter().map(|peer| (*peer).to_owned()).collect::<Vec<_>>();
        let cases = [
            (Options { name: "node 1".into(), ..options() }, "--name \"node 1\""),
            (Options { name: String::new(), ..options() }, "--name \"\""),
            (Options { name: "node3".into(), ..options() }, "not this node, --name node3"),
            (Options { listen: "8081".into(), ..options() }, "--listen 8081: expected an address and a port"),
            (Options { peers: peers(&["node1"]), ..options() }, "--peers node1: expected name=URL"),
            (Options { peers: peers(&["node1=ftp://a:1"]), ..options() }, "only http:// is served"),
            (Options { peers: peers(&["node1=http://a:1/x"]), ..options() }, "without a path"),
            (Options { peers: peers(&["n1=127.0.0.1:1"]), ..options() }, "--peers needs URLs: n1=http://127.0.0.1:1"),
            (Options { peers: peers(&["node1=http://a:1", "node1=http://b:1"]), ..options() }, "names node1 twice"),
            (Options { peers: peers(&["node1=http://a:1", "node2=http://a:1"]), ..options() }, "the same URL"),
            (Options { peers: peers(&["node1=http://0.0.0.0:1"]), ..options() }, "all addresses of a machine"),
            (Options { peers: peers(&["node1=http://a:0"]), ..options() }, "port 0"),
            (Options { advertise_client_url: Some("x".into()), ..options() }, "--advertise-client-url x"),
            (Options { advertise_peer_url: Some("x".into()), ..options() }, "--advertise-peer-url x"),
            (Options { heartbeat_ms: 0, ..options() }, "--heartbeat-ms 0"),
            (Options { heartbeat_ms: u64::MAX / 2 + 1, ..options() }, "--heartbeat-ms 9223372036854775808"),
            (Options { heartbeat_ms: 100, ..options() }, "twice --heartbeat-ms (100)"),
            (
                Options { election_timeout: ElectionTimeout { min_ms: 300, max_ms: 300 }, ..options() },
                "--election-timeout-ms 300..300",
            ),
            (Options { value_bytes_max: 0, ..options() }, "--max-value-bytes 0"),
            (Options { snapshot_log_bytes: 65_535, ..options() }, "--snapshot-log-bytes 65535: choose at least 65536"),
            (Options { value_bytes_max: (8 << 20) + 1, ..options() }, "choose between 1 and 8388608"),
            (Options { join: vec!["http://a:1".into()], ..options() }, "--join and --peers exclude each other"),
            (Options { join: vec!["a:1".into()], peers: Vec::new(), ..options() }, "--join a:1: "),
            (Options { open_files: 95, ..options() }, "kvd needs at least 96: raise it"),
            (Options { learner: true, ..options() }, "give the URL of one of its nodes"),
            (Options { peers: Vec::new(), listen: "0.0.0.0:8081".into(), ..options() }, "set --advertise-client-url"),
        ];
        for (options, expected) in cases {
            let error = Config::check(options).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }

    #[test]
    fn localhost_is_all_of_its_addresses_and_known_by_the_one_that_every_machine_has() {
        for name in ["localhost", "LocalHost"] {
            let config = Config::check(Options::new("n", format!("{name}:8081"), Vec::new(), "data".into())).unwrap();
            assert_eq!(config.listen, ["127.0.0.1:8081".parse().unwrap(), "[::1]:8081".parse().unwrap()]);
            assert_eq!(config.client_url, "http://127.0.0.1:8081");
        }
    }

    #[test]
    fn a_name_without_an_address_may_have_one_later_and_what_is_none_never_has() {
        // A part of a name has at most 63 letters, so no resolver is asked for this one.
        let nowhere = format!("{}:8081", "n".repeat(64));
        for (listen, may_come) in [(nowhere.as_str(), true), ("8081", false), (":8081", false), ("a:b", false)] {
            let refused = Config::check(Options { listen: listen.into(), ..options() }).expect_err(listen);
            assert_eq!(matches!(refused, ConfigError::NotYet(_)), may_come, "{refused}");
            assert!(refused.to_string().starts_with(&format!("--listen {listen}: ")), "{refused}");
        }
    }

    #[test]
    fn an_election_timeout_is_two_numbers() {
        assert_eq!("150..300".parse(), Ok(ELECTION_TIMEOUT));
        for text in ["150", "150..", "a..b", ""] {
            assert!(text.parse::<ElectionTimeout>().is_err(), "{text}");
        }
    }
}
