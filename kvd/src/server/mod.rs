//! The runtime: the one place where tokio, disk, peers and HTTP meet the pure replica.
//!
//! One task owns the replica and drains its inbox in batches (`replica_task`); one thread writes the
//! log (`log_writer`); one task per peer sends; HTTP handlers only parse, ask and answer. Every
//! queue is bounded, and clients and peers have separate ones, so that no crowd of clients holds up
//! consensus.

mod directory;
mod forming;
mod inbox;
mod log_writer;
mod replica_task;
mod startup;

use crate::config::{Config, REQUEST_TIMEOUT_MS};
use crate::http::{self, Gateway, Limits};
use crate::peer;
use crate::storage::StorageError;
use replica_task::ReplicaTask;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Requests from clients that wait for the replica to take them. When full, the next gets
/// `overloaded`.
const REQUESTS_QUEUED_MAX: usize = 4096;

/// Messages from peers that wait for the replica to take them. When full, connections are not read on.
const PEER_MESSAGES_QUEUED_MAX: usize = 1024;

/// When a node stops, requests may take this much longer than their own time limit. Milliseconds.
const DRAIN_MARGIN_MS: u64 = 1_000;

/// Connections that wait to be accepted.
const LISTEN_BACKLOG: u32 = 1024;

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
    /// The node is part of a cluster, but its log is gone.
    #[error(
        "--data-dir {}: this node has been part of a cluster, but all files of its log (wal-*.log) are missing, and \
         with them what it promised the others; it must not go on as if it had promised nothing. Put the files back, \
         or move the directory away and start with an empty one, as a new member",
        .dir.display()
    )]
    LogMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// The data belongs to a cluster of other nodes than configured.
    #[error(
        "--data-dir {} holds data of a cluster of {known}, but --peers lists {configured}: point --data-dir to this \
         node's own data, or list the nodes of its cluster",
        .dir.display()
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Names of the cluster's founders.
        known: String,
        /// Names configured.
        configured: String,
    },
    /// A thread or the like could not be had.
    #[error("cannot start: {0}")]
    Resources(#[from] io::Error),
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
    #[error("{0}")]
    Disk(#[from] StorageError),
    /// The data belongs to another cluster than the one it is configured for.
    #[error("{0}")]
    OtherCluster(String),
    /// A defect in the daemon itself.
    #[error("the node ended by a panic, reported above: this is a defect in kvd. What was acknowledged is on disk")]
    Panicked,
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
    stop_http: oneshot::Sender<()>,
    stop_replica: oneshot::Sender<()>,
}

impl Server {
    /// Starts a node on a listener made by [`listen`]. Returns when its log has been read and it
    /// serves; it may still be without a leader then.
    ///
    /// # Errors
    /// [`StartError`], which names the flag at fault.
    pub async fn start(config: Config, listener: TcpListener) -> Result<Self, StartError> {
        let span = crate::logging::node_span(&config.name);
        Self::start_in_span(config, listener, span.clone()).instrument(span).await
    }

    async fn start_in_span(config: Config, listener: TcpListener, span: tracing::Span) -> Result<Self, StartError> {
        let opening = config.clone();
        let in_span = span.clone();
        let opened = tokio::task::spawn_blocking(move || in_span.in_scope(|| startup::open(&opening)));
        let opened = opened.await.map_err(|_| io::Error::other("reading the log failed; see the message above"))??;

        let store = match &opened.recovered {
            Some(recovered) => Arc::clone(&recovered.store),
            None => Arc::new(RwLock::default()),
        };
        let (requests, requested) = mpsc::channel(REQUESTS_QUEUED_MAX);
        let (peer_events, from_peers) = mpsc::channel(PEER_MESSAGES_QUEUED_MAX);
        let value_bytes_max = config.value_bytes_max;
        tracing::info!("serves clients at {}", config.client_url);
        let task = ReplicaTask::new(config, opened, Arc::clone(&store), requested, from_peers, span.clone())?;
        let gateway =
            Gateway { requests, view: task.view(), store, value_bytes_max, started: std::time::Instant::now() };
        let raft = peer::accept(task.hello(), peer_events);

        // Longer than any request waits for its answer, so that a stop cuts none off.
        let drain_time_max = Duration::from_millis(REQUEST_TIMEOUT_MS + DRAIN_MARGIN_MS);
        let limits = Limits { drain_time_max, ..Limits::default() };
        let (stop_http, http_stopped) = oneshot::channel();
        let (stop_replica, replica_stopped) = oneshot::channel();
        let replica = tokio::spawn(task.run(replica_stopped).instrument(span.clone()));
        let http = http::serve(listener, gateway, raft, limits, async {
            // A dropped handle stops the node too.
            let _ = http_stopped.await;
        });
        let http = tokio::spawn(http.instrument(span));
        Ok(Self { http, replica, stop_http, stop_replica })
    }

    /// Waits until the node cannot go on. A healthy node never returns from here.
    pub async fn failed(&mut self) -> FatalError {
        match (&mut self.replica).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => FatalError::Panicked,
        }
    }

    /// Stops accepting requests, finishes those under way, and closes the log.
    ///
    /// # Errors
    /// [`FatalError`] if the node failed meanwhile.
    pub async fn stop(self) -> Result<(), FatalError> {
        let _ = self.stop_http.send(());
        let _ = self.http.await;
        let _ = self.stop_replica.send(());
        self.replica.await.unwrap_or(Err(FatalError::Panicked))
    }
}
