//! Locks and elections.
//!
//! `builder` sets the name and the options. `claim` waits for the lock at one node after another, always with the same
//! lease, so that it keeps its place in the queue. `guard` is the lock while it is held. `holders` follows the holders
//! of a lock.

mod builder;
mod claim;
mod guard;
mod holders;

pub use builder::LockBuilder;
pub use guard::Lock;
pub use holders::HolderWatch;

#[cfg(test)]
mod tests;
