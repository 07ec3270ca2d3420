//! `GET /snapshot`: a body that arrives in chunks, or breaks off.

use super::server::Server;
use crate::http::{Backup, BackupError, Request};
use bytes::Bytes;
use kvclient::api::{Applied, ErrorCode};
use std::sync::mpsc as std_mpsc;
use tokio::sync::mpsc;

type Chunks = mpsc::Sender<Bytes>;

/// Returns a server with a backup of `bytes` bytes, at revision 7. The receiver gets what the server asked the replica
/// for, and the sender for the chunks.
fn server_with(bytes: u64) -> (Server, std_mpsc::Receiver<(&'static str, Option<Chunks>)>) {
    let (told, asked) = std_mpsc::channel();
    let server = Server::scripted(move |request| match request {
        Request::Read { reply, .. } => {
            told.send(("read", None)).unwrap();
            reply.send(Ok(None)).unwrap();
        }
        Request::Backup { reply } => {
            let (chunks_in, chunks) = mpsc::channel(1);
            told.send(("backup", Some(chunks_in))).unwrap();
            reply.send(Ok(Backup { revision: 7, bytes, chunks })).unwrap();
        }
        Request::Write { .. } | Request::LeadershipTransfer { .. } | Request::ChangeMembers { .. } => {
            panic!("asked {request:?}")
        }
    });
    (server, asked)
}

fn send(chunks: &Chunks, bytes: &'static [u8]) {
    chunks.blocking_send(Bytes::from_static(bytes)).unwrap();
}

#[test]
fn a_backup_comes_in_chunks_after_the_store_was_made_fresh() {
    let (server, asked) = server_with(10);
    for (query, is_fresh) in [("", true), ("?consistency=linearizable", true), ("?consistency=stale", false)] {
        let mut wire = server.connect();
        wire.send(format!("GET /snapshot{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        if is_fresh {
            assert_eq!(asked.recv().unwrap().0, "read", "{query}");
        }
        let (what, chunks) = asked.recv().unwrap();
        assert_eq!(what, "backup", "{query}");
        let chunks = chunks.unwrap();
        send(&chunks, b"hello ");
        send(&chunks, b"disk");
        drop(chunks);
        let reply = wire.reply(true);
        assert_eq!((reply.status, reply.text()), (200, "hello disk"), "{query}");
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
        assert_eq!((reply.header("content-length"), reply.header("x-kvd-revision")), (Some("10"), Some("7")));
        assert_eq!((reply.header("kvd-revision"), reply.header("kvd-term")), (Some("7"), is_fresh.then_some("5")));
        assert_eq!(wire.request("GET /livez HTTP/1.1", "").status, 200, "the connection is good for more");
    }
}

#[test]
fn a_backup_that_breaks_off_ends_its_connection() {
    let (server, asked) = server_with(10);
    let mut wire = server.connect();
    wire.send("GET /snapshot?consistency=stale HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let chunks = asked.recv().unwrap().1.unwrap();
    send(&chunks, b"hello ");
    wire.read_through("hello ");
    drop(chunks);
    assert!(wire.is_closed());
}

#[test]
fn a_client_that_goes_away_ends_its_backup_at_once() {
    let (server, asked) = server_with(1 << 40);
    let mut wire = server.connect();
    wire.send("GET /snapshot?consistency=stale HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let chunks = asked.recv().unwrap().1.unwrap();
    send(&chunks, b"hello ");
    wire.read_through("hello ");
    drop(wire);
    // The server notices the closed connection although it has nothing more to send.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(chunks.closed());
}

#[test]
fn each_reason_for_having_no_backup_has_its_status() {
    for (error, expected) in [
        (BackupError::Forming, (503, ErrorCode::NoLeader, Applied::No)),
        (BackupError::TooMany, (429, ErrorCode::Overloaded, Applied::No)),
        (BackupError::NoSpace, (429, ErrorCode::Overloaded, Applied::No)),
    ] {
        let server = Server::scripted(move |request| {
            let Request::Backup { reply } = request else { panic!("{request:?}") };
            let _ = reply.send(Err(error));
        });
        let reply = server.get("/snapshot?consistency=stale");
        assert_eq!(reply.failure(), expected, "{error:?}");
        assert_eq!(reply.header("retry-after"), Some("1"), "{error:?}");
    }
    let server = Server::scripted(drop);
    assert_eq!(server.get("/snapshot").failure(), (503, ErrorCode::NoLeader, Applied::No));
}

#[test]
fn what_is_no_question_for_a_backup_is_refused_before_anything_is_read() {
    let server = Server::scripted(|request| panic!("asked {request:?}"));
    let invalid = (400, ErrorCode::InvalidRequest, Applied::No);
    assert_eq!(server.get("/snapshot?consistency=eventual").failure(), invalid);
    assert_eq!(server.get("/snapshot?revision=7").failure(), invalid);
    assert_eq!(server.post("/snapshot", "").failure(), (405, ErrorCode::MethodNotAllowed, Applied::No));
    let head = server.request("HEAD /snapshot HTTP/1.1", "");
    assert_eq!((head.status, head.header("allow")), (405, Some("GET")));
}
