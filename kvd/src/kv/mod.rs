//! The replicated state machine: keys, revisions, sessions. Pure; it knows nothing of Raft.

mod command;
mod store;

pub use command::{Command, Condition, Item, Operation, Outcome, RequestId, Revision};
pub use store::Store;
