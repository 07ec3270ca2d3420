//! Answers of nodes.

use super::node::{Act, Seen};
use crate::api::{Applied, ErrorBody, ErrorCode, ErrorReply, Health, LeaderEvent, NodeUrl};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// Answers 200 with this body.
pub(crate) fn ok(body: impl serde::Serialize) -> Act {
    Act::Answer(200, String::new(), serde_json::to_string(&body).unwrap())
}

/// Answers with an error, its usual status and its usual promise.
pub(crate) fn error(code: ErrorCode) -> Act {
    let applied = if code == ErrorCode::Timeout { Applied::Unknown } else { Applied::No };
    let error = ErrorBody::new(code, format!("{code:?}"), applied);
    Act::Answer(code.status(), String::new(), serde_json::to_string(&ErrorReply { error }).unwrap())
}

/// Redirects to another node.
pub(crate) fn redirect(to: &str) -> Act {
    let leader = Some(NodeUrl { id: "leader".into(), url: to.into() });
    let error = ErrorBody { leader, ..ErrorBody::new(ErrorCode::NotLeader, "not me", Applied::No) };
    let body = serde_json::to_string(&ErrorReply { error }).unwrap();
    Act::Answer(307, format!("location: {to}/set\r\n"), body)
}

/// Returns the health of a node that names `leader`, by name and URL, or that leads itself if the names are equal.
pub(crate) fn health(name: &str, term: u64, leader: Option<(&str, &str)>, members: &[&str]) -> Health {
    let state = if leader.is_some_and(|(id, _)| id == name) { "leader" } else { "follower" };
    let member = |(url, number): (&&str, u8)| json!({"id": format!("node{number}"), "client_url": url, "peer_url": url, "voter": true});
    let health = json!({
        "id": name,
        "state": state,
        "term": term,
        "leader": leader.map(|(id, url)| json!({"id": id, "url": url})),
        "last_log_index": 1,
        "commit_index": 1,
        "applied_index": 1,
        "revision": 1,
        "keys": 0,
        "version": "0",
        "uptime_ms": 1,
        "members": members.iter().zip(1..).map(member).collect::<Vec<_>>(),
    });
    serde_json::from_value(health).unwrap()
}

/// Returns the text of a `leader` event.
pub(crate) fn leader_event(term: u64, leader: Option<&str>) -> String {
    let leader = leader.map(|id| NodeUrl { id: id.into(), url: format!("http://{id}:1") });
    format!("event: leader\ndata: {}\n\n", json!(LeaderEvent { term, leader }))
}

/// Returns the usual reply to a set.
pub(crate) fn set_reply() -> Act {
    ok(json!({"revision": 2, "created": true}))
}

/// Returns the same answer with a term.
pub(crate) fn of_term(term: u64, act: Act) -> Act {
    match act {
        Act::Answer(status, headers, body) => Act::Answer(status, format!("{headers}kvd-term: {term}\r\n"), body),
        other => panic!("no answer: {other:?}"),
    }
}

/// Returns the usual reply to a get.
pub(crate) fn item_reply() -> Act {
    ok(json!({"key":"k","value":"v","create_revision":2,"mod_revision":3,"version":1,"revision":9}))
}

/// Returns the two ends of an event stream.
pub(crate) fn stream() -> (Sender<String>, Act) {
    let (sender, receiver) = channel();
    (sender, Act::Stream(receiver))
}

/// Returns a function that gives these answers in turn, and keeps silent after that. Clones share the answers, for
/// nodes of which any may be asked first.
pub(crate) fn in_turn(acts: Vec<Act>) -> impl FnMut(&Seen) -> Act + Clone + Send + 'static {
    let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
    move |_| acts.lock().unwrap().pop_front().unwrap_or(Act::KeepSilent)
}
