//! Watches: every change of some keys, once and in order.
//!
//! `feed` hears the events of one node after another. `iterator` gives the changes, revision by revision. `mirror` keeps
//! a copy of a range up to date, in a thread of its own.

mod feed;
mod iterator;
mod mirror;

pub use iterator::{Revised, TimeoutIter, Watch, WatchHandle};
pub use mirror::{Mirror, MirrorState};

#[cfg(test)]
mod tests;
