//! How a node becomes part of a cluster. Every founder writes the same first entry to its log by itself; a node that
//! joins later begins with a log without entries.
//!
//! Both begin the log first and then write the cluster into the identity. So an identity with a cluster says that the
//! log was begun: if the log is missing or empty, it was lost. A crash between the two steps leaves a log and an
//! identity without a cluster. A founder's first entry has everything that the identity lacks. A node that was about to
//! join has promised nothing yet, and joins as if for the first time.

use crate::peer::ClusterId;
use crate::raft::{ClusterTime, Configuration, Entry, HardState, LogIndex, Payload, Record, Term};
use crate::storage::ClusterIdentity;

/// Index of the entry that every founder begins its log with: the first configuration.
pub const FOUNDING_INDEX: LogIndex = LogIndex(1);
const FOUNDING_TERM: Term = Term(1);

/// Returns the first records of every founder's log. All founders write the same, so the entry is committed from the
/// start.
pub fn founding_records(founders: Configuration) -> Vec<Record> {
    let payload = Payload::Configuration(founders);
    let entry = Entry { index: FOUNDING_INDEX, term: FOUNDING_TERM, time: ClusterTime(0), payload };
    vec![
        Record::HardState(HardState { term: FOUNDING_TERM, vote: None }),
        Record::Entry(entry),
        Record::Commit(FOUNDING_INDEX),
    ]
}

/// Returns the first records of a joining node's log; the leader sends everything else. They contain no entry, but are
/// not empty either, so that a lost log can be told from one that has yet to be filled.
pub fn joining_records() -> Vec<Record> {
    vec![Record::HardState(HardState::default())]
}

/// Returns the cluster that these members found.
pub fn cluster_of(founders: &Configuration) -> ClusterIdentity {
    let mut first_members: Vec<String> = founders.members.values().map(|info| info.name.clone()).collect();
    first_members.sort();
    ClusterIdentity { id: ClusterId::of_founders(founders).0, first_members }
}
