//! The runtime: the one place where tokio, disk, peers and HTTP meet the pure replica.
//!
//! One task owns the replica and drains its inbox in batches (`replica_task`); one thread writes the
//! log (`log_writer`); one task per peer sends; HTTP handlers only parse, ask and answer. Every
//! queue is bounded, and clients and peers have separate ones, so that no crowd of clients holds up
//! consensus.

mod directory;
mod forming;
mod forwarding;
mod hand_over;
mod inbox;
mod joining;
mod log_writer;
mod membership_news;
mod publisher;
mod replica_task;
mod snapshots;
mod startup;
mod state_exchange;

use crate::config::{Config, REQUEST_TIMEOUT_MS, VALUE_BYTES_LIMIT};
use crate::data::Opened;
use crate::http::{self, ConnectionLimits, Gateway, Limits};
use crate::kv::{KEY_BYTES_MAX, Level, RestoreError};
use crate::node::UnreadableEntry;
use crate::peer::{self, FRAME_BYTES_MAX};
use crate::raft::LogIndex;
use crate::storage::{Disk, StorageError};
use forwarding::Forwarder;
use hand_over::HAND_OVER_TIME_MAX_MS;
use inbox::Event;
use replica_task::ReplicaTask;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};
use warp::Filter;

/// Requests from clients that wait for the replica to take them. When full, the next gets
/// `overloaded`.
const REQUESTS_QUEUED_MAX: usize = 4096;

/// Messages from peers that wait for the replica to take them. When full, connections are not read on.
const PEER_MESSAGES_QUEUED_MAX: usize = 1024;

/// When a node stops, its connections last this much longer than the requests that are waited for. Milliseconds.
const DRAIN_MARGIN_MS: u64 = 1_000;

/// Bytes of an entry beside its key and values: a request id with a client's name, and what encodings add.
const ENTRY_OVERHEAD_BYTES: usize = 1024;

// An entry that does not fit into a frame would be sent again for ever. The largest holds a value, and
// another that a condition compares with.
const _: () = assert!(2 * VALUE_BYTES_LIMIT + KEY_BYTES_MAX + ENTRY_OVERHEAD_BYTES <= FRAME_BYTES_MAX);

/// Connections that wait to be accepted.
const LISTEN_BACKLOG: u32 = 1024;

/// The longest that a node takes to stop. More than a hand-over and requests under way are given to finish; less than
/// supervisors wait before they kill.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(10);

// The replica gives reads this time, and a stop gives it to whoever waits: the usual time of a request.
const _: () = assert!(http::TIMEOUT_DEFAULT.as_millis() == REQUEST_TIMEOUT_MS as u128);

// What a stop waits for must leave time to close the log.
const _: () = assert!(HAND_OVER_TIME_MAX_MS + REQUEST_TIMEOUT_MS + DRAIN_MARGIN_MS < STOP_TIME_MAX.as_millis() as u64);

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("--listen {address}: {cause}{}", listen_hint(.cause))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        cause: io::Error,
    },
    /// The data directory cannot be used.
    #[error("--data-dir {}: {cause}; the directory must be writable for this user", .dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// What is in the data directory cannot be used.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Storage {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        cause: StorageError,
    },
    /// The log holds what this version cannot read.
    #[error("--data-dir {}: {cause}", .dir.display())]
    UnreadableEntry {
        /// The directory.
        dir: PathBuf,
        /// Which entry, and why.
        cause: UnreadableEntry,
    },
    /// The snapshot is undamaged, and this version cannot make a store of it.
    #[error(
        "--data-dir {}: {cause}. The snapshot is undamaged but this version of kvd cannot read it: start the version that wrote \
         it, or a newer one",
        .dir.display()
    )]
    UnreadableSnapshot {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        cause: RestoreError,
    },
    /// The data is of a level that the node is not to know.
    #[error(
        "--data-dir {}: the data is of level {needed}, and this node knows levels up to {level_max}. A level is never lowered: \
         start a version of kvd that knows it, without a lower --level-max",
        .dir.display()
    )]
    Level {
        /// The directory.
        dir: PathBuf,
        /// The level of the data.
        needed: Level,
        /// The newest level that the node knows, or is to know.
        level_max: Level,
    },
    /// The node is part of a cluster, but its log is gone.
    #[error(
        "--data-dir {}: this node has been part of a cluster, but its log (the files wal-*.log) is missing or empty, \
         and with it what it promised the others; it must not go on as if it had promised nothing. Put the files back \
         as they were last. If that cannot be done, move the directory away and start this node by the same flags: it comes \
         back as a new member in its own place, and the others send it everything, as long as they are a majority",
        .dir.display()
    )]
    LogMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// Something is there of a node that was part of a cluster, and not what says which.
    #[error(
        "--data-dir {}: {file} is of a node that was part of a cluster, and the identity.json that says which is missing, so some \
         of its files are gone; no new node is begun beside them. Put the files back as they were last. If that cannot be \
         done, move the directory away and start this node by the same flags: it comes back as a new member in its own \
         place, and the others send it everything, as long as they are a majority. If they are not, restore a backup with \
         `kvd restore`",
        .dir.display()
    )]
    Remains {
        /// The directory.
        dir: PathBuf,
        /// Name of the file.
        file: String,
    },
    /// The data is other than that of the other nodes.
    #[error(
        "--data-dir {}: what this node holds was found to differ from what the other nodes hold, at entry {index} of the log, by \
         a defect of kvd, of this machine's memory or of its disk; so it must not be used. Keep the directory for who looks \
         into that: move it away, and start this node by the same flags. It comes back as a new member in its own place, \
         and the others send it everything, as long as they are a majority. If they are stopped for the same reason, empty no \
         directory: find out which is right, and make a cluster of it with `kvd recover`",
        .dir.display()
    )]
    Diverged {
        /// The directory.
        dir: PathBuf,
        /// The entry after which it was found to differ.
        index: LogIndex,
    },
    /// A backup was to be restored into the directory, and that was interrupted.
    #[error(
        "--data-dir {}: a restore into this directory did not finish. Run `kvd restore` again; or, to begin without a backup, remove the \
         files in it that begin with staged-",
        .dir.display()
    )]
    RestoreUnfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The data belongs to another node.
    #[error(
        "--data-dir {} holds data of node {found}, but --name is {configured}: point --data-dir to this node's own \
         data, or start it as --name {found}",
        .dir.display()
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Name of the node whose data it is.
        found: String,
        /// Name configured.
        configured: String,
    },
    /// The data belongs to a cluster of other nodes than configured.
    #[error(
        "--data-dir {} holds data of a cluster of {}, but --peers lists {}: point --data-dir to this node's own data, \
         or list the nodes of its cluster",
        .dir.display(), .known.join(", "), .configured.join(", ")
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Names of the cluster's founders.
        known: Vec<String>,
        /// Names configured.
        configured: Vec<String>,
    },
    /// A thread or the like could not be had.
    #[error("cannot start: {0}")]
    Resources(#[from] io::Error),
    /// A defect in the daemon itself.
    #[error("cannot start: a panic, reported above, which is a defect in kvd. It has harmed no data")]
    Panicked,
}

