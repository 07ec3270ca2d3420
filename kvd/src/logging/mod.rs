//! Logs: one line per event, which begins with the node, its term and its role.
//!
//! Each node has a span with these three fields. Everything that is logged on behalf of a node is logged within its
//! span, so that the nodes of one process can be told apart. As text a line looks like
//!
//! ```text
//! 2026-01-31T12:00:00.000000Z  INFO [node1][term 5][leader] leads term 5
//! ```
//!
//! and for machines the same is an object with fields of those names:
//!
//! ```json
//! {"timestamp":"2026-01-31T12:00:00.000000Z","level":"INFO","node":"node1","term":5,"role":"leader",
//!  "target":"kvd::server::publisher","message":"leads term 5"}
//! ```
//!
//! No value of a user's key is ever logged.
//!
//! - `lines`: rendering of events; `spans`: the node that a line is about
//! - `filter`: the events that are logged (`RUST_LOG`)
//! - `queue`: the queue to standard error, which delays nobody
//! - `init`: combines these
//! - `units`: readable numbers

mod filter;
mod init;
mod lines;
mod queue;
mod spans;
mod units;

pub(crate) use init::LogFormat;
pub(crate) use init::Logging;
pub(crate) use spans::{node_span, set_term_and_role};
pub(crate) use units::bytes;
