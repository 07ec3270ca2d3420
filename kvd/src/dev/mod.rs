//! `kvd dev`: a cluster on this machine to try out, with a process for each node, so that one can be killed.
//!
//! Each process runs this program with the flags of an ordinary node. A pipe leads from `kvd dev` to its standard
//! input, and a node stops once that pipe closes. So no node outlives `kvd dev`, however `kvd dev` ends, and no node
//! has to be told to stop. Each is in a process group of its own: Ctrl-C reaches `kvd dev` alone, which then stops its
//! nodes.
//!
//! - `error`: why there is no cluster, or no longer one
//! - `node`: one node: its process, and its restarts
//! - `observer`: asks the nodes who leads, and whether they have caught up
//! - `cluster`: all nodes; reports on standard output what happens to them
//! - `banner`: the text printed at the end of a start

mod banner;
mod cluster;
mod error;
mod node;
mod observer;

pub(crate) use cluster::{Cluster, Options};
pub(crate) use error::DevError;