/// What to do about an address that cannot be listened on, to follow the `cause` in a message.
pub(crate) fn listen_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there: stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose a higher one",
        _ => "",
    }
}

/// Why a running node must stop.
#[derive(Debug, Error)]
pub enum FatalError {
    /// The disk failed. After a failed write or sync nothing on it can be believed.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Disk {
        /// The data directory.
        dir: PathBuf,
        /// What failed.
        cause: StorageError,
    },
    /// The data belongs to another cluster than the one it is configured for.
    #[error("{0}")]
    OtherCluster(String),
    /// A thread or the like could not be had.
    #[error("cannot go on: {0}")]
    Resources(io::Error),
    /// A defect in the daemon itself.
    #[error("the node ended by a panic, reported above: this is a defect in kvd. What was acknowledged is on disk")]
    Panicked,
    /// The node was asked to stop, and something did not end in time.
    #[error(
        "could not finish within {} s after it was asked to stop, most likely because the disk does not answer. What \
         was acknowledged is on disk; see that the disk is healthy",
        STOP_TIME_MAX.as_secs()
    )]
    StopTimedOut,
}

/// Listens where the configuration says, with `SO_REUSEADDR`, so that a restart need not wait.
///
/// # Errors
/// [`StartError::Listen`].
pub fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(LISTEN_BACKLOG)
    };
    bind().map_err(|cause| StartError::Listen { address, cause })
}

/// A running node.
#[derive(Debug)]
pub struct Server {
    http: JoinHandle<()>,
    replica: JoinHandle<Result<(), FatalError>>,
    /// Why the node could not go on, once it is known.
    failure: Option<FatalError>,
    events: mpsc::UnboundedSender<Event>,
    hand_over_time_max: Duration,
    /// Dropped, it stops the HTTP server.
    stop_http: watch::Sender<()>,
    stop_replica: oneshot::Sender<()>,
    span: Span,
}

impl Server {
    /// Starts a node on a listener made by [`listen`]. Returns when its log has been read and it
    /// serves; it may still be without a leader then.
    ///
    /// The listener is there before the log is read, so that a port in use is found at once. Who connects meanwhile
    /// waits, and is answered as soon as the node serves.
    ///
    /// # Errors
    /// [`StartError`], which names the flag at fault.
    pub async fn start(config: Config, listener: TcpListener) -> Result<Self, StartError> {
        Self::start_with(config, listener, startup::configured_disk).await
    }

