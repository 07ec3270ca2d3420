//! Locks and elections.
//!
//! `builder` says which lock, and how long to wait. `claim` waits for it at one node after another, always with the same
//! lease, so that the place in the queue is the same. `guard` is the lock while it is held. `holders` follows who holds a
//! lock.

mod builder;
mod claim;
mod guard;
mod holders;

pub use builder::LockBuilder;
pub use guard::Lock;
pub use holders::HolderWatch;

#[cfg(test)]
mod tests;
