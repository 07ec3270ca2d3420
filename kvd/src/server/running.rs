//! A running node: starts its tasks, waits for them to fail, and stops them in order.

use super::error::{FatalError, STOP_TIME_MAX, StartError};
use super::events::Event;
use super::forwarding::{self, Forwarder};
use super::inbox::Inbox;
use super::leadership_transfer::{self, LEADERSHIP_TRANSFER_TIME_MAX_MS, Stopping};
use super::log_writer::LogWriter;
use super::open_files::OpenFiles;
use super::patient_disk::PatientDisk;
use super::phases::{NodeTask, Shell};
use super::reporter::Reporter;
use super::{snapshots, startup, state_exchange};
use crate::config::{Config, REQUEST_TIMEOUT_MS, STREAMS_MAX, VALUE_BYTES_LIMIT};
use crate::data::Opened;
use crate::http::{self, CommandLimits, ConnectionLimits, Gateway, Limits, Listeners};
use crate::kv::KEY_BYTES_MAX;
use crate::peer::{self, FRAME_BYTES_MAX};
use crate::storage::Disk;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};
use warp::Filter;

/// Time by which the connections of a node that stops outlast the requests that it waits for. Milliseconds.
const DRAIN_MARGIN_MS: u64 = 1_000;

/// Bytes of an entry besides its key and values: a request id with a client's name, and the overhead of encodings.
const ENTRY_OVERHEAD_BYTES: usize = 1024;

// An entry that does not fit into a frame would be resent forever. The largest holds a value, and another one that a
// condition compares with.
const _: () = assert!(2 * VALUE_BYTES_LIMIT + KEY_BYTES_MAX + ENTRY_OVERHEAD_BYTES <= FRAME_BYTES_MAX);

// The replica gives reads this time, and a stop gives it to waiting callers: the usual time of a request.
const _: () = assert!(http::TIMEOUT_DEFAULT.as_millis() == REQUEST_TIMEOUT_MS as u128);

// A node that is embedded, and one that is started by a program, serve as many streams.
const _: () = assert!(http::STREAMS_MAX_DEFAULT == STREAMS_MAX);

// The time that a stop waits for requests must leave time to close the log.
const _: () =
    assert!(LEADERSHIP_TRANSFER_TIME_MAX_MS + REQUEST_TIMEOUT_MS + DRAIN_MARGIN_MS < STOP_TIME_MAX.as_millis() as u64);

/// A running node.
#[derive(Debug)]
pub struct Server {
    http: JoinHandle<()>,
    replica: JoinHandle<Result<(), FatalError>>,
    /// The reason why the node could not go on, once known.
    failure: Option<FatalError>,
    /// Told that this node is about to stop.
    stopping: Reporter<Stopping>,
    leadership_transfer_time_max: Duration,
    /// Dropping this stops the HTTP server.
    stop_http: watch::Sender<()>,
    stop_replica: oneshot::Sender<()>,
    span: Span,
}

impl Server {
    /// Starts a node on listeners from [`super::listen`] or [`super::listen_on_all`]. Returns when the node has read
    /// its log and serves; it may still be without a leader then.
    ///
    /// The listeners are opened before the log is read, so that a port in use is found at once. A client that connects
    /// meanwhile waits, and is answered as soon as the node serves.
    ///
    /// # Errors
    /// [`StartError`], which names the flag at fault.
    pub async fn start(config: Config, listeners: impl Into<Listeners>) -> Result<Self, StartError> {
        Self::start_with(config, listeners.into(), startup::configured_disk).await
    }

    /// Like [`Server::start`], with this disk, whatever storage the configuration names.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_on(
        config: Config,
        listeners: impl Into<Listeners>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, StartError> {
        Self::start_with(config, listeners.into(), |_| Ok(disk)).await
    }

    async fn start_with(
        config: Config,
        listeners: Listeners,
        disk: impl FnOnce(&Config) -> Result<Arc<dyn Disk>, StartError> + Send + 'static,
    ) -> Result<Self, StartError> {
        let span = crate::logging::node_span(&config.name);
        span.in_scope(|| startup::log_start(&config));
        let (opening, in_span) = (config.clone(), span.clone());
        let open = move || {
            in_span.in_scope(|| {
                let disk: Arc<dyn Disk> = Arc::new(PatientDisk::over(disk(&opening)?));
                startup::open(&opening, &disk).map(|opened| (disk, opened))
            })
        };
        let (disk, opened) = tokio::task::spawn_blocking(open).await.map_err(|_| StartError::Panicked)??;
        let in_span = span.clone();
        in_span.in_scope(|| Self::serve(config, listeners, disk, opened, span))
    }

