//! A cluster as seen by a user of `curl`.

use kvclient::{Health, NodeState};
use serde_json::{Value, json};
use std::process::Command;
use testkit::{Cluster, skip};

/// The first lines of the documentation, on other ports.
#[test]
fn the_first_three_lines_of_anyone_with_curl_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        return skip("there is no curl on this machine");
    }
    let cluster = Cluster::start(3);
    let curl = |node: usize, arguments: &str| -> Value {
        let at = cluster[node].address().replace("127.0.0.1", "localhost");
        // As typed into a shell, including quotes.
        let line = format!("curl -sS {}", arguments.replace("localhost", &at));
        let ended = Command::new("sh").args(["-c", &line]).output().expect("a shell");
        let text = String::from_utf8(ended.stdout).expect("text");
        assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
        serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{line}: {cause} in {text:?}"))
    };
    let written = curl(0, r#"-L -X POST localhost/set -d '{"key":"color","value":"blue"}'"#);
    assert_eq!(written, json!({"revision": 2, "created": true}));
    let read = curl(2, r#""localhost/get?key=color""#);
    let expected = json!({"key": "color", "value": "blue", "create_revision": 2, "mod_revision": 2, "version": 1,
        "revision": 2});
    assert_eq!(read, expected);
    let state = curl(1, "-s localhost/health")["state"].clone();
    assert!(["leader", "follower"].contains(&state.as_str().expect("text")), "{state}");

    let leader = cluster.leader();
    let written = curl(leader, r#"-X POST localhost/set -d '{"key":"color","value":"red"}'"#);
    assert_eq!(written, json!({"revision": 3, "created": false}));
    let follower = cluster.follower();
    let written = curl(follower, r#"-X POST localhost/set -d '{"key":"color","value":"green"}'"#);
    assert_eq!(written, json!({"revision": 4, "created": false}), "no node needs -L");
}

#[test]
fn every_node_tells_the_same_of_leader_and_members() {
    let cluster = Cluster::start_calm(3);
    let leader = cluster.leader();
    cluster.catch_up();
    let healths: Vec<Health> = cluster.nodes.iter().map(|node| node.health().expect("it answers")).collect();
    for (number, (health, node)) in healths.iter().zip(&cluster.nodes).enumerate() {
        assert_eq!(health.id, node.name);
        assert_eq!(health.state, if number == leader { NodeState::Leader } else { NodeState::Follower });
        assert_eq!(health.members, healths[0].members);
        let urls: Vec<&str> = health.members.iter().map(|member| member.client_url.as_str()).collect();
        assert_eq!(urls, cluster.endpoints());
        assert_eq!((health.revision, health.keys, health.waiting_for.as_deref()), (1, 0, None));
        let told: Value = node.get("/leader").expect("it answers").json();
        assert_eq!(told, json!({"id": cluster[leader].name, "url": cluster[leader].url(), "term": health.term}));
    }
}

#[test]
fn every_reply_in_json_ends_with_a_newline_and_a_value_alone_with_its_last_byte() {
    let cluster = Cluster::start(1);
    cluster.client().set("color", "blue").expect("it serves");
    for path in [
        "/get?key=color",
        "/get?key=missing",
        "/get?kee=color",
        "/nothing",
        "/health",
        "/leader",
        "/members",
        "/readyz",
    ] {
        let reply = cluster[0].get(path).expect("it answers");
        assert!(reply.body.ends_with(b"}\n"), "{path}: {}", String::from_utf8_lossy(&reply.body));
        assert!(reply.json::<Value>().is_object(), "{path}");
    }
    assert_eq!(cluster[0].get("/get?key=color&raw=true").expect("it answers").body, b"blue");
}
