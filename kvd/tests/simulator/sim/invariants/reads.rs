//! Quick checks of reads, while the run goes on: a read shows what stood under the key at the revision it claims, it
//! sees every write that was acknowledged before it began, and stale reads of one process never go back.
//!
//! Linearizability of the whole history is checked in the end.

use super::super::client::{Attempt, key_bytes};
use super::super::model::Model;
use super::{Checked, ensure};
use kvd::kv::{Revision, Store};
use kvd::raft::NodeId;
use std::collections::BTreeMap;

const NAME: &str = "Reads";

/// What readers may rely on.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The highest revision that any client was told.
    floor: Revision,
    /// The revision of the last stale read at each node, by life.
    stale: BTreeMap<(NodeId, u64), Revision>,
}

impl Reads {
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// A client was told that its write made this revision.
    pub(crate) fn told(&mut self, revision: Revision) {
        self.floor = self.floor.max(revision);
    }

    pub(crate) fn linearizable(&self, at: NodeId, attempt: &Attempt, store: &Store, model: &Model) -> Checked {
        let (revision, floor) = (store.revision(), attempt.floor);
        ensure!(
            NAME,
            revision >= floor,
            "n{} answers a read at revision {revision}, and {floor} was acknowledged before it began",
            at.0
        );
        check_item(at, attempt.key, store, model)
    }

    pub(crate) fn stale(&mut self, at: (NodeId, u64), attempt: &Attempt, store: &Store, model: &Model) -> Checked {
        let revision = store.revision();
        let before = self.stale.insert(at, revision).unwrap_or(0);
        ensure!(NAME, revision >= before, "n{} answers a stale read at {revision} after one at {before}", at.0.0);
        check_item(at.0, attempt.key, store, model)
    }
}

fn check_item(at: NodeId, key: u64, store: &Store, model: &Model) -> Checked {
    let found = store.get(&key_bytes(key));
    let expected = model.item_at(&key_bytes(key), store.revision());
    let revision = store.revision();
    ensure!(NAME, found.as_ref() == expected, "n{} shows {found:?} at {revision}, where {expected:?} stood", at.0);
    Ok(())
}
