//! A server on a free port, in a thread of its own, whose replica is a closure.

use super::wire::{Reply, Wire};
use crate::http::{
    BackupError, CommandLimits, ConnectionLimits, Forward, Forwarding, Gateway, Limits, Question, Request, Unforwarded,
    View, serve,
};
use crate::kv::{Command, Level, Operation, Store};
use kvclient::api::{LeaderEvent, LeaderReply, Member, MembersReply, NodeState, NodeUrl};
use std::net::SocketAddr;
use std::sync::{Arc, RwLock, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use warp::Filter;
use warp::reply::Response;

/// Largest value that the test servers take.
pub(super) const VALUE_BYTES_MAX: usize = 1000;

/// Largest transaction that the test servers take.
pub(super) const TXN_BYTES_MAX: usize = 4 << 20;

/// Requests that wait for the replica of a test server, at most.
pub(super) const INBOX_MAX: usize = 16;

/// Time left for questions once a test server stops.
pub(super) const STOP_TIME_MAX: Duration = Duration::from_millis(300);

/// Plays the replica: it gets the inbox, the store and the view, and runs in a thread of its own.
pub(super) type Replica = Box<dyn FnOnce(mpsc::Receiver<Request>, Arc<RwLock<Store>>, Arc<watch::Sender<View>>) + Send>;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) view: Arc<watch::Sender<View>>,
    pub(super) leader: watch::Sender<LeaderEvent>,
    pub(super) store: Arc<RwLock<Store>>,
    /// Each waiting task has a receiver of this channel.
    pub(super) stop: Arc<watch::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// Returns limits that no test reaches by accident.
pub(super) fn ample() -> Limits {
    let ample = Duration::from_secs(60);
    Limits {
        connections: ConnectionLimits {
            connections_max: 100,
            crowded_max: 64,
            idle_time_max: ample,
            headers_time_max: ample,
            write_time_max: ample,
            drain_time_max: ample,
        },
        body_time_max: ample,
        reply_bytes_max: 256 << 20,
        streams_max: 100,
    }
}

/// Returns the same limits, with connection limits altered by `change`.
pub(super) fn ample_but(change: impl FnOnce(&mut ConnectionLimits)) -> Limits {
    let mut limits = ample();
    change(&mut limits.connections);
    limits
}

impl Server {
    /// Starts a node that applies every command at once.
    pub(super) fn honest() -> Self {
        Self::start(ample(), honest_replica())
    }

    /// Starts a node whose replica answers each request with `answer`.
    pub(super) fn scripted(mut answer: impl FnMut(Request) + Send + 'static) -> Self {
        let replica: Replica = Box::new(move |mut inbox, _, _| {
            while let Some(request) = inbox.blocking_recv() {
                answer(request);
            }
        });
        Self::start(ample(), replica)
    }

    pub(super) fn start(limits: Limits, replica: Replica) -> Self {
        Self::start_with(limits, replica, Arc::new(Alone))
    }

