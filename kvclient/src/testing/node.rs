//! A node that acts by a script.

use super::PATIENCE;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A request as the node received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and path, such as `GET /health`.
    pub(crate) what: String,
    /// The query, without the question mark.
    pub(crate) query: String,
    /// The headers, by their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body; null where there was none.
    pub(crate) body: Value,
}

/// A node's reaction to a request.
#[derive(Debug)]
pub(crate) enum Act {
    /// Answers with a status, headers (each ending in CRLF) and a body.
    Answer(u16, String, String),
    /// Answers 200, promises this many bytes and sends the given ones. Closes the connection if they are fewer.
    Bytes(usize, Vec<u8>),
    /// Closes the connection without an answer.
    HangUp,
    /// Keeps the connection open and sends nothing.
    KeepSilent,
    /// Begins a stream of events with this, and then sends nothing more.
    Hang(String),
    /// Begins an event stream and passes on what it receives, until the sender is dropped.
    Stream(Receiver<String>),
}

/// The cluster of scripted nodes.
pub(crate) const CLUSTER: &str = "00000000000000c1";

type Script = dyn FnMut(&Seen) -> Act + Send;

/// A node that acts by a script. Dropping it closes its connections and its port.
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

    /// Like [`Node::start`], on a port whose URL is needed beforehand.
    pub(crate) fn start_on(listener: TcpListener, script: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        Self::start_in(Some(CLUSTER), listener, script)
    }

    /// Like [`Node::start_on`], in another cluster, or in none.
    pub(crate) fn start_in(
        cluster: Option<&str>,
        listener: TcpListener,
        script: impl FnMut(&Seen) -> Act + Send + 'static,
    ) -> Self {
        let signature = cluster.map(|id| format!("kvd-cluster: {id}\r\n")).unwrap_or_default();
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
                let (seen, script, signature) = (Arc::clone(&seen), Arc::clone(&script), signature.clone());
                thread::spawn(move || serve(&stream, &seen, &script, &signature));
            }
        });
        node
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns all requests so far.
    pub(crate) fn seen_all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the requests of this kind so far, such as `POST /set`.
    pub(crate) fn seen(&self, what: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.what == what).cloned().collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then releases the port.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// `signature` is the header that every reply has.
fn serve(stream: &TcpStream, seen: &Mutex<Vec<Seen>>, script: &Mutex<Script>, signature: &str) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read_request(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        let act = script.lock().unwrap()(&request);
        match act {
            Act::Answer(status, headers, body) => {
                let length = body.len();
                let head = format!("HTTP/1.1 {status} S\r\n{signature}{headers}content-length: {length}\r\n\r\n{body}");
                if writer.write_all(head.as_bytes()).is_err() {
                    return;
                }
            }
            Act::Bytes(length, bytes) => {
                let head = format!("HTTP/1.1 200 OK\r\n{signature}content-length: {length}\r\n\r\n");
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
            Act::Hang(piece) => {
                let kind = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
                let begun = format!("HTTP/1.1 200 OK\r\n{signature}{kind}\r\n\r\n{:x}\r\n{piece}\r\n", piece.len());
                // Until the client closes the connection.
                let _ =
                    writer.write_all(begun.as_bytes()).and_then(|()| std::io::copy(&mut reader, &mut std::io::sink()));
                return;
            }
            Act::Stream(pieces) => {
                let kind = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
                let head = format!("HTTP/1.1 200 OK\r\n{signature}{kind}\r\n\r\n");
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
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|bytes| *bytes > 0)?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Seen { what: format!("{method} {path}"), query: query.into(), headers, body })
}

/// Returns the URL of a node on this listener.
pub(crate) fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

/// Listens on the port of a node that is gone.
pub(crate) fn listen_again(url: &str) -> TcpListener {
    let address = url.trim_start_matches("http://");
    let began = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            // The earlier node releases the port in a thread of its own.
            Err(cause) => assert!(began.elapsed() < PATIENCE, "{url}: {cause}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns a URL at which connections are refused.
pub(crate) fn dead_url() -> String {
    url_of(&TcpListener::bind("127.0.0.1:0").unwrap())
}
