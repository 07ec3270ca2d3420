//! Flags and environment of the daemon.

use crate::config::{self, Config, ConfigError, ElectionTimeout, Options, StorageKind};
use crate::kv::Level;
use crate::logging::LogFormat;
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// What the exit code tells a supervisor.
pub mod exit_code {
    /// Stopped as asked.
    pub const DONE: u8 = 0;
    /// Anything that is not one of the others, such as an address that is not there yet or in use: it may do later.
    pub const FAILED: u8 = 1;
    /// A flag, an environment variable or a setting will not do; starting again changes nothing, only the operator can.
    pub const USAGE: u8 = 2;
    /// The data directory or the disk beneath it cannot be used or has failed.
    pub const STORAGE: u8 = 3;
    /// Ended by a second signal before it had stopped; what was acknowledged is on disk.
    pub const INTERRUPTED: u8 = 130;
}

/// Where a node listens if nothing else is said.
pub(crate) const LISTEN: &str = "127.0.0.1:8081";

const ABOUT: &str = "A replicated key-value store: a few machines that agree, and lose nothing.";

const EXAMPLES: &str = "\
Try it on this machine, three nodes in one process:
  kvd dev

Run one node of three, the same --peers on each:
  kvd --name node1 --listen 10.0.0.1:8081 --data-dir /var/lib/kvd \\
      --peers node1=http://10.0.0.1:8081,node2=http://10.0.0.2:8081,node3=http://10.0.0.3:8081

Add a fourth node to them; any of the three may be named:
  kvd --name node4 --listen 10.0.0.4:8081 --data-dir /var/lib/kvd --join http://10.0.0.1:8081

Make a new cluster of a backup, or of what is left of a lost one:
  kvd restore --help
  kvd recover --help

Run a single node without replication:
  kvd --name solo --data-dir solo-data

Every flag can be given as an environment variable (KVD_NAME=node1 ...); one that is empty is not
set. Logs go to standard error and are filtered by RUST_LOG (error, warn, info, debug, trace).
Nobody waits for them: lines that are not read in time are dropped, and counted in the log.

Exit codes:
  0  stopped as asked
  1  any other error; starting again may help, as when an address was not there yet or in use
  2  a flag or setting that will not do: starting again does not help
  3  the data directory or the disk beneath it cannot be used, or has failed
  130  ended at once by a second SIGINT or SIGTERM, before it had stopped";

/// The command line of `kvd`.
#[derive(Debug, Parser)]
#[command(name = "kvd", version, about = ABOUT, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) node: NodeArgs,

    /// How logs are written to standard error.
    #[arg(long, env = "KVD_LOG_FORMAT", value_enum, default_value_t, global = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster in one process on this machine, for trying out.
    Dev(DevArgs),
    /// Make a new cluster of one node from a backup.
    Restore(RestoreArgs),
    /// Make a new cluster of what one node of a lost cluster has.
    Recover(RecoverArgs),
}

const RESTORE_HELP: &str = "\
The backup is one of `kvctl snapshot save`. Every byte of it is checked before anything is
written, and the directory gets all of it or nothing: if it is interrupted, restore again.

The cluster is a new one of this node alone. Keys, their revisions and the requests that clients
may repeat are as they were in the backup. No node of the cluster that it was taken from can be
part of it with its old data; they may join with empty directories.

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

    /// An empty directory, or one that is yet to be made.
    #[arg(long, env = "KVD_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,

    /// Name of the node.
    #[arg(long, env = "KVD_NAME")]
    pub(crate) name: String,

    /// Where it will listen, as it will be told when it starts.
    #[arg(long, env = "KVD_LISTEN", value_name = "ADDRESS:PORT", default_value = LISTEN)]
    pub(crate) listen: String,

    #[command(flatten)]
    pub(crate) urls: UrlArgs,
}

/// URLs of the node that a new cluster begins with.
#[derive(Debug, Args)]
pub(crate) struct UrlArgs {
    /// Where clients will reach it, if that is not the address it listens on.
    #[arg(long, env = "KVD_ADVERTISE_CLIENT_URL", value_name = "URL")]
    pub(crate) advertise_client_url: Option<String>,

    /// Where the other nodes will reach it, if that is not the address it listens on.
    #[arg(long, env = "KVD_ADVERTISE_PEER_URL", value_name = "URL")]
    pub(crate) advertise_peer_url: Option<String>,

    /// The members of the cluster that is lost. Only this node's own URL is taken from the list.
    #[arg(long, env = "KVD_PEERS", value_name = "NAME=URL,...", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
}

const RECOVER_HELP: &str = "\
For when a majority of a cluster is lost for ever. Where it may come back, wait for it instead:
it has everything. Where there is a backup of later than the loss of this node, restore that.

It says what the node has and what may be lost, and asks before it changes anything. The cluster
is a new one of this node alone, a voter whatever it was before. What was there is kept in files
beside it, so there must be room for the data once more. If it is interrupted, the directory
holds the old data or the new cluster: recover again.

