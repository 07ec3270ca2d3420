//! `/lock`, `/unlock`, `/lock/watch`.

use super::server::{Replica, Server, ample_but, honest_replica};
use super::wire::Reply;
use crate::http::Request;
use crate::kv::{Command, Operation};
use kvclient::api::{Applied, ErrorCode, LockReply};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use tokio::sync::mpsc;

const A: &str = "000000000000000a";
const B: &str = "000000000000000b";

fn lock(server: &Server, lease: &str, wait_ms: u64) -> Reply {
    let value = lease.trim_start_matches('0');
    server.post("/lock", format!(r#"{{"name":"n","lease":"{lease}","wait_ms":{wait_ms},"value":"{value}"}}"#))
}

/// Asks for the lock in another thread.
fn lock_soon(server: &Server, lease: &'static str) -> JoinHandle<Reply> {
    let address = server.address;
    let body = format!(r#"{{"name":"n","lease":"{lease}","wait_ms":60000}}"#);
    spawn(move || super::wire::Wire::connect(address).request("POST /lock HTTP/1.1", body))
}

fn until_waiting(server: &Server, waiters: usize) {
    let places = || server.store.read().unwrap().places(b"n").count();
    testkit::until("they wait", || (places() == waiters + 1).then_some(()));
}

/// Starts a node whose replica tells of each command and applies it when it may.
fn watched(connections_max: usize) -> (Server, Receiver<Operation>, Sender<()>) {
    let ((told, commands), (may, allowed)) = (channel(), channel());
    let limits = ample_but(|limits| limits.connections_max = connections_max);
    let replica: Replica = Box::new(move |mut inbox, store, view| {
        let (applying, applied) = mpsc::channel(1);
        let replica = spawn(move || honest_replica()(applied, store, view));
        while let Some(request) = inbox.blocking_recv() {
            if let Request::Write { command, .. } = &request {
                let _ = told.send(Command::decode(command).unwrap().operation);
                let _ = allowed.recv();
            }
            let _ = applying.blocking_send(request);
        }
        drop(applying);
        replica.join().unwrap();
    });
    (Server::start(limits, replica), commands, may)
}

#[test]
fn a_client_that_is_gone_while_its_place_is_taken_leaves_no_lock_behind() {
    // A client that knows its lease may have been told by another node that it holds the lock.
    for (lease, stays) in [("", false), (r#","lease":"000000000000000b""#, true)] {
        let (server, commands, may) = watched(1);
        let body = format!(r#"{{"name":"n","wait_ms":60000{lease}}}"#);
        let mut wire = server.connect();
        wire.send(format!("POST /lock HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        assert!(matches!(commands.recv().unwrap(), Operation::TakePlace { .. }));
        drop(wire);
        testkit::until("the connection has ended", || (server.get("/livez").status == 200).then_some(()));
        may.send(()).unwrap();
        let given_up = commands.recv().unwrap();
        assert!(matches!(given_up, Operation::LeavePlace { even_held, .. } if even_held != stays), "{given_up:?}");
        may.send(()).unwrap();
        if !stays {
            let is_free = || server.store.read().unwrap().holder(b"n").is_none();
            testkit::until("the lock is free", || is_free().then_some(()));
        }
    }
}

#[test]
fn a_waiter_keeps_its_lease_alive_however_short_that_is() {
    let (server, commands, may) = watched(100);
    for _ in 0..10 {
        may.send(()).unwrap();
    }
    lock(&server, A, 0);
    server.post("/lease/grant", format!(r#"{{"lease":"{B}","ttl_ms":500}}"#));
    let body = format!(r#"{{"name":"n","lease":"{B}","ttl_ms":600000,"wait_ms":60000}}"#);
    let mut wire = server.connect();
    wire.send(format!("POST /lock HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let renewed =
        |operation: &Operation| matches!(operation, Operation::KeepAlive { leases } if leases[0].to_string() == B);
    let mut seen = std::iter::from_fn(|| commands.recv_timeout(std::time::Duration::from_secs(20)).ok());
    assert!(seen.any(|operation| renewed(&operation)));
}

#[test]
fn a_lock_has_one_holder_and_its_tokens_grow() {
    let server = Server::honest();
    let taken = lock(&server, A, 0);
    assert_eq!(taken.text(), format!(r#"{{"name":"n","token":2,"lease":"{A}"}}"#));
    assert_eq!(taken.header("kvd-term"), Some("5"));
    assert_eq!(lock(&server, A, 0).text(), format!(r#"{{"name":"n","token":2,"lease":"{A}"}}"#), "taken up again");
    let held = lock(&server, B, 0);
    assert_eq!(held.failure(), (409, ErrorCode::LockHeld, Applied::No));
    assert_eq!(held.header("kvd-term"), Some("5"));
    let holder = held.error().error.holder.unwrap();
    assert_eq!((holder.token, holder.value), (2, b"a".to_vec()));
    // Whoever knows the token may write.
    let write = r#"{"key":"k","value":"v","if":{"held":{"name":"n","token":2}}}"#;
    assert_eq!(server.post("/set", write).status, 200);
    assert_eq!(server.post("/unlock", r#"{"name":"n","token":2}"#).text(), r#"{"revision":4}"#);
    assert_eq!(server.post("/unlock", r#"{"name":"n","token":2}"#).failure(), (409, ErrorCode::LockLost, Applied::No));
    assert_eq!(server.post("/set", write).status, 412);
    let chosen: LockReply = serde_json::from_slice(&server.post("/lock", r#"{"name":"n"}"#).body).unwrap();
    assert!(chosen.token > 2 && chosen.lease.get() < 1 << 63, "{chosen:?}");
}

#[test]
fn waiters_come_in_turn() {
    let server = Server::honest();
    lock(&server, A, 0);
    let second = lock_soon(&server, B);
    until_waiting(&server, 1);
    let third = lock_soon(&server, "000000000000000c");
    until_waiting(&server, 2);
    let state = server.get("/lock?name=n");
    let state: kvclient::api::LockState = serde_json::from_slice(&state.body).unwrap();
    let tokens: Vec<_> = state.waiters.iter().map(|place| place.token).collect();
    assert_eq!((state.holder.unwrap().token, &tokens[..]), (2, &[3, 4][..]));
    server.post("/unlock", r#"{"name":"n","token":2}"#);
    assert_eq!(second.join().unwrap().text(), format!(r#"{{"name":"n","token":3,"lease":"{B}"}}"#));
    // The holder ends with its lease.
    server.post("/lease/revoke", format!(r#"{{"lease":"{B}"}}"#));
    assert_eq!(third.join().unwrap().text(), r#"{"name":"n","token":4,"lease":"000000000000000c"}"#);
}

#[test]
fn a_waiter_whose_time_is_over_or_whose_connection_ends_leaves_the_queue() {
    let server = Server::honest();
    lock(&server, A, 0);
    let held = lock(&server, B, 50);
    assert_eq!(held.failure(), (409, ErrorCode::LockHeld, Applied::No));
    assert_eq!(server.store.read().unwrap().places(b"n").count(), 1);
    for body in [format!(r#"{{"name":"n","lease":"{B}","wait_ms":60000}}"#), r#"{"name":"n","wait_ms":60000}"#.into()] {
        let mut wire = server.connect();
        wire.send(format!("POST /lock HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        until_waiting(&server, 1);
        drop(wire);
        until_waiting(&server, 0);
    }
}

#[test]
fn a_place_that_is_lost_is_taken_again() {
    let server = Server::honest();
    lock(&server, A, 0);
    let waiter = lock_soon(&server, B);
    until_waiting(&server, 1);
    server.post("/lease/revoke", format!(r#"{{"lease":"{B}"}}"#));
    until_waiting(&server, 1);
    server.post("/unlock", r#"{"name":"n","token":2}"#);
    assert_eq!(waiter.join().unwrap().status, 200);
}

#[test]
fn a_vanished_waiter_does_not_take_away_a_lock_that_another_node_has_answered() {
    let server = Server::honest();
    lock(&server, A, 0);
    let body = format!(r#"{{"name":"n","lease":"{B}","wait_ms":60000}}"#);
    let mut wire = server.connect();
    wire.send(format!("POST /lock HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    until_waiting(&server, 1);
    // The client asks again for the same place, and gets it; its first connection ends afterwards.
    let other = lock_soon(&server, B);
    server.post("/unlock", r#"{"name":"n","token":2}"#);
    assert_eq!(other.join().unwrap().status, 200);
    drop(wire);
    let token = server.store.read().unwrap().holder(b"n").unwrap().token;
    let held = format!(r#"{{"key":"k","value":"v","if":{{"held":{{"name":"n","token":{token}}}}}}}"#);
    assert_eq!(server.post("/set", held).status, 200);
}

#[test]
fn holders_are_told_as_they_change() {
    let server = Server::honest();
    let mut events = server.connect().events("GET /lock/watch?name=n HTTP/1.1", "");
    events.expect("holder", r#"{"name":"n","holder":null,"revision":1}"#);
    lock(&server, A, 0);
    let held = format!(r#"{{"name":"n","holder":{{"lease":"{A}","token":2,"value":"a","held_ms":0}},"revision":2}}"#);
    events.expect("holder", &held);
    server.post("/unlock", r#"{"name":"n","token":2}"#);
    events.expect("holder", r#"{"name":"n","holder":null,"revision":3}"#);
}

#[test]
fn bad_requests_for_locks_are_refused() {
    let server = Server::honest();
    for (path, body) in [
        ("/lock", r#"{"name":""}"#),
        ("/lock", r#"{"name":"n","wait_ms":3600001}"#),
        ("/lock", r#"{"name":"n","ttl_ms":1}"#),
        ("/unlock", r#"{"name":"n"}"#),
    ] {
        assert_eq!(server.post(path, body).failure(), (400, ErrorCode::InvalidRequest, Applied::No), "{path} {body}");
    }
    assert_eq!(server.get("/lock").failure(), (400, ErrorCode::InvalidRequest, Applied::No));
}
