//! The commands, with a file for each group.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod keys;
pub(crate) mod leader;
pub(crate) mod leader_watch;
pub(crate) mod members;
pub(crate) mod snapshot;
pub(crate) mod status;
