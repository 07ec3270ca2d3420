//! The first steps of a member: its first writes to disk, their order, and the moment at which it tells other nodes.
//!
//! The log is begun first, then the cluster is written to the identity (see [`crate::data`]). After a crash in between,
//! a founder is still one, by the first entry of its log; a node that was about to join asks again, under the same id.
//! Only when both are durable does the node introduce itself as a member: other nodes act on the founders that it
//! names.

use crate::data::{cluster_of, founding_records, joining_records};
use crate::kv::{Level, Store};
use crate::mutants::{self, Mutant};
use crate::node::{Recovered, Recovery};
use crate::peer::{Founder, Hello, founders_of, founding_configuration};
use crate::raft::{Configuration, Record};
use crate::storage::ClusterIdentity;
use std::sync::{Arc, RwLock};

/// Data to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWrite {
    /// These records, at the beginning of the log.
    Log(Vec<Record>),
    /// The cluster, in the identity.
    Identity(ClusterIdentity),
}

/// A node that is about to become a member.
#[derive(Debug)]
pub struct Beginning {
    cluster: ClusterIdentity,
    records: Vec<Record>,
    /// The first configuration, which only a founder has.
    founding: Option<Configuration>,
    /// Number of calls of [`Beginning::next_write`].
    steps: usize,
}

impl Beginning {
    /// Begins as one of the founders of a new cluster.
    pub fn of_founders(founders: &[Founder]) -> Self {
        let founding = founding_configuration(founders);
        let records = founding_records(founding.clone());
        Self { cluster: cluster_of(&founding), records, founding: Some(founding), steps: 0 }
    }

    /// Begins as a member of a cluster that this node has joined.
    pub fn as_joined(cluster: ClusterIdentity) -> Self {
        Self { cluster, records: joining_records(), founding: None, steps: 0 }
    }

    /// Returns the cluster that the node is about to become a member of.
    pub fn cluster(&self) -> &ClusterIdentity {
        &self.cluster
    }

    /// Returns the next write, when all earlier ones are durable; `None` if that was all.
    pub fn next_write(&mut self) -> Option<ToWrite> {
        self.steps += 1;
        let (log, identity) = if mutants::is_on(Mutant::IdentityBeforeLog) { (2, 1) } else { (1, 2) };
        match self.steps {
            step if step == log => Some(ToWrite::Log(self.records.clone())),
            step if step == identity => Some(ToWrite::Identity(self.cluster.clone())),
            _ => None,
        }
    }

    /// Returns the state from which the replica starts once everything is durable, with this empty store. `level_max`
    /// is the newest level that the node supports, or is configured to support.
    pub fn recovered(&self, store: Arc<RwLock<Store>>, level_max: Level, cache_bytes_max: usize) -> Recovered {
        let mut recovery = Recovery::default().with_level_max(level_max);
        for record in self.records.clone() {
            recovery.record(record, cache_bytes_max).expect("what a log begins with is no command");
        }
        Recovered { store, ..recovery.finish([]) }
    }

    /// Adds this node's membership to its introduction, once that is durable. Returns true if that is news.
    pub fn introduce(&self, hello: &mut Hello) -> bool {
        let is_durable = self.steps > 2 || mutants::is_on(Mutant::FoundersToldEarly);
        if is_durable {
            introduce_member(hello, self.cluster.id, self.founding.as_ref());
        }
        is_durable
    }
}

/// Adds a node's membership of this cluster to its introduction, and the cluster's first configuration if its log still
/// has it.
pub fn introduce_member(hello: &mut Hello, cluster: u64, founding: Option<&Configuration>) {
    hello.cluster = Some(cluster);
    hello.founders = founding.map(founders_of).unwrap_or_default();
    hello.remembers = None;
    hello.expects_data = false;
    hello.joins = false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::FOUNDING_INDEX;
    use crate::raft::LogIndex;

    fn hello(node: u64) -> Hello {
        Hello {
            cluster: None,
            remembers: Some(7),
            expects_data: true,
            incarnation: 9,
            ..Hello::of_member(&format!("n{node}"), node)
        }
    }

    #[test]
    fn a_member_introduces_itself_as_one_when_log_and_identity_are_durable_in_this_order() {
        let founders = [hello(1).as_founder(), hello(2).as_founder()];
        let mut hello = hello(1);
        let mut beginning = Beginning::of_founders(&founders);
        let cluster = beginning.cluster().clone();
        assert_eq!(cluster.first_members, ["n1", "n2"]);
        let records = founding_records(founding_configuration(&founders));
        for expected in [ToWrite::Log(records), ToWrite::Identity(cluster.clone())] {
            assert!(!beginning.introduce(&mut hello) && hello.cluster.is_none());
            assert_eq!(beginning.next_write(), Some(expected));
        }
        assert!(!beginning.introduce(&mut hello) && hello.cluster.is_none());
        assert_eq!(beginning.next_write(), None);
        assert!(beginning.introduce(&mut hello));
        assert_eq!((hello.cluster, &hello.founders[..]), (Some(cluster.id), &founders[..]));
        assert_eq!((hello.remembers, hello.expects_data, hello.incarnation), (None, false, 9));
    }

    #[test]
    fn a_founder_starts_with_the_first_configuration_and_who_joins_with_nothing() {
        let founders = [hello(1).as_founder(), hello(2).as_founder()];
        let founding = Beginning::of_founders(&founders);
        let recovered = founding.recovered(Arc::default(), Level::NEWEST, 0);
        assert_eq!(recovered.configurations.get(&FOUNDING_INDEX), Some(&founding_configuration(&founders)));
        assert_eq!(recovered.log.commit_index(), FOUNDING_INDEX);

        let mut joining = Beginning::as_joined(founding.cluster().clone());
        let recovered = joining.recovered(Arc::default(), Level::NEWEST, 0);
        assert_eq!((recovered.log.last_index(), recovered.configurations.len()), (LogIndex(0), 0));
        while joining.next_write().is_some() {}
        let mut hello = hello(3);
        assert!(joining.introduce(&mut hello));
        assert_eq!((hello.cluster, hello.founders.len()), (Some(founding.cluster().id), 0));
    }
}