If several nodes are left, recover the one whose log ends last: by term first, by entry then.
Without --yes and without a terminal, the command shows that and changes nothing.

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

    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,

    /// Where it will listen, if that is another address than before.
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

    /// Where the nodes keep their data, each in a directory of its own. Starting again finds it.
    #[arg(long, env = "KVD_DEV_DATA_DIR", default_value = "kvd-data")]
    pub(crate) data_dir: PathBuf,
}

/// Flags of a single node.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Name of this node, unique in its cluster and the same for as long as its data lives.
    #[arg(long, env = "KVD_NAME")]
    name: Option<String>,

    /// Address and port to listen on, for clients and the other nodes. Only this machine can reach the default. A name
    /// stands for all its addresses: localhost for 127.0.0.1 and ::1. One that is not there yet, as while a machine
    /// boots, is waited for.
    #[arg(long, env = "KVD_LISTEN", value_name = "ADDRESS:PORT", default_value = LISTEN)]
    listen: String,

    /// All members of the cluster, this one included, the same list on each. They form a cluster as soon as each
    /// has heard from every other. Without it the node is a cluster of one.
    #[arg(long, env = "KVD_PEERS", value_name = "NAME=URL,...", value_delimiter = ',')]
    peers: Vec<String>,

    /// Client URLs of nodes of a cluster that exists (one is enough), to join it with an empty data directory. The node
    /// is added as a learner, catches up, and then votes, without anyone's help. Once it is a member this says nothing
    /// more. Instead of --peers.
    #[arg(long, env = "KVD_JOIN", value_name = "URL,...", value_delimiter = ',')]
    join: Vec<String>,

    /// With --join: stay a learner, which has all data and counts for no majority: a replica for reads.
    #[arg(long, env = "KVD_LEARNER", value_parser = BoolishValueParser::new())]
    learner: bool,

    /// Where the node keeps its data. No other node may use it.
    #[arg(long, env = "KVD_DATA_DIR", value_name = "DIR", default_value = "kvd-data")]
    data_dir: PathBuf,

    /// The node has had data before: set this once the cluster has formed. If the data is missing then, a volume that is
    /// not mounted for one, the node waits and says so, and no new, empty cluster is founded with it. It still returns by
    /// itself to a cluster that is there.
    #[arg(long, env = "KVD_EXPECT_DATA", value_parser = BoolishValueParser::new())]
    expect_data: bool,

    /// Where clients reach this node, for redirects. The default is its URL in --peers, or else the address it listens on.
    #[arg(long, env = "KVD_ADVERTISE_CLIENT_URL", value_name = "URL")]
    advertise_client_url: Option<String>,

    /// Where the other nodes reach this node. The default is its URL in --peers; without --peers it is the address it
    /// listens on, or, where that is all addresses (0.0.0.0), the URL that the cluster has recorded for it.
    #[arg(long, env = "KVD_ADVERTISE_PEER_URL", value_name = "URL")]
    advertise_peer_url: Option<String>,

    /// Where the log is kept. With `memory` a node that stops has lost its data; it comes back by itself as a new
    /// member in its own place, and the cluster keeps what it acknowledged as long as a majority never stops at the
    /// same time.
    #[arg(long, env = "KVD_STORAGE", value_enum, default_value_t)]
    storage: StorageKind,

    /// Silence after which a leader sends a heartbeat.
    #[arg(long, env = "KVD_HEARTBEAT_MS", value_name = "MS", default_value_t = config::HEARTBEAT_MS)]
    heartbeat_ms: u64,

    /// How long a follower waits for its leader before it stands for election, drawn anew each time between the
    /// two. At least two heartbeats; more on slow networks.
    #[arg(long, env = "KVD_ELECTION_TIMEOUT_MS", value_name = "MIN..MAX", default_value_t = config::ELECTION_TIMEOUT)]
    election_timeout_ms: ElectionTimeout,

    /// Largest value accepted, in bytes.
    #[arg(long, env = "KVD_MAX_VALUE_BYTES", value_name = "BYTES", default_value_t = config::VALUE_BYTES_MAX)]
    max_value_bytes: usize,

    /// Bytes that the log grows by until a snapshot takes the place of its beginning. It grows by at least the size of
    /// the last snapshot, so that what snapshots cost stays in proportion.
    #[arg(long, env = "KVD_SNAPSHOT_LOG_BYTES", value_name = "BYTES", default_value_t = config::SNAPSHOT_LOG_BYTES)]
    snapshot_log_bytes: u64,

    /// The newest level that this node says to know; by default all that it does. The data of a cluster has a level, which
    /// is raised by itself once every member knows the next one, and is never lowered. Until then a node can go back to the
    /// version of kvd before; so set it to the present level (see GET /health) on one node to keep that way open for longer.
    #[arg(long, env = "KVD_LEVEL_MAX", value_name = "N", default_value_t = Level::NEWEST.0)]
    level_max: u32,
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
            level_max: self.level_max,
            open_files,
        };
        Config::check(options)
    }
}
