//! Clients that read from one node only.

use super::keys::{any_key, seen};
use super::notes::{Life, NodeRead, Notes, Revision, StaleRead};
use super::one_node::OneNode;
use super::shared::{PAUSE, REFUSED_PAUSE, Shared};
use kvclient::api::GetReply;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

/// Consistency of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began.
    Linearizable,
    /// Takes the node's own data, however old.
    Stale,
}

/// Reads from one node only.
pub(super) struct Reader {
    /// Numbers of the node and of this reader.
    pub(super) node: usize,
    pub(super) number: usize,
    pub(super) at: OneNode,
    pub(super) consistency: Consistency,
    pub(super) random: StdRng,
    pub(super) shared: Arc<Shared>,
    pub(super) notes: Notes,
}

impl Reader {
    pub(super) fn run(mut self) -> Notes {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = any_key(&mut self.random);
            let answered = match self.consistency {
                Consistency::Linearizable => self.get(key),
                Consistency::Stale => self.get_stale(key),
            };
            thread::sleep(if answered { PAUSE } else { REFUSED_PAUSE });
        }
        self.notes
    }

    fn get(&mut self, key: u64) -> bool {
        let node = self.node;
        let invoked = self.shared.clock.now();
        self.shared.asked[node].fetch_add(1, Ordering::Relaxed);
        let found = self.exchange(key, "linearizable");
        let returned = self.shared.clock.now();
        self.notes.node_reads.push(NodeRead { node, invoked, returned, answered: found.is_some() });
        let Some(found) = found else { return false };
        self.shared.answered[node].fetch_add(1, Ordering::Relaxed);
        if let Some(GetReply { revision, .. }) = found {
            self.notes.revisions.push(Revision { invoked, returned, revision, changed: false });
        }
        self.notes.add_read(key, invoked, returned, found.map(|reply| seen(&reply.item)));
        true
    }

    fn get_stale(&mut self, key: u64) -> bool {
        let Some(found) = self.exchange(key, "stale") else { return false };
        let returned = self.shared.clock.now();
        let (revision, item) = found.map(|reply| (reply.revision, reply.item)).unzip();
        let life = Life { node: self.node, reader: self.number, connection: self.at.connections };
        self.notes.stale_reads.push(StaleRead { life: Some((life, revision)), key, returned, item });
        true
    }

    /// Returns the item that the node reports; `None` if it does not answer.
    fn exchange(&mut self, key: u64, consistency: &str) -> Option<Option<GetReply>> {
        let what = format!("GET /get?consistency={consistency}&key={}", self.shared.names.name(key));
        let reply = self.at.ask(&what, &[], b"").ok()?;
        match reply.status {
            200 => Some(Some(reply.json())),
            404 => Some(None),
            503 | 504 => None,
            status => panic!("{}: {status} {}", self.at.url(), reply.text()),
        }
    }
}
