//! Each node uses the last configuration in its log, committed or not (paper §6).

use super::{Checked, ensure};
use kvd::raft::{Configuration, Entry, LogIndex, NodeId, Payload, Raft};
use std::collections::BTreeMap;

const NAME: &str = "Configuration in the Log";

/// The configurations that each node has handed to its disk.
#[derive(Debug, Default)]
pub(super) struct Configurations {
    logs: BTreeMap<NodeId, BTreeMap<LogIndex, Configuration>>,
}

impl Configurations {
    pub(super) fn appended(&mut self, id: NodeId, entry: &Entry) {
        if let Payload::Configuration(configuration) = &entry.payload {
            self.logs.entry(id).or_default().insert(entry.index, configuration.clone());
        }
    }

    pub(super) fn truncated(&mut self, id: NodeId, from: LogIndex) {
        self.logs.entry(id).or_default().split_off(&from);
    }

    /// What a node has on disk it had handed to it before, unless it is what the founders write.
    pub(super) fn restarted(&mut self, id: NodeId, raft: &Raft) {
        let log = self.logs.entry(id).or_default();
        if log.is_empty() {
            log.insert(LogIndex(1), raft.configuration().clone());
        }
    }

    pub(super) fn check(&self, id: NodeId, raft: &Raft) -> Checked {
        let last = self.logs.get(&id).and_then(|log| log.values().next_back());
        ensure!(
            NAME,
            last == Some(raft.configuration()),
            "n{} uses another configuration than the last in its log",
            id.0
        );
        Ok(())
    }
}
