//! A client's connection to one node, kept from one request to the next.

use crate::http::{Connection, Reply};

/// Asks one node, leader or not, as `curl` does: without asking for redirects, so that a follower forwards writes.
pub(super) struct OneNode {
    url: String,
    connection: Option<Connection>,
    /// Number of connections so far, with those that failed.
    pub(super) connections: usize,
}

/// Fate of a request without a reply.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The node cannot be connected to, so nothing was sent.
    NotSent,
    /// The connection failed after that.
    BrokenOff,
}

impl OneNode {
    pub(super) fn new(url: String) -> Self {
        Self { url, connection: None, connections: 0 }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request over the present connection, or a new one if there is none, and waits for the reply. A connection
    /// that fails is dropped.
    pub(super) fn ask(&mut self, what: &str, headers: &[&str], body: &[u8]) -> Result<Reply, Unanswered> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.connections += 1;
                Connection::open(&self.url).map_err(|_| Unanswered::NotSent)?
            }
        };
        let sent = connection.send(what, headers, body);
        let reply = sent.and_then(|()| connection.receive()).map_err(|_| Unanswered::BrokenOff)?;
        self.connection = Some(connection);
        Ok(reply)
    }
}
