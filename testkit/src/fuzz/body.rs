//! Any bytes as the body of a request, and any query: each request is carried out, or refused with a reason and without
//! effect.
//!
//! The first line gives the destination of the rest: `POST /set`, `POST /set?key=k octets` for a body of raw bytes,
//! `GET /get?key=k`. The request is sent to a real server of this process, and the reply is compared with the store
//! behind it. The rest is also parsed as each of the replies of the API, as clients do.

use kvclient::api::{
    AddMemberRequest, Applied, DeleteReply, DeleteRequest, ErrorCode, ErrorReply, GetReply, Health, LeaderEvent,
    LeaderReply, MembersReply, NodeState, NodeUrl, PromoteMemberRequest, RemoveMemberRequest, ReplaceMemberRequest,
    SetReply, SetRequest, TransferRequest, UpdateMemberRequest,
};
use kvd::http::{
    BackupError, Forward, Forwarding, Gateway, Limits, NotTransferred, Question, Request, Unforwarded, View,
};
use kvd::kv::{Command, Operation, StateHash, Store};
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
        // These lead to other parts of the daemon, or to endless replies.
        let is_elsewhere = target.starts_with("/raft") || target.starts_with("/leader/watch");
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
            value_bytes_max: VALUE_BYTES_MAX,
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
                        let outcome = applied.write().expect("no panic holds it").apply(1, &command).outcome;
                        let _ = reply.send(Ok(outcome));
                    }
                    Request::Read { reply, .. } => drop(reply.send(Ok(()))),
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
        let is_client_error = matches!(reply.status, 400 | 404 | 405 | 409 | 412 | 413);
        assert!(is_client_error, "{} {}: {error:?}", ask.method, ask.target);
        assert_eq!((before.0, before.1), (after.0, after.1), "nothing changes: {error:?}");
        if !matches!(error.code, ErrorCode::ConditionFailed | ErrorCode::StaleRequest) {
            // These two are the outcome of a command; its session remembers it.
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
            let _: DeleteReply = serde_json::from_slice(&reply.body).expect("the reply to a delete");
            let request: DeleteRequest =
                serde_json::from_slice(ask.json()).expect("only what clients can read is taken");
            assert!(store.get_ref(request.key.as_bytes()).is_none(), "it is gone");
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

/// Returns a store with items to read, to compare with and to delete.
fn filled() -> Store {
    let mut store = Store::default();
    for (key, value) in [("color", "blue"), ("k", "v")] {
        let operation = Operation::Set { key: key.into(), value: value.into(), condition: None, prev: false };
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
