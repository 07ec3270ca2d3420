//! How a node becomes part of a cluster: a founder by the entry that every founder writes to its log by itself, a node
//! that joins later by a log that has no entry yet.
//!
//! Either begins its log first and then writes the cluster into its identity. So an identity with a cluster says
//! that the log was begun: if the log is missing or empty, it was lost. A log without a cluster in the identity is
//! what a crash between the two leaves. A founder's entry says all that the identity lacks; a node that was about to
//! join has promised nothing yet, and joins as if for the first time.

use crate::peer::ClusterId;
use crate::raft::{ClusterTime, Configuration, Entry, HardState, LogIndex, Payload, Record, Term};
use crate::storage::ClusterIdentity;

/// Index and term of the entry that every founder begins its log with: the first configuration.
pub const FOUNDING_INDEX: LogIndex = LogIndex(1);
const FOUNDING_TERM: Term = Term(1);

/// What every founder begins its log with. All write the same, so it is committed from the start.
pub fn founding_records(founders: Configuration) -> Vec<Record> {
    let payload = Payload::Configuration(founders);
    let entry = Entry { index: FOUNDING_INDEX, term: FOUNDING_TERM, time: ClusterTime(0), payload };
    vec![
        Record::HardState(HardState { term: FOUNDING_TERM, vote: None }),
        Record::Entry(entry),
        Record::Commit(FOUNDING_INDEX),
    ]
}

/// What a node that joins a cluster begins its log with, which then has everything from the leader: no entry, but more
/// than nothing, so that a log that was lost is told from one that has yet to be filled.
pub fn joining_records() -> Vec<Record> {
    vec![Record::HardState(HardState::default())]
}

/// The cluster that begins with these members.
pub fn cluster_of(founders: &Configuration) -> ClusterIdentity {
    let mut first_members: Vec<String> = founders.members.values().map(|info| info.name.clone()).collect();
    first_members.sort();
    ClusterIdentity { id: ClusterId::of_founders(founders).0, first_members }
}
