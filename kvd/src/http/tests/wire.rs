//! A client that writes exactly the bytes that a test gives, and reads the reply.

use kvclient::api::{Applied, ErrorCode, ErrorReply};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for anything to arrive; far beyond the time that a healthy server takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Wire {
    stream: TcpStream,
    /// Bytes that were read, but are not part of a reply yet.
    buffered: Vec<u8>,
}

/// A stream of Server-Sent Events.
pub(super) struct Events {
    wire: Wire,
    /// Text that was read and is not part of an event yet.
    text: Vec<u8>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) name: String,
    pub(super) data: String,
}

impl Events {
    /// Returns the next event; `None` when the stream has ended.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.text.windows(2).position(|window| window == b"\n\n");
            let Some(end) = end else {
                self.text.extend(self.wire.chunk()?);
                continue;
            };
            let block = String::from_utf8(self.text.drain(..end + 2).collect()).unwrap();
            let field = |name: &str| {
                let mut fields = block.lines().filter_map(|line| line.split_once(": "));
                fields.find(|(field, _)| *field == name).map(|(_, value)| value.to_owned())
            };
            // A comment is not an event.
            if let Some(name) = field("event") {
                return Some(Event { id: field("id"), name, data: field("data").expect("an event has data") });
            }
        }
    }

    /// Asserts that the next event has this name and data. Returns its id.
    #[track_caller]
    pub(super) fn expect(&mut self, name: &str, data: &str) -> Option<String> {
        let event = self.next().expect("one more event");
        assert_eq!((&event.name[..], &event.data[..]), (name, data));
        event.id
    }
}

/// A reply, its header names in lower case.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body, without the newline at the end of JSON.
    pub(super) fn text(&self) -> &str {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.strip_suffix('\n').unwrap_or(text)
    }

    pub(super) fn error(&self) -> ErrorReply {
        serde_json::from_slice(&self.body).unwrap_or_else(|cause| panic!("{cause}: {self:?}"))
    }

    /// Returns the values that a table of failures compares.
    pub(super) fn failure(&self) -> (u16, ErrorCode, Applied) {
        let error = self.error().error;
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(error.message.len() > 10, "says what to do: {self:?}");
        (self.status, error.code, error.applied)
    }
}

impl Wire {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffered: Vec::new() }
    }

    /// Sends `head` (request line and header lines) and `body` unchanged, adds `Host` and `Content-Length` if the head
    /// lacks them, and reads the reply.
    pub(super) fn request(&mut self, head: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let mut request = head.to_owned();
        let lower = head.to_lowercase();
        if !lower.contains("\r\nhost:") {
            request += "\r\nHost: localhost";
        }
        if !lower.contains("\r\ncontent-length:") && !lower.contains("\r\ntransfer-encoding:") && !body.is_empty() {
            request += &format!("\r\nContent-Length: {}", body.len());
        }
        request += "\r\n\r\n";
        self.send(request);
        self.send(body);
        self.reply(!head.starts_with("HEAD"))
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Returns another handle, to write while a test reads.
    pub(super) fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    pub(super) fn shut_down_writing(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Returns the next reply. If it has a body, that is as long as its header says.
    pub(super) fn reply(&mut self, has_body: bool) -> Reply {
        let head = self.read_through("\r\n\r\n");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}")))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Reply { status: status.expect("a status"), headers, body: Vec::new() };
        if has_body && let Some(length) = reply.header("content-length") {
            let length = length.parse().unwrap();
            while self.buffered.len() < length {
                assert!(self.read_more().unwrap() > 0, "closed within a body");
            }
            reply.body = self.buffered.drain(..length).collect();
        }
        reply
    }

    /// Returns the body of a reply that came in chunks, up to its end. `None` if the connection breaks off before.
    pub(super) fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            while !self.buffered.windows(2).any(|window| window == b"\r\n") {
                if self.read_more().ok()? == 0 {
                    return None;
                }
            }
            let size = usize::from_str_radix(self.read_through("\r\n").trim_end(), 16).expect("the size of a chunk");
            while self.buffered.len() < size + 2 {
                if self.read_more().ok()? == 0 {
                    return None;
                }
            }
            let chunk: Vec<u8> = self.buffered.drain(..size + 2).collect();
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Returns the next chunk of a reply that comes in chunks; `None` at its end.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.read_through("\r\n").trim_end(), 16).expect("the size of a chunk");
        while self.buffered.len() < size + 2 {
            assert!(self.read_more().unwrap() > 0, "closed within a chunk");
        }
        let chunk: Vec<u8> = self.buffered.drain(..size + 2).take(size).collect();
        (size > 0).then_some(chunk)
    }

    /// Asks for a stream of events.
    pub(super) fn events(mut self, head: &str, body: impl AsRef<[u8]>) -> Events {
        let reply = self.request(head, body);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")), "{reply:?}");
        Events { wire: self, text: Vec::new() }
    }

    /// Reads up to and including `end`.
    pub(super) fn read_through(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffered.windows(end.len()).position(|window| window == end.as_bytes()) {
                return String::from_utf8(self.buffered.drain(..at + end.len()).collect()).unwrap();
            }
            let read = self.read_more().unwrap();
            assert!(read > 0, "closed before {end:?}, after {:?}", String::from_utf8_lossy(&self.buffered));
        }
    }

    /// Returns whether the server closes the connection without sending anything more.
    pub(super) fn is_closed(&mut self) -> bool {
        let read = self.read_more();
        match read {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes)?;
        self.buffered.extend_from_slice(&bytes[..read]);
        Ok(read)
    }
}
