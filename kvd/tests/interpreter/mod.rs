//! What scripts run on: nodes of consensus alone on a network and disks where nothing happens by itself.

mod machine;
mod network;
mod script;

pub(crate) use script::Script;
