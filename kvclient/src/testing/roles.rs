//! Nodes that lead, or know the leader.

use super::answers::{error, health, ok, set_reply};
use super::node::{Act, Node, Seen, url_of};
use crate::api::ErrorCode;
use std::net::TcpListener;

/// Returns a node that leads a cluster of its own, and gives this answer to every request but `/health`.
pub(crate) fn leader(mut answer: impl FnMut(&Seen) -> Act + Send + 'static) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(&listener);
    Node::start_on(listener, move |seen| match seen.what.as_str() {
        "GET /health" => ok(health("node1", 5, Some(("node1", &url)), &[&url])),
        _ => answer(seen),
    })
}

/// Returns a node that names another one as leader of a cluster with these `members`.
pub(crate) fn follower(leader: &str, members: &[&str], mut answer: impl FnMut(&Seen) -> Act + Send + 'static) -> Node {
    let (leader, members) = (leader.to_owned(), members.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>());
    Node::start(move |seen| match seen.what.as_str() {
        "GET /health" => {
            let members: Vec<_> = members.iter().map(String::as_str).collect();
            ok(health("node2", 5, Some(("node1", &leader)), &members))
        }
        _ => answer(seen),
    })
}

/// A cluster other than that of scripted nodes.
pub(crate) const OTHER_CLUSTER: &str = "00000000000000c2";

/// Returns a node that leads another cluster, which has no keys.
pub(crate) fn stranger(listener: TcpListener) -> Node {
    let url = url_of(&listener);
    Node::start_in(Some(OTHER_CLUSTER), listener, move |seen| match seen.what.as_str() {
        _ if seen.headers.get("kvd-cluster").is_some_and(|meant| meant != OTHER_CLUSTER) => {
            error(ErrorCode::WrongCluster)
        }
        "GET /health" => ok(health("node9", 1, Some(("node9", &url)), &[&url])),
        "POST /set" => set_reply(),
        _ => error(ErrorCode::KeyNotFound),
    })
}