    /// Starts the tasks of a node whose data is open.
    fn serve(
        mut config: Config,
        listeners: Listeners,
        disk: Arc<dyn Disk>,
        opened: Opened,
        span: Span,
    ) -> Result<Self, StartError> {
        let Opened { lock, identity, wal, recovered, snapshot, damaged_snapshots, was_let_in, .. } = opened;
        let store = match &recovered {
            Some(recovered) => Arc::clone(&recovered.store),
            None => Arc::new(RwLock::default()),
        };
        if let Some(recorded) = recovered.as_ref().and_then(|recovered| recovered.info_of(identity.node_id)) {
            config.use_recorded(recorded);
        }
        let (value_bytes_max, txn_bytes_max) = (config.value_bytes_max, config.txn_bytes_max);
        let OpenFiles { connections_max, streams_max, crowded_max, forwarded_max, .. } =
            OpenFiles::divide(config.open_files, config.streams_max);
        tracing::info!(
            "accepting up to {connections_max} client connections, {streams_max} of them with streams and waits, of {} \
             open files: the rest is for the log, snapshots and other nodes",
            config.open_files
        );
        let leadership_transfer_time_max = leadership_transfer::time_max(&config.raft);
        tracing::info!("listening on {}, clients connect to {}", addresses(&listeners), config.client_url);
        let (inbox, senders) = Inbox::new(&config.data_dir);
        let events = senders.events;
        let log = LogWriter::start(&config.name, wal, lock, events.reporter(Event::Log))?;
        let shell = Shell::new(config, disk, Arc::clone(&store), identity, log, events.clone(), span.clone());

        let hello = || shell.hello.subscribe();
        let (view, leader) = (shell.publisher.view(), shell.publisher.leader());
        let forward = Forwarder::new(
            shell.agent.clone(),
            hello(),
            view.clone(),
            leader.clone(),
            shell.publisher.dialled(),
            forwarded_max,
        );
        let (stop_http, stopping) = watch::channel(());
        let stop_time_max = Duration::from_millis(REQUEST_TIMEOUT_MS);
        let gateway = Gateway {
            requests: senders.requests,
            view: view.clone(),
            leader,
            store: Arc::clone(&store),
            forward: Arc::new(forward),
            stopping,
            stop_time_max,
            limits: CommandLimits { value_bytes_max, txn_bytes_max },
            started: std::time::Instant::now(),
        };
        let snapshots = snapshots::route(Arc::clone(&shell.disk), hello(), events.reporter(Event::Snapshots));
        let states = state_exchange::route(hello(), events.reporter(Event::States));
        let raft = peer::accept(hello(), shell.inbound.clone(), senders.from_peers).or(snapshots).unify();
        let raft = raft.or(states).unify();
        let raft = raft.or(forwarding::route(hello(), gateway.clone())).unify();

        let damaged = damaged_snapshots.len() as u64;
        let task = NodeTask::new(shell, inbox, recovered, snapshot, damaged, was_let_in);
        // Longer than any request then waits for its answer, so that a stop cuts off none.
        let drain_time_max = stop_time_max + Duration::from_millis(DRAIN_MARGIN_MS);
        let connections =
            ConnectionLimits { connections_max, crowded_max, drain_time_max, ..ConnectionLimits::default() };
        let limits = Limits { connections, streams_max, ..Limits::default() };
        let replica = tokio::spawn(task.run().instrument(span.clone()));
        let http = tokio::spawn(http::serve(listeners, gateway, raft, limits).instrument(span.clone()));
        let stopping = events.reporter(Event::Stopping);
        let stop_replica = senders.stop;
        let failure = None;
        Ok(Self { http, replica, failure, stopping, leadership_transfer_time_max, stop_http, stop_replica, span })
    }

    /// Returns the span of all log lines of the node.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Waits until the node cannot go on and has logged why. For a healthy node this never returns.
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

    /// Transfers leadership if this node leads, then stops accepting requests, finishes those in flight, and closes the
    /// log. Takes [`STOP_TIME_MAX`] at most, whatever the disk and the other nodes do.
    ///
    /// # Errors
    /// [`FatalError`] if the node has failed, or fails meanwhile; it has been logged.
    pub async fn stop(self) -> Result<(), FatalError> {
        self.end(true).await
    }

    /// Like [`Server::stop`], for when the whole cluster stops and there is no node to transfer leadership to.
    ///
    /// # Errors
    /// As [`Server::stop`].
    pub async fn stop_with_cluster(self) -> Result<(), FatalError> {
        self.end(false).await
    }

    async fn end(self, transfers_leadership: bool) -> Result<(), FatalError> {
        let Self {
            mut http,
            mut replica,
            failure,
            stopping,
            leadership_transfer_time_max,
            stop_http,
            stop_replica,
            span,
            ..
        } = self;
        let ending = async {
            if transfers_leadership {
                // The node still serves meanwhile: clients may keep asking it, and their requests are forwarded to the
                // new leader.
                leadership_transfer::before_stop(&stopping, leadership_transfer_time_max).await;
            }
            // A receiver that is gone has ended already.
            let _ = stop_http.send(());
            let _ = (&mut http).await;
            let _ = stop_replica.send(());
            match failure {
                Some(failure) => Err(failure),
                None => {
                    let ended = (&mut replica).await.unwrap_or(Err(FatalError::Panicked));
                    ended
                        .inspect(|()| span.in_scope(|| tracing::info!("stopped; the log is closed")))
                        .inspect_err(|failure| log_failure(&span, failure))
                }
            }
        };
        let ended = tokio::time::timeout(STOP_TIME_MAX, ending).await;
        ended.unwrap_or_else(|_| {
            http.abort();
            replica.abort();
            log_failure(&span, &FatalError::StopTimedOut);
            Err(FatalError::StopTimedOut)
        })
    }
}

/// Formats the addresses on which a node listens, for a sentence.
fn addresses(listeners: &Listeners) -> String {
    let addresses = listeners.addresses().unwrap_or_default();
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn log_failure(span: &Span, failure: &FatalError) {
    span.in_scope(|| tracing::error!("{failure}"));
}
