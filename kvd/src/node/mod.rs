//! One replica of the store: consensus, the state machine, and the requests that wait on them.
//!
//! [`Replica`] is pure: calls in, effects out. Its caller (the server, or a simulator) provides time, messages and
//! completed writes, and executes the effects.

mod apply;
mod backlog;
mod effects;
mod keepalives;
mod leadership;
mod leadership_transfer;
mod leases;
mod levels;
mod member_changes;
mod raising;
mod recovery;
mod repeats;
mod replica;
mod request;
mod state_check;
#[cfg(test)]
mod tests;

pub use apply::UnreadableEntry;
pub use effects::Effects;
pub use leadership::LeadershipProof;
pub use leadership_transfer::{LeadershipTransfer, TransferError};
pub use member_changes::{ChangeError, MEMBERS_MAX, MemberChange, MemberChanges};
pub use recovery::{Recovered, Recovery};
pub use replica::Replica;
pub use request::{ReadError, WriteError};
pub use state_check::{AppliedState, Divergence, REPORT_STATES_MAX};
