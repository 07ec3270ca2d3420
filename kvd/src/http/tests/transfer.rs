//! `/leader/transfer`: the requests to the replica, and the reports of its answers.

use super::server::{Server, node_url};
use crate::http::{NotTransferred, Request};
use kvclient::api::{Applied, ErrorCode, NodeState};
use std::sync::{Arc, Mutex};

/// Returns a server whose replica answers every transfer with this failure.
fn failing(failure: NotTransferred) -> Server {
    Server::scripted(move |request| {
        let Request::LeadershipTransfer { reply, .. } = request else { panic!("{request:?}") };
        let _ = reply.send(Err(failure.clone()));
    })
}

#[test]
fn the_new_leader_is_the_reply_and_the_target_may_be_left_open() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let server = Server::scripted({
        let asked = Arc::clone(&asked);
        move |request| {
            let Request::LeadershipTransfer { to, reply } = request else { panic!("{request:?}") };
            asked.lock().unwrap().push(to);
            let leader = node_url("node2");
            let _ = reply.send(Ok(kvclient::api::LeaderReply { id: leader.id, url: leader.url, term: 6 }));
        }
    });
    for body in [r#"{"to":"node2"}"#, "{}", ""] {
        let reply = server.post("/leader/transfer", body);
        let expected = r#"{"id":"node2","url":"http://node2.example:8081","term":6}"#;
        assert_eq!((reply.status, reply.text()), (200, expected), "{body}");
    }
    assert_eq!(*asked.lock().unwrap(), [Some("node2".to_owned()), None, None]);
}

#[test]
fn what_makes_no_sense_is_refused_before_the_replica_is_asked() {
    let server = Server::scripted(|request| panic!("{request:?}"));
    for (body, complaint) in [
        (r#"{"too":"node2"}"#, "unknown field `too`"),
        (r#"["node2"]"#, "expected an object"),
        ("node2", "Example: {\"to\":\"node2\"}"),
    ] {
        let reply = server.post("/leader/transfer", body);
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{body}");
        assert!(reply.error().error.message.contains(complaint), "{body}: {reply:?}");
    }
    let long = format!(r#"{{"to":"{}"}}"#, "x".repeat(5000));
    assert_eq!(server.post("/leader/transfer", long).failure(), (413, ErrorCode::TooLarge, Applied::No));
    let query = server.post("/leader/transfer?to=node2", "");
    assert_eq!(query.failure(), (400, ErrorCode::InvalidRequest, Applied::No));
    let get = server.get("/leader/transfer");
    assert_eq!((get.failure(), get.header("allow")), ((405, ErrorCode::MethodNotAllowed, Applied::No), Some("POST")));
}

#[test]
fn each_way_it_can_fail_says_what_happened_and_who_leads() {
    let (to, leader) = (|| "node2".to_owned(), || "node1".to_owned());
    for (failure, expected, sentence) in [
        (NotTransferred::NoLeader, (503, ErrorCode::NoLeader, Applied::No), "no leader is known"),
        (
            NotTransferred::UnknownMember,
            (400, ErrorCode::InvalidRequest, Applied::No),
            r#"no member named "node2" (members: node1, node2)"#,
        ),
        (NotTransferred::NotVoter, (400, ErrorCode::InvalidRequest, Applied::No), "node2 is not a voter"),
        (NotTransferred::NoTarget, (409, ErrorCode::TransferFailed, Applied::No), "this one stays leader"),
        (
            NotTransferred::UnderWay { to: "node3".into() },
            (409, ErrorCode::TransferFailed, Applied::No),
            "already being transferred to node3",
        ),
        (
            NotTransferred::GivenUp { to: to(), leader: leader() },
            (409, ErrorCode::TransferFailed, Applied::No),
            "node2 did not take over within an election timeout, and node1 is still the leader",
        ),
        (
            NotTransferred::OtherElected { leader: "node3".into() },
            (409, ErrorCode::TransferFailed, Applied::No),
            "node3 was elected",
        ),
        (NotTransferred::LeaderUnknown, (504, ErrorCode::Timeout, Applied::Unknown), "is no longer the leader"),
    ] {
        let reply = failing(failure.clone()).post("/leader/transfer?timeout_ms=20", r#"{"to":"node2"}"#);
        assert_eq!(reply.failure(), expected, "{failure:?}");
        assert!(reply.error().error.message.contains(sentence), "{failure:?}: {reply:?}");
    }
}

#[test]
fn a_follower_redirects_to_its_leader() {
    let server = failing(NotTransferred::NotLeader);
    server.view.send_modify(|view| {
        view.state = NodeState::Follower;
        view.leader = Some(node_url("node2"));
    });
    let reply = server.post("/leader/transfer", "{}");
    assert_eq!(reply.failure(), (307, ErrorCode::NotLeader, Applied::No));
    assert_eq!(reply.header("location"), Some("http://node2.example:8081/leader/transfer"));
}
