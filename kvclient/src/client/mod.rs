//! The client's operations, one for each path of the API, in files that correspond to those of [`crate::api`].

mod backup;
mod cluster;
mod handle;
mod keys;
mod leases;
mod list;
mod locks;
mod members;
mod past;
mod snapshot;
mod status;
mod time;
mod txn;
mod watch;

#[cfg(test)]
mod tests;

pub use backup::SnapshotProgress;
pub use handle::Client;
pub use leases::Leases;
pub use past::Observed;
pub use status::NodeStatus;
