//! The client's operations, one for each path of the API, in files that correspond to those of [`crate::api`].

mod backup;
mod cluster;
mod handle;
mod keys;
mod members;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;

pub use backup::SnapshotProgress;
pub use handle::Client;
pub use status::NodeStatus;
