//! Consensus: the whole of Raft (Ongaro and Ousterhout, extended version; Ongaro's thesis) as a pure
//! value.
//!
//! [`Raft`] is driven by a few calls (`tick`, `step`, `propose`, `read_index`, `written`, ...), and [`Raft::effects`]
//! returns the actions to take after them: messages to send, records to write, committed entries to apply, reads that
//! may be served. This module knows no clock, disk or network and not the meaning of commands, and the same calls give
//! the same effects.
//!
//! From the floor up: the basic types (`types`), entries and configurations, messages and effects; the log and the
//! leader's view of each follower; then [`Raft`] itself in `core`, with the rules of elections, replication, snapshots,
//! reads, cluster time, leadership transfer and durability each in a separate file.

mod cluster_time;
mod configuration;
mod core;
mod durability;
mod effects;
mod election;
mod entry;
mod following;
mod heard_times;
mod log;
mod membership;
mod message;
mod presence;
mod progress;
mod reads;
mod refusal;
mod replication;
mod role;
mod settings;
mod snapshot;
mod stuck_disk;
mod transfer;
mod types;
mod waiting_reads;
mod writing;

pub use configuration::{Configuration, Goal, MemberInfo};
pub use core::{ProposalRefusal, Raft, Restored};
pub use effects::{Effects, Fetch, LogRestart, LogWrite, ReadOutcome, ReadToken, SendSnapshot, WriteId};
pub use entry::{Entry, HardState, Payload, Record};
pub use log::Log;
pub use membership::{MembershipChange, MembershipError};
pub use message::{BallotId, Body, Message, ReadId};
pub use progress::{FollowerProgress, InFlight};
pub use refusal::Refusal;
pub use role::RoleName;
pub use settings::Settings;
pub use snapshot::SnapshotPlace;
pub use transfer::TransferRefusal;
pub use types::{ClusterTime, Instant, LogBase, LogIndex, NodeId, Term};
