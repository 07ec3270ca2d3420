//! The runtime: the one place where tokio, disk, peers and HTTP meet the pure replica.
//!
//! One task runs a node and takes the contents of its inbox in batches. It goes through the `phases` of a node, from
//! start to end; while the node serves, the task owns the replica. One thread writes the log (`log_writer`), one task
//! for each peer sends, and HTTP handlers only parse, ask and answer. Every queue is bounded, and clients and peers
//! have separate ones, so that a crowd of clients cannot hold up consensus.

mod directory;
mod error;
mod events;
mod forwarding;
mod inbox;
mod join_requests;
mod leadership_transfer;
mod listening;
mod log_writer;
mod membership_news;
mod open_files;
mod patient_disk;
mod phases;
mod publisher;
mod reporter;
mod running;
mod snapshots;
mod startup;
mod state_exchange;

pub(crate) use error::listen_hint;
pub use error::{FatalError, STOP_TIME_MAX, StartError};
pub use listening::{listen, listen_on_all};
pub use running::Server;
