//! Nodes played by a script, for what a real one does not do on demand: lose a reply, fall silent,
//! redirect in circles.

use crate::api::{Applied, ErrorBody, ErrorCode, ErrorReply, Health, LeaderEvent, Member, NodeState, NodeUrl};
use crate::client::Client;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Within this, whatever a test waits for has happened or never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request as the node got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and path, such as `GET /health`.
    pub(crate) what: String,
    /// The query, without the question mark.
    pub(crate) query: String,
    /// The body; null where there was none.
    pub(crate) body: Value,
}

/// What a node does about a request.
#[derive(Debug)]
pub(crate) enum Act {
    /// Answers with a status, headers (each ending in CRLF) and a body.
    Answer(u16, String, String),
    /// Answers 200, promises so many bytes and sends these; closes the connection where they are fewer.
    Bytes(usize, Vec<u8>),
    /// Closes the connection without an answer.
    HangUp,
    /// Keeps the connection and says nothing.
    KeepSilent,
    /// Begins an event stream and passes on what comes, until the sender is dropped.
    Stream(Receiver<String>),
}

/// Answers 200 with this body.
pub(crate) fn ok(body: impl serde::Serialize) -> Act {
    Act::Answer(200, String::new(), serde_json::to_string(&body).unwrap())
}

/// Answers with an error, its usual status and its usual promise.
pub(crate) fn error(code: ErrorCode) -> Act {
    let applied = if code == ErrorCode::Timeout { Applied::Unknown } else { Applied::No };
    let error = ErrorBody { code, message: format!("{code:?}"), applied, leader: None, current: None };
    Act::Answer(code.status(), String::new(), serde_json::to_string(&ErrorReply { error }).unwrap())
}

/// Redirects to another node.
pub(crate) fn redirect(to: &str) -> Act {
    let leader = Some(NodeUrl { id: "leader".into(), url: to.into() });
    let error =
        ErrorBody { code: ErrorCode::NotLeader, message: "not me".into(), applied: Applied::No, leader, current: None };
    let body = serde_json::to_string(&ErrorReply { error }).unwrap();
    Act::Answer(307, format!("location: {to}/set\r\n"), body)
}

/// The health of a node that names `leader`, by name and URL, or leads itself where the names agree.
pub(crate) fn health(name: &str, term: u64, leader: Option<(&str, &str)>, members: &[&str]) -> Health {
    let members = members
        .iter()
        .enumerate()
        .map(|(index, url)| Member {
            id: format!("node{}", index + 1),
            client_url: (*url).into(),
            peer_url: (*url).into(),
            voter: true,
            goal: None,
            node: String::new(),
        })
        .collect();
    Health {
        id: name.into(),
        state: if leader.is_some_and(|(id, _)| id == name) { NodeState::Leader } else { NodeState::Follower },
        term,
        leader: leader.map(|(id, url)| NodeUrl { id: id.into(), url: url.into() }),
        last_log_index: 1,
        commit_index: 1,
        applied_index: 1,
        revision: 1,
        keys: 0,
        version: "0".into(),
        uptime_ms: 1,
        members,
        waiting_for: None,
        diverged: None,
        disk_stuck_ms: None,
        snapshots_damaged: 0,
        log_damaged: 0,
        node: String::new(),
        client_url: String::new(),
        peer_url: String::new(),
    }
}

/// The text of a `leader` event.
pub(crate) fn leader_event(term: u64, leader: Option<&str>) -> String {
    let leader = leader.map(|id| NodeUrl { id: id.into(), url: format!("http://{id}:1") });
    format!("event: leader\ndata: {}\n\n", json!(LeaderEvent { term, leader }))
}

/// The usual reply to a set.
pub(crate) fn set_reply() -> Act {
    ok(json!({"revision": 2, "created": true}))
}

type Script = dyn FnMut(&Seen) -> Act + Send;

/// A node that does what its script says. Dropping it closes its connections and its port.
pub(crate) struct Node {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Node {
    /// Starts a node; `script` is asked about each request.
    pub(crate) fn start(script: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// As [`Node::start`], on a port of which the URL is needed beforehand.
    pub(crate) fn start_on(listener: TcpListener, script: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        let node =
            Self { url: url_of(&listener), seen: Arc::default(), stopped: Arc::default(), connections: Arc::default() };
        let (seen, stopped, connections) =
            (Arc::clone(&node.seen), Arc::clone(&node.stopped), Arc::clone(&node.connections));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                connections.lock().unwrap().push(stream.try_clone().unwrap());
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                thread::spawn(move || serve(&stream, &seen, &script));
            }
        });
        node
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The requests so far of this kind, such as `POST /set`.
    pub(crate) fn seen(&self, what: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.what == what).cloned().collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then lets go of the port.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<Seen>>, script: &Mutex<Script>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let act = script.lock().unwrap()(&request);
        match act {
            Act::Answer(status, headers, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} S\r\n{headers}content-length: {length}\r\n\r\n{body}");
                if writer.write_all(head.as_bytes()).is_err() {
                    return;
                }
            }
            Act::Bytes(length, bytes) => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                let sent = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&bytes));
                if sent.is_err() || bytes.len() < length {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    return;
                }
            }
            Act::HangUp => {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
            Act::KeepSilent => {}
            Act::Stream(pieces) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut sent = writer.write_all(head.as_bytes());
                loop {
                    let piece = match pieces.recv_timeout(Duration::from_millis(100)) {
                        Ok(piece) => piece,
                        Err(RecvTimeoutError::Timeout) => ":\n\n".into(),
                        Err(RecvTimeoutError::Disconnected) => break,
                    };
                    sent = sent.and_then(|()| write!(writer, "{:x}\r\n{piece}\r\n", piece.len()));
                    if sent.is_err() {
                        break;
                    }
                }
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|bytes| *bytes > 0)?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Seen { what: format!("{method} {path}"), query: query.into(), body })
}

/// Where a node on this listener is reached.
pub(crate) fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

/// A URL at which connections are refused.
pub(crate) fn dead_url() -> String {
    url_of(&TcpListener::bind("127.0.0.1:0").unwrap())
}

/// A client with limits for tests: quick retries, and no attempt longer than `attempt`.
pub(crate) fn client(urls: &[&str], attempt: Duration, total: Duration) -> Client {
    let backoff = (Duration::from_millis(1), Duration::from_millis(20));
    Client::builder()
        .endpoints(urls)
        .attempt_timeout(attempt)
        .total_timeout(total)
        .backoff(backoff.0, backoff.1)
        .build_in_order()
        .unwrap()
}

/// The two ends of an event stream.
pub(crate) fn stream() -> (Sender<String>, Act) {
    let (sender, receiver) = channel();
    (sender, Act::Stream(receiver))
}
