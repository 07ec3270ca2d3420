//! What the client offers: an operation for each path of the API, in files that stand beside those of [`crate::api`].

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
