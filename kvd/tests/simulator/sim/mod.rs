//! The simulator: whole clusters of real replicas over the real storage code, on a simulated network, disk and clock,
//! in one thread, from one seed.
//!
//! A run draws a [`plan`] from its seed, then executes one event after the other in simulated time ([`world`]). It
//! simulates the network between nodes ([`network`], [`streams`]), processes that die or are paused and disks that lie
//! and fail ([`node`], over [`testkit::faulty_disk::FaultyDisk`]), [`client`]s that retry, [`watchers`], and the
//! [`faults`] that hit them all. Everything else is real: consensus, the state machine, the log and its recovery, and
//! the frames between nodes are the code that the daemon runs.
//!
//! After every event the [`invariants`] are checked. In the [`ending`] faults stop and the cluster must serve again;
//! then the history that clients saw is checked for linearizability.
//!
//! The same seed gives the same run: all randomness comes from one generator ([`chance`]; [`divergence`] has its own),
//! nothing reads a clock, and no collection without a fixed order is iterated.

mod admissions;
mod bereavement;
mod chance;
mod client;
mod coverage;
mod divergence;
mod ending;
mod entrants;
mod events;
mod faults;
mod idling;
mod image;
mod introductions;
mod invariants;
mod late_snapshots;
mod leadership_transfer;
mod levels;
mod linearizability;
mod locks;
mod member_requests;
mod members;
mod model;
mod network;
mod node;
mod operations;
mod overtaken_changes;
mod panics;
mod plan;
mod processes;
mod queries;
mod replicas;
mod requests;
mod run;
mod snapshots;
mod stability;
mod streams;
mod total;
mod trace;
mod watchers;
mod world;
mod writes;

use testkit::notation;

#[allow(unused_imports)] // by name only where failures are kept
pub(crate) use run::Failure;
pub(crate) use total::run_all;
