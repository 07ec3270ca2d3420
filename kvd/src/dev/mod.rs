//! `kvd dev`: a cluster on this machine to try out, with a process for each node, so that one can be killed.
//!
//! Each process runs this program with the flags of an ordinary node. A pipe leads from `kvd dev` to its standard input, and
//! a node stops once that ends. So no node outlives `kvd dev`, however that ends, and none has to be told. Each is in
//! a process group of its own: Ctrl-C reaches `kvd dev` alone, which then stops its nodes.
//!
//! - `error`: why there is no cluster (any more)
//! - `node`: one node: its process, and when it is started again
//! - `observer`: asks the nodes who leads, and whether they have caught up
//! - `cluster`: all of them; says on standard output what becomes of them
//! - `banner`: the text that a start ends with

mod banner;
mod cluster;
mod error;
mod node;
mod observer;

pub(crate) use cluster::{Cluster, Options};
pub(crate) use error::DevError;
