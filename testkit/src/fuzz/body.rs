//! Any bytes as the body of a request, and any query: each request is carried out, or refused with a reason and without
//! effect.
//!
//! The first line gives the destination of the rest: `POST /set`, `POST /set?key=k octets` for a body of raw bytes,
//! `GET /get?key=k`. The request is sent to a real server of this process, and the reply is compared with the store
//! behind it. The rest is also parsed as each of the replies of the API, as clients do.

use kvclient::api::{
    AddMemberRequest, Applied, CompactReply, CompactRequest, DeleteReply, DeleteRequest, ErrorCode, ErrorReply,
    GetReply, GrantReply, GrantRequest, Health, HistoryReply, KeepAliveReply, KeepAliveRequest, LeaderEvent,
    LeaderReply, LeaseReply, LeasesReply, ListLine, ListReply, MembersReply, NodeState, NodeUrl, Op,
    PromoteMemberRequest, Query, RemoveMemberRequest, ReplaceMemberRequest, RevokeReply, RevokeRequest, SetReply,
    SetRequest, TransferRequest, Txn, TxnReply, TxnRequest, UpdateMemberRequest, WriteReply,
};
use kvd::http::{
    BackupError, CommandLimits, Forward, Forwarding, Gateway, Limits, NotTransferred, Question, Request, Unforwarded,
    View,
};
use kvd::kv::{Command, LeaseId, Level, Operation, Put, StateHash, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use warp::Filter as _;

/// Small, so that the fuzzer finds larger bodies.
const VALUE_BYTES_MAX: usize = 1000;

const METHODS: [&str; 4] = ["POST", "GET", "PUT", "DELETE"];

/// Longer targets are refused with the headers.
const TARGET_BYTES_MAX: usize = 32 << 10;

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Checks any bytes.
pub fn check(bytes: &[u8]) {
    let line_end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let body = bytes.get(line_end + 1..).unwrap_or_default();
    check_types(body);
    let Some(ask) = Ask::parse(&bytes[..line_end], body) else { return };
    SERVER.with_borrow_mut(|server| server.get_or_insert_with(Server::start).check(&ask));
}

/// Checks that whatever can be parsed is the same after it is written and parsed again.
fn check_types(json: &[u8]) {
    comes_back::<SetRequest>(json);
    comes_back::<DeleteRequest>(json);
    comes_back::<TransferRequest>(json);
    comes_back::<GetReply>(json);
    comes_back::<SetReply>(json);
    comes_back::<DeleteReply>(json);
    comes_back::<WriteReply<SetReply>>(json);
    comes_back::<ListReply>(json);
    comes_back::<ListLine>(json);
    comes_back::<TxnRequest>(json);
    comes_back::<TxnReply>(json);
    comes_back::<HistoryReply>(json);
    comes_back::<CompactRequest>(json);
    comes_back::<CompactReply>(json);
    comes_back::<GrantRequest>(json);
    comes_back::<GrantReply>(json);
    comes_back::<KeepAliveRequest>(json);
    comes_back::<KeepAliveReply>(json);
    comes_back::<RevokeRequest>(json);
    comes_back::<RevokeReply>(json);
    comes_back::<LeaseReply>(json);
    comes_back::<LeasesReply>(json);
    comes_back::<ErrorReply>(json);
    comes_back::<Health>(json);
    comes_back::<LeaderReply>(json);
    comes_back::<LeaderEvent>(json);
    comes_back::<MembersReply>(json);
    comes_back::<AddMemberRequest>(json);
    comes_back::<PromoteMemberRequest>(json);
    comes_back::<RemoveMemberRequest>(json);
    comes_back::<ReplaceMemberRequest>(json);
    comes_back::<UpdateMemberRequest>(json);
}

fn comes_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(json: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(json) else { return };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), read);
}

/// A request.
struct Ask<'a> {
    method: &'a str,
    /// Path and query.
    target: &'a str,
    is_raw: bool,
    body: &'a [u8],
}

impl<'a> Ask<'a> {
    /// Returns `None` if the line is not HTTP: the server refuses it before any of this code sees it.
    fn parse(line: &'a [u8], body: &'a [u8]) -> Option<Self> {
        let mut words = str::from_utf8(line).ok()?.split(' ');
        let (method, target, last) = (words.next()?, words.next()?, words.next());
        // Characters of a URI (RFC 3986 §2).
        let is_of_uri = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte);
        let is_target = target.starts_with('/') && target.len() < TARGET_BYTES_MAX && target.bytes().all(is_of_uri);
        // These lead to other parts of the daemon, or to replies that are endless or come late.
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let waits = Query::parse(query).is_ok_and(|mut query| !query.take_all("wait_ms").is_empty());
        let is_elsewhere = waits || target.starts_with("/raft") || target.starts_with("/leader/watch");
        (METHODS.contains(&method) && is_target && !is_elsewhere).then_some(Self {
            method,
            target,
            is_raw: last == Some("octets"),
            body,
        })
    }

    /// Returns the body without the byte order mark that JSON may begin with.
    fn json(&self) -> &[u8] {
        self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(self.body)
    }

    /// Returns whether it requests a write, of this kind.
    fn is_post_to(&self, path: &str) -> bool {
        self.method == "POST" && self.target.split('?').next().is_some_and(|asked| asked.trim_end_matches('/') == path)
    }
}