    /// Starts a node that reaches the other nodes by `forward`.
    pub(super) fn start_with(limits: Limits, replica: Replica, forward: Arc<dyn Forward>) -> Self {
        let (requests, inbox) = mpsc::channel(INBOX_MAX);
        let (stop, stopping) = watch::channel(());
        let stop = Arc::new(stop);
        let (view, view_receiver) = watch::channel(view_of_a_leader());
        let (leader, leader_receiver) = watch::channel(leads(5, Some("node1")));
        let store = Arc::new(RwLock::new(Store::default()));
        let gateway = Gateway {
            requests,
            view: view_receiver,
            leader: leader_receiver,
            store: Arc::clone(&store),
            forward,
            stopping,
            stop_time_max: STOP_TIME_MAX,
            limits: CommandLimits { value_bytes_max: VALUE_BYTES_MAX, txn_bytes_max: TXN_BYTES_MAX },
            started: Instant::now(),
        };
        let view = Arc::new(view);
        let of_replica = (Arc::clone(&store), Arc::clone(&view));
        std::thread::spawn(move || replica(inbox, of_replica.0, of_replica.1));
        let (address_sender, address) = std_mpsc::channel();
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tracing::dispatcher::with_default(&dispatch, || {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                    address_sender.send(listener.local_addr().unwrap()).unwrap();
                    serve(listener.into(), gateway, peers(), limits).await;
                });
            });
        });
        Self { address: address.recv().unwrap(), view, leader, store, stop, serving: Some(serving) }
    }

    pub(super) fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Sends one request over a new connection.
    pub(super) fn request(&self, head: &str, body: impl AsRef<[u8]>) -> Reply {
        self.connect().request(head, body)
    }

    pub(super) fn get(&self, path: &str) -> Reply {
        self.request(&format!("GET {path} HTTP/1.1"), "")
    }

    /// Gets JSON in lines. The body of the reply is whole.
    pub(super) fn get_lines(&self, path: &str) -> Reply {
        let mut wire = self.connect();
        let mut reply = wire.request(&format!("GET {path} HTTP/1.1\r\nAccept: application/x-ndjson"), "");
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = wire.chunks().unwrap();
        }
        reply
    }

    pub(super) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        self.request(&format!("POST {path} HTTP/1.1"), body)
    }

    /// Begins to stop, without waiting for the end.
    pub(super) fn begin_stop(&mut self) {
        // A node does the same: it sends the signal and keeps the sender. If the server has ended already, nobody need
        // be told.
        let _ = self.stop.send(());
    }

    /// Stops, and returns once the server has stopped.
    pub(super) fn stop(&mut self) {
        self.begin_stop();
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

/// Applies each command, and reports every read as fresh. It has no backup.
pub(super) fn honest_replica() -> Replica {
    Box::new(|mut inbox, store, view| {
        let operation = Operation::RaiseLevel { to: Level::NEWEST };
        store.write().unwrap().apply(0, &Command { operation, request: None });
        while let Some(request) = inbox.blocking_recv() {
            // A client that has gone needs no answer.
            match request {
                Request::Write { command, reply, .. } => {
                    let outcome = store.write().unwrap().apply(0, &Command::decode(&command).unwrap());
                    // Wakes whoever follows the view.
                    view.send_modify(|_| ());
                    let _ = reply.send(Ok(outcome));
                }
                Request::Read { reply, .. } => {
                    let _ = reply.send(Ok(None));
                }
                Request::LeadershipTransfer { reply, .. } => {
                    let _ = reply.send(Ok(LeaderReply { id: "node2".into(), url: node_url("node2").url, term: 6 }));
                }
                Request::Backup { reply } => drop(reply.send(Err(BackupError::Forming))),
                Request::ChangeMembers { reply, .. } => {
                    let _ = reply.send(Ok(MembersReply { members: Vec::new(), cluster: None }));
                }
            }
        }
    })
}

/// Reaches no node.
#[derive(Debug)]
struct Alone;

impl Forward for Alone {
    fn forward(&self, _: &NodeUrl, _: Question, _: tokio::time::Instant) -> Forwarding<'_> {
        Box::pin(async { Err(Unforwarded::TooOld) })
    }
}

/// Routes of the rest of the daemon: a peer route, and one with a defect.
fn peers() -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone {
    let peer = warp::path!("raft").map(|| Response::new("peers only".into()));
    let defective = warp::path!("raft" / "defect").map(|| -> Response { panic!("a defect, on purpose") });
    peer.or(defective).unify()
}

pub(super) fn node_url(id: &str) -> NodeUrl {
    NodeUrl { id: id.into(), url: format!("http://{id}.example:8081") }
}

pub(super) fn leads(term: u64, id: Option<&str>) -> LeaderEvent {
    LeaderEvent { term, leader: id.map(node_url) }
}

pub(super) fn view_of_a_leader() -> View {
    let member = |id: &str, voter| Member {
        id: id.into(),
        client_url: node_url(id).url,
        peer_url: format!("http://{id}.internal:9081"),
        voter,
        goal: None,
        node: String::new(),
    };
    View {
        state: NodeState::Leader,
        term: 5,
        leader: Some(node_url("node1")),
        last_log_index: 12,
        commit_index: 11,
        applied_index: 10,
        ready: true,
        members: [member("node1", true), member("node2", false)].into(),
        ..View::forming("node1", "00000000000000a1", "http://node1.example:8081", "http://node1.internal:9081", 1)
    }
}
