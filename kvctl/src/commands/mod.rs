//! The commands, with a file for each group.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod import;
mod input;
pub(crate) mod keys;
pub(crate) mod leader;
pub(crate) mod leader_watch;
pub(crate) mod leases;
pub(crate) mod list;
pub(crate) mod locks;
pub(crate) mod members;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod txn;
mod unfinished;
pub(crate) mod watch;
