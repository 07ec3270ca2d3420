//! Scripted nodes, for behaviour that a real one does not show on demand: losing a reply, falling silent, redirecting
//! in circles.

mod answers;
mod node;
mod roles;

pub(crate) use answers::{error, health, in_turn, item_reply, leader_event, of_term, ok, redirect, set_reply, stream};
pub(crate) use node::{Act, CLUSTER, Node, Seen, dead_url, listen_again, url_of};
pub(crate) use roles::{OTHER_CLUSTER, follower, leader, stranger};

use crate::client::Client;
use std::time::Duration;

/// Time within which everything that a test waits for has happened or never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a client with limits for tests: quick retries, and no attempt longer than `attempt`.
pub(crate) fn client(urls: &[&str], attempt: Duration, total: Duration) -> Client {
    let backoff = (Duration::from_millis(1), Duration::from_millis(20));
    Client::builder()
        .endpoints(urls)
        .attempt_timeout(attempt)
        .total_timeout(total)
        .backoff(backoff.0, backoff.1)
        .build_in_order()
        .unwrap()
}
