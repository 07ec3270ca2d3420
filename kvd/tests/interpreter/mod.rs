//! Environment of the scripts: nodes that only run consensus, on a network and disks where nothing happens by itself.

mod machine;
mod network;
mod script;

pub(crate) use script::Script;
