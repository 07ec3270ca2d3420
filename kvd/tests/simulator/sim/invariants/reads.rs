//! Quick checks of reads while the run goes on. A read shows the value of the key at the revision that it claims. It
//! sees everything that was committed on any node before it reached its own node. Stale reads of one process never go
//! back.
//!
//! A client may only rely on what it was told, but a ReadIndex promises more (thesis §6.4): a leader that had a quorum
//! for committing an entry took that quorum from every earlier leader, so no earlier leader is confirmed for a later
//! read.
//!
//! The linearizability of the whole history is checked at the end.

use super::super::client::key_bytes;
use super::super::model::Model;
use super::{Checked, ensure};
use kvd::kv::{Revision, Store};
use kvd::node::Replica;
use kvd::raft::{LogIndex, NodeId};
use std::collections::BTreeMap;

const NAME: &str = "Reads";

/// State that readers may rely on.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Revision of the last stale read at each node, by incarnation.
    stale: BTreeMap<(NodeId, u64), Revision>,
}

impl Reads {
    /// Checks the answer to a read that reached its node when everything up to `floor` was committed.
    pub(crate) fn linearizable<W, R>(
        &self,
        replica: &Replica<W, R>,
        key: u64,
        floor: LogIndex,
        store: &Store,
        model: &Model,
    ) -> Checked {
        let (at, applied) = (replica.raft().id(), replica.raft().log().applied_index());
        ensure!(
            NAME,
            applied >= floor,
            "n{} answers a read at {applied}, and {floor} was committed before it arrived",
            at.0
        );
        check_item(at, key, store, model)
    }

    pub(crate) fn stale(&mut self, at: (NodeId, u64), key: u64, store: &Store, model: &Model) -> Checked {
        let revision = store.revision();
        let before = self.stale.insert(at, revision).unwrap_or(0);
        ensure!(NAME, revision >= before, "n{} answers a stale read at {revision} after one at {before}", at.0.0);
        check_item(at.0, key, store, model)
    }
}

fn check_item(at: NodeId, key: u64, store: &Store, model: &Model) -> Checked {
    let found = store.get(&key_bytes(key));
    let expected = model.item_at(&key_bytes(key), store.revision());
    let revision = store.revision();
    ensure!(NAME, found.as_ref() == expected, "n{} shows {found:?} at {revision}, where {expected:?} stood", at.0);
    Ok(())
}
