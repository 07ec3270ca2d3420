//! The API as a client sees it: a real listener, bytes over a socket, and a replica played by the test.

mod cluster;
mod connections;
mod forwarding;
mod freshness;
mod keys;
mod members;
mod refusals;
mod server;
mod snapshot;
mod transfer;
mod wire;