    /// The same with this disk, whatever the configuration says of storage.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on(config: Config, listener: TcpListener, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        Self::start_with(config, listener, |_| Ok(disk)).await
    }

    async fn start_with(
        config: Config,
        listener: TcpListener,
        disk: impl FnOnce(&Config) -> Result<Arc<dyn Disk>, StartError> + Send + 'static,
    ) -> Result<Self, StartError> {
        let span = crate::logging::node_span(&config.name);
        let (opening, in_span) = (config.clone(), span.clone());
        let open = move || {
            in_span.in_scope(|| {
                let disk = disk(&opening)?;
                startup::open(&opening, &disk).map(|opened| (disk, opened))
            })
        };
        let (disk, opened) = tokio::task::spawn_blocking(open).await.map_err(|_| StartError::Panicked)??;
        let in_span = span.clone();
        in_span.in_scope(|| Self::serve(config, listener, disk, opened, span))
    }

    /// Starts the tasks of a node, whose data is open.
    fn serve(
        config: Config,
        listener: TcpListener,
        disk: Arc<dyn Disk>,
        opened: Opened,
        span: Span,
    ) -> Result<Self, StartError> {
        let store = match &opened.recovered {
            Some(recovered) => Arc::clone(&recovered.store),
            None => Arc::new(RwLock::default()),
        };
        let (requests, requested) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let (peer_events, from_peers) = mpsc::channel(PEER_MESSAGES_QUEUED_MAX);
        let value_bytes_max = config.value_bytes_max;
        let hand_over_time_max = hand_over::time_max(&config.raft);
        tracing::info!("serves clients at {}", config.client_url);
        let task = ReplicaTask::new(config, disk, opened, Arc::clone(&store), requested, from_peers, span.clone())?;
        let started = std::time::Instant::now();
        let (view, leader, events) = (task.view(), task.leader(), task.events());
        let forward = Arc::new(Forwarder::new(task.hello(), task.view(), task.leader(), task.dialled()));
        let (stop_http, stopping) = watch::channel(());
        let stop_time_max = Duration::from_millis(REQUEST_TIMEOUT_MS);
        let gateway =
            Gateway { requests, view, leader, store, forward, stopping, stop_time_max, value_bytes_max, started };
        let raft = peer::accept(task.hello(), task.inbound(), peer_events).or(task.snapshot_route()).unify();
        let raft = raft.or(task.states_route()).unify();
        let raft = raft.or(forwarding::route(task.hello(), gateway.clone())).unify();

        // Longer than any request then waits for its answer, so that a stop cuts none off.
        let drain_time_max = stop_time_max + Duration::from_millis(DRAIN_MARGIN_MS);
        let connections = ConnectionLimits { drain_time_max, ..ConnectionLimits::default() };
        let limits = Limits { connections, ..Limits::default() };
        let (stop_replica, replica_stopped) = oneshot::channel();
        let replica = tokio::spawn(task.run(replica_stopped).instrument(span.clone()));
        let http = http::serve(listener, gateway, raft, limits);
        let http = tokio::spawn(http.instrument(span.clone()));
        Ok(Self { http, replica, failure: None, events, hand_over_time_max, stop_http, stop_replica, span })
    }

    /// Waits until the node cannot go on, and has logged why. A healthy node never returns from here.
    pub async fn failed(&mut self) -> &FatalError {
        let failure = match self.failure.take() {
            Some(failure) => failure,
            None => {
                let failure = match (&mut self.replica).await {
                    Ok(Err(failure)) => failure,
                    Ok(Ok(())) | Err(_) => FatalError::Panicked,
                };
                log_failure(&self.span, &failure);
                failure
            }
        };
        self.failure.insert(failure)
    }

    /// Hands leadership over if this node has it, and then stops accepting requests, finishes those under way, and
    /// closes the log. Takes [`STOP_TIME_MAX`] at most, whatever the disk and the other nodes do.
    ///
    /// # Errors
    /// [`FatalError`] if the node has failed, or fails meanwhile; it has been logged.
    pub async fn stop(self) -> Result<(), FatalError> {
        self.end(true).await
    }

    /// The same when the whole cluster stops, where nobody is left to hand over to.
    ///
    /// # Errors
    /// As [`Server::stop`].
    pub(crate) async fn stop_with_cluster(self) -> Result<(), FatalError> {
        self.end(false).await
    }

    async fn end(self, hands_over: bool) -> Result<(), FatalError> {
        let Self { mut http, mut replica, failure, events, hand_over_time_max, stop_http, stop_replica, span } = self;
        let stopping = async {
            if hands_over {
                // While it still serves: clients may go on asking it, and are sent on to the new leader.
                hand_over::before_stop(&events, hand_over_time_max).await;
            }
            // Whoever is no longer there to be told has ended already.
            let _ = stop_http.send(());
            let _ = (&mut http).await;
            let _ = stop_replica.send(());
            match failure {
                Some(failure) => Err(failure),
                None => {
                    let ended = (&mut replica).await.unwrap_or(Err(FatalError::Panicked));
                    ended.inspect_err(|failure| log_failure(&span, failure))
                }
            }
        };
        let ended = tokio::time::timeout(STOP_TIME_MAX, stopping).await;
        ended.unwrap_or_else(|_| {
            http.abort();
            replica.abort();
            log_failure(&span, &FatalError::StopTimedOut);
            Err(FatalError::StopTimedOut)
        })
    }
}

fn log_failure(span: &Span, failure: &FatalError) {
    span.in_scope(|| tracing::error!("{failure}"));
}
