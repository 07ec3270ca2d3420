//! Real processes on loopback: started, killed, paused, cut off, asked and read over their shoulder.

mod bystander;
mod cluster;
mod deaths;
mod history;
mod http;
#[path = "../../support/linearizability.rs"]
mod linearizability;
mod load;
mod namespaces;
mod network;
mod node;
mod port;
mod proxies;
mod recorder;
mod segment;
mod skip;
mod small_disk;
mod terminal;
mod vitals;
mod wait;

pub(crate) use bystander::Bystander;
pub(crate) use cluster::Cluster;
pub(crate) use deaths::Deaths;
pub(crate) use http::{Connection, Reply, error_of};
pub(crate) use load::Load;
pub(crate) use namespaces::Namespaces;
pub(crate) use network::Network;
pub(crate) use node::{Ended, Node, kvd, run, wait_for_end};
pub(crate) use port::Port;
pub(crate) use proxies::Proxies;
pub(crate) use recorder::{Consistency, Recorder};
pub(crate) use segment::{SEGMENT, change_segment, end_of_log};
pub(crate) use skip::skip;
pub(crate) use small_disk::SmallDisk;
pub(crate) use terminal::run_at_terminal;
pub(crate) use vitals::Vitals;
pub(crate) use wait::until;
