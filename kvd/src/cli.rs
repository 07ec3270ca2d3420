//! Flags and environment of the daemon.

use crate::config::{self, Config, ConfigError, ElectionTimeout, Options, StorageKind};
use crate::kv::{HistoryLimits, Level, StoreLimits};
use crate::logging::LogFormat;
use crate::memory;
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Exit codes of the daemon, for supervisors.
pub mod exit_code {
    /// Stopped as asked.
    pub const DONE: u8 = 0;
    /// Any other error, such as an address that is missing or in use: starting again may help.
    pub const FAILED: u8 = 1;
    /// An invalid flag, environment variable or setting; starting again does not help.
    pub const USAGE: u8 = 2;
    /// The data directory or the disk beneath it cannot be used or has failed.
    pub const STORAGE: u8 = 3;
    /// Ended by a second signal before it had stopped; every acknowledged write is on disk.
    pub const INTERRUPTED: u8 = 130;
}

/// Default listen address of a node.
pub(crate) const LISTEN: &str = "127.0.0.1:8081";

const ABOUT: &str = "A replicated key-value store. Run three nodes; lose any one and keep every acknowledged write.";

const EXAMPLES: &str = "\
Try it on this machine, three nodes:
  kvd dev

Run one node of three, the same --peers on each:
  kvd --name node1 --listen 10.0.0.1:8081 --data-dir /var/lib/kvd \\
      --peers node1=http://10.0.0.1:8081,node2=http://10.0.0.2:8081,node3=http://10.0.0.3:8081

Add a fourth node; --join may name any of the three:
  kvd --name node4 --listen 10.0.0.4:8081 --data-dir /var/lib/kvd --join http://10.0.0.1:8081

Restore a backup, or recover the data of a remaining node of a lost cluster:
  kvd restore --help
  kvd recover --help

Run a single node without replication:
  kvd --name solo --data-dir solo-data

Every flag can also be set as an environment variable (KVD_NAME=node1 ...); an empty variable is
ignored. Logs go to standard error and are filtered by RUST_LOG (error, warn, info, debug, trace).
Lines that are not read in time are dropped, and the log says how many.

Exit codes:
  0  stopped as asked
  1  any other error, such as an address that is missing or in use; restarting may help
  2  invalid flag or setting: restarting does not help
  3  the data directory or its disk cannot be used or has failed
  130  ended by a second SIGINT or SIGTERM before it had stopped";

/// The command line of `kvd`.
#[derive(Debug, Parser)]
#[command(name = "kvd", version, about = ABOUT, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) node: NodeArgs,

    /// Format of the log on standard error.
    #[arg(long, env = "KVD_LOG_FORMAT", value_enum, default_value_t, global = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine to try it out: one process per node, restarted when it ends.
    Dev(DevArgs),
    /// Restore a backup into a new cluster of one node.
    Restore(RestoreArgs),
    /// Recover the data of one node of a lost cluster into a new cluster.
    Recover(RecoverArgs),
}

const RESTORE_HELP: &str = "\
The backup comes from `kvctl snapshot save`. Every byte is checked before anything is written, and
the directory gets all of it or nothing: after an interruption, run the command again.

This makes a new cluster of this node alone. Keys and their revisions are as in the backup, and
retried requests are still recognized. Nodes of the old cluster can join with empty directories,
never with their old data.

Restore, start, and let others join:
  kvd restore kvd.snap --name node1 --listen 10.0.0.1:8081 --data-dir /var/lib/kvd
  kvd --name node1 --listen 10.0.0.1:8081 --data-dir /var/lib/kvd
  kvd --name node2 --listen 10.0.0.2:8081 --data-dir /var/lib/kvd --join http://10.0.0.1:8081";

/// Flags of `kvd restore`.
#[derive(Debug, Args)]
#[command(after_help = RESTORE_HELP)]
pub(crate) struct RestoreArgs {
    /// The backup, as `kvctl snapshot save` has written it. `-` reads it from standard input.
    pub(crate) file: PathBuf,

    /// An empty directory, or one that does not exist yet.
    #[arg(long, env = "KVD_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,

    /// Name of the node.
    #[arg(long, env = "KVD_NAME")]
    pub(crate) name: String,

    /// Address that the node will listen on.
    #[arg(long, env = "KVD_LISTEN", value_name = "ADDRESS:PORT", default_value = LISTEN)]
    pub(crate) listen: String,

    #[command(flatten)]
    pub(crate) urls: UrlArgs,
}

/// URLs of the node that a new cluster begins with.
#[derive(Debug, Args)]
pub(crate) struct UrlArgs {
    /// URL at which clients will reach it, if that is not the address it listens on.
    #[arg(long, env = "KVD_ADVERTISE_CLIENT_URL", value_name = "URL")]
    pub(crate) advertise_client_url: Option<String>,

    /// URL at which the other nodes will reach it, if that is not the address it listens on.
    #[arg(long, env = "KVD_ADVERTISE_PEER_URL", value_name = "URL")]
    pub(crate) advertise_peer_url: Option<String>,

