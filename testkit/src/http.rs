//! As much HTTP as the tests need, so that they see every byte of a reply and can keep connections open across pauses.

use kvclient::api::{ErrorBody, ErrorReply};
use serde::de::DeserializeOwned;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A daemon answers within its own time limit of five seconds, and a paused one once it resumes.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A reply.
#[derive(Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Returns the value of a header; the name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|cause| panic!("{cause}: {} {}", self.status, self.text()))
    }
}

/// A connection that carries one request after another.
pub struct Connection {
    host: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to the node at `url`.
    pub fn open(url: &str) -> io::Result<Self> {
        let host = url.trim_start_matches("http://");
        let address: SocketAddr = host.parse().map_err(io::Error::other)?;
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { host: host.to_owned(), stream: BufReader::new(stream) })
    }

    /// Sends a request and does not wait for its reply. `headers` are whole lines without their line ends.
    pub fn send(&mut self, what: &str, headers: &[&str], body: &[u8]) -> io::Result<()> {
        let length = format!("content-length: {}", body.len());
        let mut request = self.head(what, &[&[length.as_str()], headers].concat());
        request.extend(body);
        self.stream.get_mut().write_all(&request)
    }

    /// Sends a request without its body.
    pub fn send_head(&mut self, what: &str, headers: &[&str]) -> io::Result<()> {
        let head = self.head(what, headers);
        self.stream.get_mut().write_all(&head)
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Returns another handle, to send while this one waits for a reply.
    pub fn sender(&self) -> io::Result<TcpStream> {
        self.stream.get_ref().try_clone()
    }

    /// Reads until the node closes the connection; returns the bytes it sent until then. A reset closes it as well.
    ///
    /// # Errors
    /// If it is still open after this time without a byte.
    pub fn read_to_end(&mut self, silence_max: Duration) -> io::Result<Vec<u8>> {
        self.stream.get_ref().set_read_timeout(Some(silence_max))?;
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(cause) if cause.kind() != io::ErrorKind::ConnectionReset => Err(cause),
            Ok(_) | Err(_) => Ok(bytes),
        }
    }

    fn head(&self, what: &str, headers: &[&str]) -> Vec<u8> {
        let mut head = format!("{what} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Returns the reply to the first request that has none yet.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length = reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reply.body.resize(length, 0);
        self.stream.read_exact(&mut reply.body)?;
        Ok(reply)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// Sends one request on its own connection.
pub(crate) fn get(url: &str, target: &str) -> io::Result<Reply> {
    let mut connection = Connection::open(url)?;
    connection.send(&format!("GET {target}"), &[], b"")?;
    connection.receive()
}

/// Sends one request with a body on its own connection.
pub(crate) fn post(url: &str, target: &str, body: impl AsRef<[u8]>) -> io::Result<Reply> {
    let mut connection = Connection::open(url)?;
    connection.send(&format!("POST {target}"), &[], body.as_ref())?;
    connection.receive()
}

/// Returns the error in a reply.
#[track_caller]
pub fn error_of(reply: &Reply) -> ErrorBody {
    reply.json::<ErrorReply>().error
}
