//! One client's session, and the same session as a snapshot keeps it.

use super::super::codec::put_bytes;
use super::super::fingerprint::Fingerprint;
use super::super::hash::Kind;
use super::super::pieces::Content;
use super::super::walk::{Keep, View};
use kvclient::snapshot::put_varint;
use std::cmp::Ordering;
use std::sync::Arc;

/// Longest reply that is never dropped, in bytes. A reply without an item has at most 12.
const SHORT_REPLY_BYTES_MAX: usize = 64;

/// The session of one client.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) newest_seq: u64,
    pub(super) last_used_ms: u64,
    /// Fingerprint of the newest request's operation.
    pub(super) fingerprint: Fingerprint,
    /// The outcome of the newest request, encoded: it is hashed with every change and read only for a repeat.
    /// Empty once dropped.
    pub(super) reply: Box<[u8]>,
    /// Number of snapshots begun by the time of the last change. Not part of the state.
    pub(super) last_change: u64,
}

impl Session {
    pub(super) fn has_long_reply(&self) -> bool {
        self.reply.len() > SHORT_REPLY_BYTES_MAX
    }

    /// Returns everything that distinguishes this session from another, in the only form that it has:
    ///
    /// | size   | field |
    /// |--------|-------|
    /// | varies | client: varint length and bytes, UTF-8 |
    /// | varies | newest seq, last used at: varints |
    /// | 8      | fingerprint, lowest byte first |
    /// | varies | reply: the rest |
    pub(super) fn canonical_bytes(&self, client: &str) -> Vec<u8> {
        let mut to = self.canonical_head(client, self.reply.len());
        to.extend_from_slice(&self.reply);
        to
    }

    /// Returns the bytes before the reply, with room for more bytes.
    fn canonical_head(&self, client: &str, more: usize) -> Vec<u8> {
        let mut to = Vec::with_capacity(client.len() + 40 + more);
        put_bytes(&mut to, client.as_bytes());
        put_varint(&mut to, self.newest_seq);
        put_varint(&mut to, self.last_used_ms);
        to.extend_from_slice(&self.fingerprint.0.to_le_bytes());
        to
    }

    /// Returns the session as a snapshot sees it.
    pub(super) fn view<'a>(&'a self, client: &'a str) -> View<'a, str> {
        let content = Content { head: self.canonical_head(client, 0).into(), tail: &self.reply };
        View { key: client, last_change: self.last_change, content }
    }
}

/// A session as it was, ordered by its client.
pub(in crate::kv) struct KeptSession {
    client: Arc<str>,
    session: Session,
}

impl KeptSession {
    /// Copies the current session of `client`.
    pub(super) fn new(client: &Arc<str>, session: &Session) -> Self {
        Self { client: Arc::clone(client), session: session.clone() }
    }
}

impl Keep for KeptSession {
    type Key = str;
    const KIND: Kind = Kind::Session;

    fn key(&self) -> &str {
        &self.client
    }

    fn view(&self) -> View<'_, str> {
        self.session.view(&self.client)
    }
}

impl PartialEq for KeptSession {
    fn eq(&self, other: &Self) -> bool {
        self.client == other.client
    }
}

impl Eq for KeptSession {}

impl PartialOrd for KeptSession {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeptSession {
    fn cmp(&self, other: &Self) -> Ordering {
        self.client.cmp(&other.client)
    }
}