    /// The members of the cluster that is lost. Only this node's own URL is taken from the list.
    #[arg(long, env = "KVD_PEERS", value_name = "NAME=URL,...", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
}

const RECOVER_HELP: &str = "\
Use this only when a majority of the cluster is permanently lost. If the majority may come back,
wait for it: it has every acknowledged write. If you have a backup that is newer than the data of
this node, restore the backup instead.

The command shows what the node has and what may be lost, and asks before it changes anything. It
makes a new cluster of this node alone, as a voter. The old data is kept in files in the same
directory, so the disk needs room for the data twice. After an interruption the directory holds
the old data or the new cluster: run the command again.

If several nodes remain, recover the one whose log ends last: compare the term first, then the
entry. Without --yes and without a terminal, the command shows this and changes nothing.

Recover, start without --peers, and let others join:
  kvd recover --data-dir /var/lib/kvd
  kvd --name node3 --listen 10.0.0.3:8081 --data-dir /var/lib/kvd
  kvd --name node1 --listen 10.0.0.1:8081 --data-dir /var/lib/kvd --join http://10.0.0.3:8081";

/// Flags of `kvd recover`.
#[derive(Debug, Args)]
#[command(after_help = RECOVER_HELP)]
pub(crate) struct RecoverArgs {
    /// Data directory of the node, which must not run.
    #[arg(long, env = "KVD_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,

    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,

    /// Address that the node will listen on, if it changes.
    #[arg(long, env = "KVD_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,

    #[command(flatten)]
    pub(crate) urls: UrlArgs,
}

/// Flags of `kvd dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Number of nodes.
    #[arg(long, env = "KVD_DEV_NODES", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: u16,

    /// The first node listens on this port of 127.0.0.1, the others on the ports after it.
    #[arg(long, env = "KVD_DEV_BASE_PORT", default_value_t = 8081, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) base_port: u16,

    /// Directory for the nodes' data, a subdirectory for each. A later start finds the data there.
    #[arg(long, env = "KVD_DEV_DATA_DIR", default_value = "kvd-data")]
    pub(crate) data_dir: PathBuf,
}

