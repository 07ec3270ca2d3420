//! Code shared by the tests of kvd, kvclient and kvctl. None of it is part of a program.
//!
//! | file | contents |
//! |---|---|
//! | `wait` | waiting for a state, with a deadline: [`until`] |
//! | `skip` | tests that this machine does not allow: [`skip`] |
//! | `port` | ports reserved for one test: [`Port`] |
//! | `http` | as much HTTP as it takes to see every byte of a reply: [`Connection`] |
//! | `processes` | commands that end, nodes and clusters of real processes: [`run`], [`Node`], [`Cluster`] |
//! | `in_process` | a cluster within the process of a test: [`InProcess`] |
//! | `doc_cluster` | one cluster for all examples of a documentation: [`DocCluster`] |
//! | `terminal` | a pseudo-terminal for a command: [`run_at_terminal`] |
//! | `small_disk` | a file system that is soon full: [`SmallDisk`] |
//! | `segment` | a node's log, for tests that damage it: [`change_segment`] |
//! | `networks` | networks between nodes that can be cut: [`on_a_network`] |
//! | [`linearizability`] | check whether a history of clients can be explained |
//! | `clients` | load on a cluster, and recordings of what clients saw: [`Load`], [`Recorder`] |
//! | `revisions` | clients of the whole data model, judged by what watches told: [`DataRecorder`] |
//! | [`faulty_disk`] | a disk in memory that loses, tears and refuses writes on purpose |
//! | [`notation`] | notation of scripts and traces for the actions of consensus |
//! | [`fuzz`] | properties of any bytes from outside |
//!
//! Each file imports only from those above it.

mod clients;
mod doc_cluster;
pub mod faulty_disk;
pub mod fuzz;
mod http;
mod in_process;
pub mod linearizability;
mod networks;
pub mod notation;
mod port;
mod processes;
mod revisions;
mod segment;
mod skip;
mod small_disk;
mod terminal;
mod wait;

pub use clients::{Bystander, Consistency, Deaths, History, Ledger, Load, Recorder, Vitals};
pub use doc_cluster::DocCluster;
pub use http::{Connection, Reply, error_of};
pub use in_process::InProcess;
pub use networks::{Namespaces, Network, Proxies, at_the_clients, on_a_network};
pub use port::Port;
pub use processes::{Cluster, Ended, Node, Program, be_a_node, kvd, run, send_signal, wait_for_end, without_settings};
pub use revisions::{DataRecorder, Judgement};
pub use rustix::process::Signal;
pub use segment::{SEGMENT, change_segment, end_of_log};
pub use skip::skip;
pub use small_disk::SmallDisk;
pub use terminal::{run_at_terminal, run_at_terminal_of};
pub use wait::{DEADLINE, until};
