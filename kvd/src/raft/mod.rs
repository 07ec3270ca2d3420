//! Consensus: the whole of Raft as a pure value, driven by calls that yield effects.

mod configuration;
mod entry;
mod types;

pub use configuration::{Configuration, MemberInfo};
pub use entry::{Entry, HardState, Payload, Record};
pub use types::{ClusterTime, Instant, LogIndex, NodeId, Term};