/// Flags of a single node.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Name of this node. It is unique in the cluster and belongs to the data: keep it as long as you keep the data.
    #[arg(long, env = "KVD_NAME")]
    name: Option<String>,

    /// Address and port to listen on, for clients and the other nodes. The default is reachable from this machine only.
    /// A host name stands for all its addresses: localhost for 127.0.0.1 and ::1. kvd waits for an address that does
    /// not exist yet, as while a machine boots.
    #[arg(long, env = "KVD_LISTEN", value_name = "ADDRESS:PORT", default_value = LISTEN)]
    listen: String,

    /// All members of the cluster, this one included; the same list on each. They form the cluster once each has heard
    /// from every other. Without this flag the node is a cluster of one.
    #[arg(long, env = "KVD_PEERS", value_name = "NAME=URL,...", value_delimiter = ',')]
    peers: Vec<String>,

    /// Client URLs of nodes of an existing cluster (one is enough), to join it with an empty data directory. The node
    /// is added as a learner, catches up, and then becomes a voter by itself. Ignored once the node is a member. Use
    /// instead of --peers.
    #[arg(long, env = "KVD_JOIN", value_name = "URL,...", value_delimiter = ',')]
    join: Vec<String>,

    /// With --join: stay a learner, a replica for reads that has all data and does not vote.
    #[arg(long, env = "KVD_LEARNER", value_parser = BoolishValueParser::new())]
    learner: bool,

    /// Directory for the node's data. No other node may use it.
    #[arg(long, env = "KVD_DATA_DIR", value_name = "DIR", default_value = "kvd-data")]
    data_dir: PathBuf,

    /// The node has had data before: set this once the cluster has formed. If the data is missing, for example because
    /// a volume is not mounted, the node waits and says so instead of forming a new, empty cluster. It still rejoins an
    /// existing cluster by itself.
    #[arg(long, env = "KVD_EXPECT_DATA", value_parser = BoolishValueParser::new())]
    expect_data: bool,

    /// URL at which clients reach this node, for redirects. The default is its URL in --peers, or else the address it
    /// listens on.
    #[arg(long, env = "KVD_ADVERTISE_CLIENT_URL", value_name = "URL")]
    advertise_client_url: Option<String>,

    /// URL at which the other nodes reach this node. The default is its URL in --peers; without --peers it is the
    /// address it listens on, or, where that is all addresses (0.0.0.0), the URL that the cluster has recorded for it.
    #[arg(long, env = "KVD_ADVERTISE_PEER_URL", value_name = "URL")]
    advertise_peer_url: Option<String>,

    /// Storage of the log. With `memory` a node that stops loses its data. It rejoins by itself as a new member
    /// under its name, and the cluster keeps every acknowledged write as long as a majority never stops at the same
    /// time.
    #[arg(long, env = "KVD_STORAGE", value_enum, default_value_t)]
    storage: StorageKind,

    /// Time between heartbeats of an idle leader.
    #[arg(long, env = "KVD_HEARTBEAT_MS", value_name = "MS", default_value_t = config::HEARTBEAT_MS)]
    heartbeat_ms: u64,

    /// Time that a follower waits for its leader before it starts an election: each time a random value between the
    /// two. At least two heartbeats; more on slow networks.
    #[arg(long, env = "KVD_ELECTION_TIMEOUT_MS", value_name = "MIN..MAX", default_value_t = config::ELECTION_TIMEOUT)]
    election_timeout_ms: ElectionTimeout,

    /// Largest value accepted, in bytes.
    #[arg(long, env = "KVD_MAX_VALUE_BYTES", value_name = "BYTES", default_value_t = config::VALUE_BYTES_MAX)]
    max_value_bytes: usize,

    /// Snapshot and truncate the log after it has grown by this many bytes, or by the size of the last snapshot if that
    /// is larger.
    #[arg(long, env = "KVD_SNAPSHOT_LOG_BYTES", value_name = "BYTES", default_value_t = config::SNAPSHOT_LOG_BYTES)]
    snapshot_log_bytes: u64,

    /// Memory for the history: the recent changes, for reads of the past and for watches.
    #[arg(long, env = "KVD_HISTORY_BYTES", value_name = "BYTES", default_value_t = HistoryLimits::default().bytes_max)]
    history_bytes: u64,

    /// Time after which the history forgets a change.
    #[arg(long, env = "KVD_HISTORY_AGE", value_name = "TIME", default_value = "1h")]
    history_age: humantime::Duration,

    /// Memory for the data beyond which this node, when it leads, accepts only writes that add nothing. The default is
    /// 60 % of the memory that the process may use.
    #[arg(long, env = "KVD_MAX_STORE_BYTES", value_name = "BYTES")]
    max_store_bytes: Option<u64>,

    /// Memory for clients that read long lists: it keeps what they have yet to read, even once it has changed and the
    /// history has forgotten it. When it is full, the list at the oldest revision ends with an error.
    #[arg(long, env = "KVD_READER_BYTES", value_name = "BYTES", default_value_t = StoreLimits::default().reader_bytes_max)]
    reader_bytes: u64,

    /// Largest transaction accepted, in bytes: its keys and values, and a few bytes for each operation.
    #[arg(long, env = "KVD_MAX_TXN_BYTES", value_name = "BYTES", default_value_t = config::TXN_BYTES_MAX)]
    max_txn_bytes: usize,

    /// Most watches, streams and waiting requests of clients at the same time; more are refused. They leave a quarter
    /// of the connections to other requests.
    #[arg(long, env = "KVD_MAX_STREAMS", value_name = "NUMBER", default_value_t = config::STREAMS_MAX)]
    max_streams: usize,

    /// The newest level that this node supports; the default is the newest of this version. The data of a cluster has a
    /// level, which rises by itself once every member supports the next one, and is never lowered. Until then a node
    /// can go back to the previous version of kvd. To keep that possible for longer, set this to the present level (see
    /// GET /health) on one node.
    #[arg(long, env = "KVD_LEVEL_MAX", value_name = "N", default_value_t = Level::NEWEST.0)]
    level_max: u32,

    /// Stop with the whole cluster once standard input ends. For `kvd dev`, which holds the other end of a pipe.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

/// Part of the memory that the process may use, in percent, that the data may take: the rest is for requests, the
/// history and the log.
const STORE_MEMORY_PERCENT: u64 = 60;

fn default_store_bytes() -> u64 {
    memory::usable_bytes().map_or(u64::MAX, |bytes| bytes / 100 * STORE_MEMORY_PERCENT)
}

impl NodeArgs {
    /// Checks the flags. `open_files` is what the operating system allows.
    ///
    /// # Errors
    /// See [`Config::check`].
    pub(crate) fn config(self, open_files: u64) -> Result<Config, ConfigError> {
        let Some(name) = self.name else {
            let sentence = "--name is missing: give this node a name, such as --name node1 (or try `kvd dev`)";
            return Err(ConfigError::Wrong(sentence.into()));
        };
        let options = Options {
            name,
            listen: self.listen,
            peers: self.peers,
            join: self.join,
            learner: self.learner,
            data_dir: self.data_dir,
            advertise_client_url: self.advertise_client_url,
            advertise_peer_url: self.advertise_peer_url,
            expect_data: self.expect_data,
            storage: self.storage,
            heartbeat_ms: self.heartbeat_ms,
            election_timeout: self.election_timeout_ms,
            value_bytes_max: self.max_value_bytes,
            snapshot_log_bytes: self.snapshot_log_bytes,
            store: StoreLimits {
                history: HistoryLimits {
                    bytes_max: self.history_bytes,
                    age_ms_max: u64::try_from(self.history_age.as_millis()).unwrap_or(u64::MAX),
                    ..HistoryLimits::default()
                },
                reader_bytes_max: self.reader_bytes,
                state_bytes_max: self.max_store_bytes.unwrap_or_else(default_store_bytes),
            },
            txn_bytes_max: self.max_txn_bytes,
            streams_max: self.max_streams,
            level_max: self.level_max,
            open_files,
        };
        Config::check(options)
    }
}
