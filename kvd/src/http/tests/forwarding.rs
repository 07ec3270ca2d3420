//! Writes at a node that does not lead: forwarded, redirected, or waiting for a leader; repeated only if that is safe.

use super::server::{Replica, STOP_TIME_MAX, Server, ample, leads, node_url, view_of_a_leader};
use crate::http::{Answer, Answered, ApiError, Forward, Forwarding, Question, Request, Unforwarded};
use crate::kv::{Command, Outcome, PutDone};
use crate::node::WriteError;
use crate::raft::NodeId;
use kvclient::api::{Applied, ErrorBody, ErrorCode, NodeState, NodeUrl};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

type Reached = Result<Answered, Unforwarded>;

/// The way to the leader: the questions sent, and the outcomes to return in turn. The last outcome repeats.
#[derive(Debug)]
struct Way {
    asked: Mutex<Vec<(String, Question)>>,
    answers: Mutex<VecDeque<Reached>>,
}

impl Forward for Way {
    fn forward(&self, to: &NodeUrl, question: Question, _: tokio::time::Instant) -> Forwarding<'_> {
        self.asked.lock().unwrap().push((to.id.clone(), question));
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async { answer.expect("an answer") })
    }
}

impl Way {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Returns a follower of node2, whose replica says so, and the way to node2.
fn follower(answers: impl IntoIterator<Item = Reached>) -> (Server, Arc<Way>) {
    let way = Way { asked: Mutex::default(), answers: Mutex::new(answers.into_iter().collect()) };
    let way = Arc::new(way);
    let replica: Replica = Box::new(|mut inbox, _, _| {
        while let Some(request) = inbox.blocking_recv() {
            let Request::Write { reply, .. } = request else { panic!("asked {request:?}") };
            // A client that has gone needs no answer.
            let _ = reply.send(Err(WriteError::NotLeader { leader: NodeId(2) }));
        }
    });
    let server = Server::start_with(ample(), replica, Arc::<Way>::clone(&way));
    server.view.send_modify(|view| {
        view.state = NodeState::Follower;
        view.leader = Some(node_url("node2"));
    });
    (server, way)
}

fn written(revision: u64) -> Reached {
    let outcome = Outcome::Set { revision, done: PutDone { created: true, prev: None, lease: None } };
    Ok(Answered { answer: Answer::Written(outcome), term: 9 })
}

fn refused(code: ErrorCode, applied: Applied) -> Reached {
    let error = ErrorBody::new(code, "this happened: do that", applied);
    Err(Unforwarded::Refused(ApiError::from_node(error)))
}

const SET: &str = r#"{"key":"k","value":"v","request":{"client":"c","seq":1}}"#;

#[test]
fn a_write_at_a_follower_is_answered_as_the_leader_answers() {
    let (server, way) = follower([written(7)]);
    let reply = server.post("/set", SET);
    assert_eq!((reply.status, reply.text()), (200, r#"{"revision":7,"created":true}"#));
    assert_eq!(reply.header("kvd-node"), Some("node1"), "the node that the client is connected to");
    assert_eq!(reply.header("kvd-term"), Some("9"), "the term of the one that answered");
    let asked = way.asked.lock().unwrap();
    let [(to, Question::Write(command))] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(to, "node2");
    assert_eq!(Command::decode(command).unwrap().request.map(|request| request.seq), Some(1));
}

#[test]
fn who_goes_to_the_leader_itself_is_told_where_that_is() {
    let (server, way) = follower([written(7)]);
    let head = "POST /set?timeout_ms=900 HTTP/1.1\r\nKvd-Redirect: true";
    let reply = server.request(head, SET);
    assert_eq!(reply.failure(), (307, ErrorCode::NotLeader, Applied::No));
    assert_eq!(reply.header("location"), Some("http://node2.example:8081/set?timeout_ms=900"));
    assert_eq!(reply.error().error.leader, Some(node_url("node2")));
    assert_eq!(way.asked(), 0);
}

#[test]
fn a_leader_of_a_version_that_answers_clients_alone_is_where_the_client_goes() {
    let (server, _) = follower([Err(Unforwarded::TooOld)]);
    assert_eq!(server.post("/set", SET).failure(), (307, ErrorCode::NotLeader, Applied::No));
}

#[test]
fn what_may_have_happened_is_never_asked_again() {
    for (answer, expected) in [
        (Err(Unforwarded::Lost("it is gone".into())), (504, ErrorCode::Timeout, Applied::Unknown)),
        (refused(ErrorCode::Timeout, Applied::Unknown), (504, ErrorCode::Timeout, Applied::Unknown)),
        (refused(ErrorCode::NoLeader, Applied::Unknown), (503, ErrorCode::NoLeader, Applied::Unknown)),
        (refused(ErrorCode::Overloaded, Applied::No), (429, ErrorCode::Overloaded, Applied::No)),
    ] {
        let (server, way) = follower([answer.clone(), written(7)]);
        assert_eq!(server.post("/set", SET).failure(), expected, "{answer:?}");
        assert_eq!(way.asked(), 1, "{answer:?}");
    }
    let (server, _) = follower([Err(Unforwarded::Lost("it is gone".into()))]);
    let sentence = server.post("/set", SET).error().error.message;
    assert!(sentence.contains("it is gone") && sentence.contains("same `request`"), "{sentence}");
}

#[test]
fn what_has_not_happened_is_asked_again_while_there_is_time() {
    let not_sent = || Err(Unforwarded::NotSent("no route".into()));
    let moved = || refused(ErrorCode::NotLeader, Applied::No);
    let (server, way) = follower([not_sent(), moved(), refused(ErrorCode::NoLeader, Applied::No), written(8)]);
    assert_eq!(server.post("/set", SET).status, 200);
    assert_eq!(way.asked(), 4);

    let (server, _) = follower([not_sent()]);
    let reply = server.post("/set?timeout_ms=50", SET);
    assert_eq!(reply.failure(), (503, ErrorCode::NoLeader, Applied::No));
    let sentence = reply.error().error.message;
    assert!(sentence.contains("cannot reach the leader, node2") && sentence.contains("no route"), "{sentence}");
    let (server, _) = follower([moved()]);
    assert_eq!(server.post("/set?timeout_ms=50", SET).failure(), (503, ErrorCode::NoLeader, Applied::No));
}

/// Returns a server whose replica knows no leader until it is told that it leads, and counts how often it was asked.
fn leaderless() -> Server {
    let replica: Replica = Box::new(|mut inbox, store, _| {
        let mut asked = 0;
        while let Some(request) = inbox.blocking_recv() {
            let Request::Write { command, reply, .. } = request else { panic!("asked {request:?}") };
            asked += 1;
            let answer = match asked {
                1 => Err(WriteError::NoLeader),
                _ => Ok(store.write().unwrap().apply(0, &Command::decode(&command).unwrap())),
            };
            // A client that has gone needs no answer.
            let _ = reply.send(answer);
        }
    });
    let server = Server::start(ample(), replica);
    server.view.send_modify(|view| (view.state, view.leader) = (NodeState::Candidate, None));
    server
}

#[test]
fn where_no_leader_is_known_a_write_waits_for_one() {
    let server = leaderless();
    let leader = server.leader.clone();
    let view = server.view.clone();
    let electing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        view.send_replace(view_of_a_leader());
        leader.send_replace(leads(6, Some("node1")));
    });
    let began = Instant::now();
    assert_eq!(server.post("/set", SET).status, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    electing.join().unwrap();
}

#[test]
fn a_wait_for_a_leader_ends_with_the_node() {
    let (was_asked, asked) = mpsc::channel();
    let mut server = Server::scripted(move |request| {
        let Request::Write { reply, .. } = request else { panic!("asked {request:?}") };
        let _ = reply.send(Err(WriteError::NoLeader));
        let _ = was_asked.send(());
    });
    server.view.send_modify(|view| (view.state, view.leader) = (NodeState::Candidate, None));
    let mut wire = server.connect();
    wire.send(format!("POST /set?timeout_ms=600000 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SET}", SET.len()));
    asked.recv().unwrap();
    server.begin_stop();
    assert_eq!(wire.reply(true).failure(), (503, ErrorCode::NoLeader, Applied::No));
    server.stop();
}

/// Returns a server whose replica takes requests and never answers.
fn silent() -> (Server, mpsc::Receiver<()>) {
    let (was_asked, asked) = mpsc::channel();
    let mut kept = Vec::new();
    let server = Server::scripted(move |request| {
        kept.push(request);
        let _ = was_asked.send(());
    });
    (server, asked)
}

#[test]
fn a_stop_does_not_wait_for_requests_with_all_the_time_in_the_world() {
    let (mut server, asked) = silent();
    let mut wire = server.connect();
    wire.send(format!("POST /set?timeout_ms=600000 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SET}", SET.len()));
    asked.recv().unwrap();
    let began = Instant::now();
    server.begin_stop();
    let reply = wire.reply(true);
    assert_eq!(reply.failure(), (504, ErrorCode::Timeout, Applied::Unknown));
    assert!(reply.error().error.message.contains("same `request`"), "{reply:?}");
    assert!(began.elapsed() >= STOP_TIME_MAX, "{:?}", began.elapsed());
    server.stop();
}

#[test]
fn every_request_ends_within_the_time_that_it_asks_for() {
    let (server, _asked) = silent();
    for (head, expected) in [
        ("POST /leader/transfer?timeout_ms=20", (504, ErrorCode::Timeout, Applied::Unknown)),
        ("GET /snapshot?consistency=stale&timeout_ms=20", (504, ErrorCode::Timeout, Applied::No)),
        ("GET /snapshot?consistency=stale&timeout%5Fms=20", (504, ErrorCode::Timeout, Applied::No)),
    ] {
        assert_eq!(server.request(&format!("{head} HTTP/1.1"), "").failure(), expected, "{head}");
    }
    // The body is part of the request.
    let mut wire = server.connect();
    wire.send("POST /set?timeout_ms=20 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{");
    assert_eq!(wire.reply(true).failure(), (400, ErrorCode::InvalidRequest, Applied::No));
}

#[test]
fn the_time_of_a_request_is_checked() {
    let (server, way) = follower([written(7)]);
    for time in ["0", "-1", "600001", "soon", "5s", ""] {
        let reply = server.post(&format!("/set?timeout_ms={time}"), SET);
        assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{time}");
        assert!(reply.error().error.message.contains("from 1 to 600000"), "{time}");
    }
    assert_eq!(server.post("/set?timeout_ms=9&timeout_ms=9", SET).status, 400);
    assert_eq!(way.asked(), 0);
}
