//! State of a node and its cluster, and the stream of leaders.

use super::server::{Server, leads, node_url};
use kvclient::api::{Applied, ClusterInfo, ErrorCode, Health, NodeState};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn health_tells_all_and_is_always_200() {
    let server = Server::honest();
    let cluster = ClusterInfo { id: "51f0c2d3a4b5e697".into(), first_members: vec!["node1".into()] };
    server.view.send_modify(|view| view.cluster = Some(Arc::new(cluster)));
    assert_eq!(server.post("/set", r#"{"key":"k","value":"v"}"#).status, 200);
    let reply = server.get("/health");
    let health: Health = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        reply.text(),
        format!(
            concat!(
                r#"{{"id":"node1","cluster":"51f0c2d3a4b5e697","state":"leader","term":5,"#,
                r#""leader":{{"id":"node1","url":"http://node1.example:8081"}},"#,
                r#""last_log_index":12,"commit_index":11,"applied_index":10,"revision":2,"keys":1,"#,
                r#""version":"{}","level":3,"uptime_ms":{},"members":["#,
                r#"{{"id":"node1","client_url":"http://node1.example:8081","#,
                r#""peer_url":"http://node1.internal:9081","voter":true}},"#,
                r#"{{"id":"node2","client_url":"http://node2.example:8081","#,
                r#""peer_url":"http://node2.internal:9081","voter":false}}],"#,
                r#""node":"00000000000000a1","client_url":"http://node1.example:8081","#,
                r#""peer_url":"http://node1.internal:9081"}}"#
            ),
            env!("CARGO_PKG_VERSION"),
            health.uptime_ms
        )
    );
    server.view.send_modify(|view| {
        view.state = NodeState::Forming;
        view.cluster = None;
        view.leader = None;
        view.ready = false;
        view.waiting_for = Some("waiting for node3".into());
    });
    let reply = server.get("/health");
    assert_eq!(reply.status, 200);
    assert!(reply.text().contains(r#""cluster":null,"state":"forming","term":5,"leader":null"#), "{reply:?}");
    assert!(reply.text().contains(r#""waiting_for":"waiting for node3""#), "{reply:?}");
}

#[test]
fn members_and_leader() {
    let server = Server::honest();
    let members = server.get("/members");
    assert!(members.text().starts_with(r#"{"members":[{"id":"node1","client_url":"#), "{members:?}");
    assert_eq!(server.get("/leader").text(), r#"{"id":"node1","url":"http://node1.example:8081","term":5}"#);
    server.view.send_modify(|view| view.leader = None);
    let reply = server.get("/leader");
    assert_eq!(reply.failure(), (503, ErrorCode::NoLeader, Applied::No));
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[test]
fn supervisors_learn_whether_it_lives_and_whether_it_serves() {
    let server = Server::honest();
    assert_eq!((server.get("/livez").status, server.get("/readyz").status), (200, 200));
    for (leader, waiting_for, code, reason) in [
        (None, Some("waiting for node3"), ErrorCode::NoLeader, "waiting for node3"),
        (None, None, ErrorCode::NoLeader, "no leader"),
        (Some(node_url("node2")), None, ErrorCode::NotReady, "still applying"),
    ] {
        server.view.send_modify(|view| {
            view.ready = false;
            view.leader = leader;
            view.waiting_for = waiting_for.map(str::to_owned);
        });
        let reply = server.get("/readyz");
        assert_eq!(reply.failure(), (503, code, Applied::No));
        assert!(reply.error().error.message.contains(reason), "{reply:?}");
        assert_eq!(server.get("/livez").status, 200);
    }
    let stuck_since = Instant::now().checked_sub(Duration::from_secs(7)).expect("the machine has run for so long");
    server.view.send_modify(|view| (view.ready, view.disk_stuck) = (true, Some(stuck_since)));
    let reply = server.get("/readyz");
    assert_eq!(reply.failure(), (503, ErrorCode::NotReady, Applied::No));
    let message = reply.error().error.message;
    assert!(message.contains("the disk has not completed a write for 7 s"), "{message}");
    let health: Health = serde_json::from_slice(&server.get("/health").body).expect("a health report");
    assert!(health.disk_stuck_ms.is_some_and(|ms| ms >= 7_000), "{health:?}");

    server.view.send_modify(|view| (view.ready, view.disk_stuck, view.state) = (false, None, NodeState::Removed));
    let reply = server.get("/readyz");
    assert_eq!(reply.failure(), (503, ErrorCode::NoLeader, Applied::No));
    assert!(reply.error().error.message.contains("removed from its cluster"), "{reply:?}");
}

#[test]
fn head_is_get_without_the_body_and_a_slash_at_the_end_makes_no_difference() {
    let server = Server::honest();
    assert_eq!(server.post("/set/", r#"{"key":"k","value":"blue"}"#).status, 200);
    for path in ["/health", "/get?key=k", "/get/?key=k&raw=true", "/leader/", "/members/", "/livez/", "/readyz/"] {
        // On one connection, so that a body sent by mistake would be taken for the next reply.
        let mut wire = server.connect();
        let head = wire.request(&format!("HEAD {path} HTTP/1.1"), "");
        let get = wire.request(&format!("GET {path} HTTP/1.1"), "");
        assert_eq!((head.status, get.status), (200, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert!(head.header("content-length").is_some(), "{head:?}");
    }
    assert_eq!(server.request("HEAD /get?key=nothing HTTP/1.1", "").status, 404);
}

#[test]
fn the_watch_tells_the_leader_at_once_and_at_every_change() {
    let mut server = Server::honest();
    let mut wire = server.connect();
    wire.send("GET /leader/watch HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = wire.reply(false);
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    // Each event is one chunk of the transfer, after its length.
    let mut next = || {
        let event = wire.read_through("\n\n");
        event.split_once("\r\n").filter(|(length, _)| length.is_empty()).map_or(event.clone(), |(_, rest)| rest.into())
    };
    let told = |term: u64, leader: &str| format!("event: leader\ndata: {{\"term\":{term},\"leader\":{leader}}}\n\n");
    let node = |id: &str| serde_json::to_string(&node_url(id)).unwrap();
    assert!(next().ends_with(&told(5, &node("node1"))));
    server.leader.send_replace(leads(5, None));
    assert!(next().ends_with(&told(5, "null")));
    // A commit changes the view, but nothing that the stream reports.
    server.view.send_modify(|view| view.commit_index += 1);
    server.leader.send_replace(leads(6, Some("node2")));
    assert!(next().ends_with(&told(6, &node("node2"))));
    assert!(next().ends_with(": still here\n\n"));
    server.leader.send_replace(leads(5, Some("node1")));
    assert!(next().ends_with(&told(5, &node("node1"))));
    server.stop();
    assert_eq!(wire.read_through("0\r\n\r\n").trim_start(), "0\r\n\r\n", "the stream ends in order");
}

#[test]
fn the_watch_ends_with_the_replica() {
    let mut server = Server::honest();
    let mut wire = server.connect();
    wire.send("GET /leader/watch HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.read_through("data: ");
    server.leader = tokio::sync::watch::channel(leads(5, None)).0;
    wire.read_through("0\r\n\r\n");
}
