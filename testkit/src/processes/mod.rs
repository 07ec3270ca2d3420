//! Real processes on loopback: tests start, kill, pause and query them, and read their logs.

mod child;
mod cluster;
mod ended;
mod node;
mod program;

pub(crate) use child::KillOnDrop;
pub use child::{send_signal, wait_for_end};
pub use cluster::Cluster;
pub use ended::{Ended, run};
pub use node::Node;
pub use program::{Program, be_a_node, kvd, without_settings};
