//! Requests that change the members, and their answers.

use super::server::{Server, node_url};
use crate::http::{BackupError, NotTransferred, Request};
use crate::kv::Level;
use crate::node::{ChangeError, MemberChange};
use kvclient::api::{Applied, ClusterInfo, ErrorCode, MembersReply, NodeState};
use std::sync::{Arc, Mutex};

/// Returns a server whose replica gives this answer to every change, and the requested changes.
fn answers(answer: Result<MembersReply, ChangeError>) -> (Server, Arc<Mutex<Vec<MemberChange>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let server = Server::scripted(move |request| {
        let Request::ChangeMembers { change, reply, .. } = request else { panic!("asked {request:?}") };
        seen.lock().unwrap().push(change);
        let _ = reply.send(answer.clone());
    });
    (server, asked)
}

#[test]
fn each_path_asks_for_its_change_and_gets_the_members() {
    let cluster = Some(ClusterInfo { id: "00000000000051f0".into(), first_members: vec!["node1".into()] });
    let (server, asked) = answers(Ok(MembersReply { members: Vec::new(), cluster }));
    let node = r#""name":"node4","node":"00000000000000a4","client_url":"http://d:1/","peer_url":"http://e:1""#;
    for (path, body) in [
        ("/members/add", format!("{{{node}}}")),
        ("/members/add", format!(r#"{{{node},"learner":true,"returning":true}}"#)),
        ("/members/promote", r#"{"id":"node4"}"#.into()),
        ("/members/remove", r#"{"id":"node2","force":true}"#.into()),
        ("/members/replace", r#"{"old":"node2","new":"node4"}"#.into()),
        ("/members/update", r#"{"name":"node2","peer_url":"http://e:2/"}"#.into()),
    ] {
        let reply = server.post(path, body);
        let expected = r#"{"members":[],"cluster":{"id":"00000000000051f0","first_members":["node1"]}}"#;
        assert_eq!((reply.status, reply.text()), (200, expected), "{path}");
    }
    let add = |learner, returning| MemberChange::Add {
        node: 0xa4,
        name: "node4".into(),
        client_url: "http://d:1".into(),
        peer_url: "http://e:1".into(),
        learner,
        returning,
        level: Level::NEWEST.0,
    };
    let (old, new) = ("node2".to_owned(), "node4".to_owned());
    let expected = [
        add(false, false),
        add(true, true),
        MemberChange::Promote { name: new.clone() },
        MemberChange::Remove { name: old.clone(), force: true },
        MemberChange::Replace { old, new },
        MemberChange::Update { name: "node2".into(), client_url: None, peer_url: Some("http://e:2".into()) },
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
    assert_eq!(server.get("/members/add").failure(), (405, ErrorCode::MethodNotAllowed, Applied::No));
    assert_eq!(server.post("/members/depose", "{}").failure(), (404, ErrorCode::NotFound, Applied::No));
}

#[test]
fn each_way_to_fail_has_its_status_code_and_promise() {
    let sentence = || "because of this: do that".to_owned();
    for (error, expected, says) in [
        (ChangeError::NoLeader, (503, ErrorCode::NoLeader, Applied::No), "no leader"),
        (ChangeError::UnknownMember("node9".into()), (404, ErrorCode::MemberNotFound, Applied::No), "node1, node2"),
        (ChangeError::WasRemoved("node9".into()), (403, ErrorCode::Removed, Applied::No), "clear its data directory"),
        (ChangeError::Refused(sentence()), (409, ErrorCode::ChangeRefused, Applied::No), "do that"),
        (ChangeError::TooMany, (429, ErrorCode::Overloaded, Applied::No), "try again"),
        (ChangeError::OutcomeUnknown, (504, ErrorCode::Timeout, Applied::Unknown), "which is safe"),
    ] {
        let (server, _) = answers(Err(error.clone()));
        let reply = server.post("/members/remove?timeout_ms=20", r#"{"id":"node2"}"#);
        assert_eq!(reply.failure(), expected, "{error:?}");
        assert!(reply.error().error.message.contains(says), "{error:?}: {reply:?}");
    }
}

#[test]
fn a_follower_sends_on_to_the_leader() {
    let (server, _) = answers(Err(ChangeError::NotLeader));
    server.view.send_modify(|view| {
        view.state = NodeState::Follower;
        view.leader = Some(node_url("node2"));
    });
    let reply = server.post("/members/remove", r#"{"id":"node2"}"#);
    assert_eq!(reply.failure(), (307, ErrorCode::NotLeader, Applied::No));
    assert_eq!(reply.header("location"), Some("http://node2.example:8081/members/remove"));
}

#[test]
fn a_node_that_was_removed_says_so() {
    let server = Server::scripted(|request| match request {
        Request::Read { reply, .. } => drop(reply.send(Err(crate::node::ReadError::NoLeader))),
        Request::Write { reply, .. } => drop(reply.send(Err(crate::node::WriteError::NoLeader))),
        Request::ChangeMembers { reply, .. } => drop(reply.send(Err(ChangeError::NoLeader))),
        Request::Backup { reply } => drop(reply.send(Err(BackupError::Forming))),
        Request::LeadershipTransfer { reply, .. } => drop(reply.send(Err(NotTransferred::NoLeader))),
    });
    server.view.send_modify(|view| view.state = NodeState::Removed);
    let replies = [
        server.get("/get?key=k"),
        server.post("/set", r#"{"key":"k","value":"v"}"#),
        server.post("/members/remove", r#"{"id":"node2"}"#),
        server.post("/leader/transfer", ""),
    ];
    for reply in replies {
        assert_eq!(reply.failure(), (503, ErrorCode::NoLeader, Applied::No));
        assert!(reply.error().error.message.contains("removed from its cluster"), "{reply:?}");
    }
    assert_eq!(server.get("/get?key=k&consistency=stale").status, 404, "it goes on with that");
}
