//! Operations against scripted nodes.

mod identity;
mod leaders;
mod outcomes;
mod repeats;
mod silence;
mod steady;
mod time_limits;

use crate::testing::{Act, Node, Seen};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(300);

/// Answers the first requests from a list, and all further ones as the last in it.
fn in_turn(acts: Vec<fn() -> Act>) -> impl FnMut(&Seen) -> Act + Send + 'static {
    let mut next = 0;
    move |_| {
        let act = acts[next.min(acts.len() - 1)]();
        next += 1;
        act
    }
}

fn request_ids(node: &Node) -> Vec<(String, u64)> {
    let id = |seen: Seen| {
        let request = &seen.body["request"];
        (request["client"].as_str().unwrap().to_owned(), request["seq"].as_u64().unwrap())
    };
    node.seen("POST /set").into_iter().map(id).collect()
}