/// Reply to a request.
struct Reply {
    status: u16,
    closes: bool,
    body: Vec<u8>,
}

/// A server, and its store.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    store: Arc<RwLock<Store>>,
    connection: Option<BufReader<TcpStream>>,
    _keep: (watch::Sender<View>, watch::Sender<LeaderEvent>, watch::Sender<()>),
}

/// Network without other nodes.
#[derive(Debug)]
struct Alone;

impl Forward for Alone {
    fn forward(&self, _: &NodeUrl, _: Question, _: tokio::time::Instant) -> Forwarding<'_> {
        Box::pin(async { Err(Unforwarded::TooOld) })
    }
}

impl Server {
    fn start() -> Self {
        // Everything runs in this thread, so that the fuzzer sees which code a request reaches.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (requests, mut inbox) = mpsc::channel(16);
        let (stop, stopping) = watch::channel(());
        let (view, view_receiver) = watch::channel(view());
        let (leader, leader_receiver) = watch::channel(LeaderEvent { term: 1, leader: Some(node()) });
        let store = Arc::new(RwLock::new(Store::default()));
        let gateway = Gateway {
            requests,
            view: view_receiver,
            leader: leader_receiver,
            store: Arc::clone(&store),
            forward: Arc::new(Alone),
            stopping,
            stop_time_max: std::time::Duration::ZERO,
            limits: CommandLimits { value_bytes_max: VALUE_BYTES_MAX, txn_bytes_max: kvd::config::TXN_BYTES_MAX },
            started: Instant::now(),
        };
        let applied = Arc::clone(&store);
        runtime.spawn(async move {
            while let Some(request) = inbox.recv().await {
                // The caller may be gone.
                match request {
                    Request::Write { command, reply, .. } => {
                        let command = Command::decode(&command).expect("only commands are proposed");
                        command.validate().expect("only valid ones");
                        let outcome = applied.write().expect("no panic holds it").apply(1, &command);
                        let _ = reply.send(Ok(outcome));
                    }
                    Request::Read { reply, .. } => drop(reply.send(Ok(None))),
                    Request::LeadershipTransfer { reply, .. } => drop(reply.send(Err(NotTransferred::NoTarget))),
                    Request::Backup { reply } => drop(reply.send(Err(BackupError::Forming))),
                    Request::ChangeMembers { reply, .. } => {
                        drop(reply.send(Ok(MembersReply { members: Vec::new(), cluster: None })));
                    }
                }
            }
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("its address");
        let peers = warp::path!("raft").map(|| "peers only");
        runtime.spawn(kvd::http::serve(listener.into(), gateway, peers, Limits::default()));
        Self { runtime, address, store, connection: None, _keep: (view, leader, stop) }
    }

    /// Sends a request, and checks its reply against the store.
    fn check(&mut self, ask: &Ask<'_>) {
        *self.store.write().expect("no panic holds it") = filled();
        let before = self.state();
        let reply = self.send(ask).expect("every request is answered");
        let after = self.state();
        if reply.status == 200 {
            self.check_success(ask, &reply, before == after);
            return;
        }
        let ErrorReply { error } = serde_json::from_slice(&reply.body).expect("an error is told as JSON");
        assert_eq!(error.code.status(), reply.status);
        assert!(error.message.len() > 10, "it says what to do: {error:?}");
        let is_client_error = matches!(reply.status, 400 | 404 | 405 | 409 | 410 | 412 | 413);
        let is_too_far = error.code == ErrorCode::TooStale;
        assert!(is_client_error || is_too_far, "{} {}: {error:?}", ask.method, ask.target);
        assert_eq!((before.0, before.1), (after.0, after.1), "nothing changes: {error:?}");
        if !matches!(
            error.code,
            ErrorCode::ConditionFailed
                | ErrorCode::StaleRequest
                | ErrorCode::LeaseNotFound
                | ErrorCode::LeaseExists
                | ErrorCode::TooLarge
        ) {
            // These are outcomes of commands; a session remembers them.
            assert!(before == after && error.applied == Applied::No, "{error:?}");
        }
    }

    fn check_success(&self, ask: &Ask<'_>, reply: &Reply, is_unchanged: bool) {
        let store = self.store.read().expect("no panic holds it");
        if ask.is_post_to("/set") {
            let _: SetReply = serde_json::from_slice(&reply.body).expect("the reply to a write");
            if ask.is_raw {
                let is_stored = store.range_from(std::ops::Bound::Unbounded).any(|(_, item)| *item.value == *ask.body);
                assert!(is_stored, "the body is the value");
            } else {
                let request: SetRequest =
                    serde_json::from_slice(ask.json()).expect("only what clients can read is taken");
                let item = store.get_ref(request.key.as_bytes()).expect("it was written");
                assert!(*item.value == *request.value && request.value.len() <= VALUE_BYTES_MAX);
            }
        } else if ask.is_post_to("/delete") {
            let deleted: DeleteReply = serde_json::from_slice(&reply.body).expect("the reply to a delete");
            let request: DeleteRequest =
                serde_json::from_slice(ask.json()).expect("only what clients can read is taken");
            let mut items = store.range_from(std::ops::Bound::Unbounded);
            assert!(deleted.more || !items.any(|(key, _)| request.range.contains(key)), "it is gone");
        } else if ask.is_post_to("/txn") {
            let _: TxnReply = serde_json::from_slice(&reply.body).expect("the reply to a transaction");
            let request: TxnRequest = serde_json::from_slice(ask.json()).expect("only what clients can read is taken");
            assert!(is_unchanged || writes(&request.txn), "{request:?}");
        } else if ask.is_post_to("/lease/grant") {
            let _: GrantReply = serde_json::from_slice(&reply.body).expect("the reply to a grant");
        } else if ask.is_post_to("/lease/keepalive") {
            let _: KeepAliveReply = serde_json::from_slice(&reply.body).expect("the reply to a keepalive");
        } else if ask.is_post_to("/lease/revoke") {
            let _: RevokeReply = serde_json::from_slice(&reply.body).expect("the reply to a revocation");
        } else {
            assert!(is_unchanged, "{} {} changed something", ask.method, ask.target);
        }
    }

    /// Returns the revision, the number of keys, and the hash of the whole store.
    fn state(&self) -> (u64, usize, StateHash) {
        let store = self.store.read().expect("no panic holds it");
        (store.revision(), store.len(), store.state_hash())
    }

    fn send(&mut self, ask: &Ask<'_>) -> io::Result<Reply> {
        let Self { runtime, address, connection, .. } = self;
        runtime.block_on(async {
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => BufReader::new(TcpStream::connect(*address).await?),
            };
            let reply = exchange(&mut stream, ask).await?;
            if !reply.closes {
                *connection = Some(stream);
            } else {
                // The server waits until we close our end.
                stream.shutdown().await?;
            }
            Ok(reply)
        })
    }
}

async fn exchange(stream: &mut BufReader<TcpStream>, ask: &Ask<'_>) -> io::Result<Reply> {
    let Ask { method, target, is_raw, body } = ask;
    let content_type = if *is_raw { "application/octet-stream" } else { "application/json" };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let (mut status, mut length, mut closes) = (0, 0, false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().map_err(io::Error::other)?;
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().map_err(io::Error::other)?;
        } else if line == "connection: close" {
            closes = true;
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Reply { status, closes, body })
}

/// Returns whether a transaction can write.
fn writes(txn: &Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).any(|op| match op {
        Op::Set(_) | Op::Delete(_) => true,
        Op::Get(_) | Op::List(_) => false,
        Op::Txn(nested) => writes(nested),
    })
}

/// Returns a store with items to read, to compare with and to delete, and a lease.
fn filled() -> Store {
    let mut store = Store::default();
    let (lease, ttl_ms) = (LeaseId::new(1234), 15_000);
    for operation in [Operation::RaiseLevel { to: Level::NEWEST }, Operation::GrantLease { lease, ttl_ms }] {
        store.apply(1, &Command { operation, request: None });
    }
    for (key, value) in [("color", "blue"), ("k", "v")] {
        let operation = Operation::Set { put: Put::new(key, value), condition: None };
        store.apply(1, &Command { operation, request: None });
    }
    store
}

fn node() -> NodeUrl {
    NodeUrl { id: "node1".into(), url: "http://localhost:8081".into() }
}

fn view() -> View {
    let (client_url, peer_url) = ("http://node1.example:8081", "http://node1.internal:9081");
    View {
        state: NodeState::Leader,
        term: 1,
        leader: Some(node()),
        last_log_index: 1,
        commit_index: 1,
        applied_index: 1,
        ready: true,
        ..View::forming("node1", "00000000000000a1", client_url, peer_url, 1)
    }
}
