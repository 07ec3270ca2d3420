//! The API as a client sees it: a real listener, bytes over a socket, and a replica played by the test.

mod cluster;
mod connections;
mod forwarding;
mod freshness;
mod history;
mod keys;
mod leases;
mod list;
mod locks;
mod members;
mod past;
mod refusals;
mod server;
mod snapshot;
mod streams;
mod transfer;
mod txn;
mod watch;
mod wire;
mod writes;
