//! Limits of size, time and number, and how a server stops.

use super::server::{Server, VALUE_BYTES_MAX, ample, ample_but, honest_replica, leads};
use crate::http::{Limits, Request};
use crate::kv::{Command, Operation, Put, Store};
use kvclient::api::{Applied, ErrorCode};
use std::io::Write as _;
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

const TOO_LARGE: (u16, ErrorCode, Applied) = (413, ErrorCode::TooLarge, Applied::No);

const SET_OCTETS: &str = "POST /set?key=k HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream";

/// Short enough for a test, long enough for a slow machine.
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn an_oversize_body_is_refused_unread() {
    let server = Server::honest();
    for length in [VALUE_BYTES_MAX as u64 + 1, 1 << 40, u64::MAX / 2] {
        let mut wire = server.connect();
        wire.send(format!("{SET_OCTETS}\r\nContent-Length: {length}\r\n\r\n"));
        let reply = wire.reply(true);
        assert_eq!(reply.failure(), TOO_LARGE);
        assert_eq!(reply.header("connection"), Some("close"));
        wire.shut_down_writing();
        assert!(wire.is_closed());
        let reply = server.request(&format!("POST /set HTTP/1.1\r\nContent-Length: {}", length + (1 << 20)), "");
        assert_eq!(reply.failure(), TOO_LARGE);
    }
}

#[test]
fn a_client_that_waits_for_leave_to_send_is_refused_instead() {
    let server = Server::honest();
    let expect = "Expect: 100-continue";
    let reply = server.request(&format!("{SET_OCTETS}\r\n{expect}\r\nContent-Length: 5000"), "");
    assert_eq!(reply.failure(), TOO_LARGE);
    let mut wire = server.connect();
    wire.send(format!("{SET_OCTETS}\r\n{expect}\r\nContent-Length: 4\r\n\r\n"));
    assert_eq!(wire.reply(false).status, 100);
    wire.send("blue");
    assert_eq!(wire.reply(true).status, 200);
}

#[test]
fn a_chunked_body_is_cut_off_at_the_limit() {
    let server = Server::honest();
    let mut wire = server.connect();
    wire.send(format!("{SET_OCTETS}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    wire.send("4\r\nblue\r\n0\r\n\r\n");
    assert_eq!(wire.reply(true).status, 200);
    assert_eq!(server.get("/get?key=k&raw=true").text(), "blue");
    // A body without an end: the refusal comes before any.
    wire.send(format!("{SET_OCTETS}\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for _ in 0..=VALUE_BYTES_MAX / 100 {
        wire.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    assert_eq!(wire.reply(true).failure(), TOO_LARGE);
    wire.shut_down_writing();
    assert!(wire.is_closed());
}

#[test]
fn a_client_that_only_sends_can_read_its_refusal_when_it_is_done() {
    let server = Server::honest();
    for coding in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
        let mut wire = server.connect();
        wire.send(format!("{SET_OCTETS}\r\n{coding}\r\n\r\n"));
        let mut writer = wire.writer();
        let chunk = format!("f9ff8\r\n{}\r\n", "x".repeat(0xf9ff8));
        for _ in 0..7 {
            writer.write_all(chunk.as_bytes()).expect("no reset while sending");
        }
        assert_eq!(wire.reply(true).failure(), TOO_LARGE, "{coding}");
    }
}

#[test]
fn a_body_that_breaks_off_or_stalls_is_given_up() {
    let server = Server::start(Limits { body_time_max: SHORT, ..ample() }, honest_replica());
    let mut wire = server.connect();
    wire.send(format!("{SET_OCTETS}\r\nContent-Length: 8\r\n\r\nblue"));
    let reply = wire.reply(true);
    assert_eq!(reply.failure(), (400, ErrorCode::InvalidRequest, Applied::No));
    assert!(reply.text().contains("in time"), "{reply:?}");
    assert_eq!(reply.header("connection"), Some("close"));
    let mut wire = server.connect();
    wire.send(format!("{SET_OCTETS}\r\nTransfer-Encoding: chunked\r\n\r\nno chunk"));
    assert_eq!(wire.reply(true).failure(), (400, ErrorCode::InvalidRequest, Applied::No));
    assert_eq!(server.get("/get?key=k").status, 404, "nothing was written");
}

#[test]
fn headers_that_do_not_come_end_the_connection() {
    let server = Server::start(ample_but(|limits| limits.headers_time_max = SHORT), honest_replica());
    for (case, sent) in [("nothing", ""), ("half a head", "GET /health HTTP/1.1\r\nHost: loc"), ("half a line", "GE")] {
        let mut wire = server.connect();
        wire.send(sent);
        assert!(wire.is_closed(), "{case}");
        // The same holds for a later request on a connection, from its first byte.
        let mut wire = server.connect();
        assert_eq!(wire.request("GET /health HTTP/1.1", "").status, 200);
        assert_eq!(wire.request("POST /set HTTP/1.1", r#"{"key":"k","value":"v"}"#).status, 200);
        if !sent.is_empty() {
            wire.send(sent);
            assert!(wire.is_closed(), "{case}, after other requests");
        }
    }
}

#[test]
fn headers_that_come_drop_by_drop_come_too_late() {
    let server = Server::start(ample_but(|limits| limits.headers_time_max = SHORT), honest_replica());
    let mut wire = server.connect();
    let mut writer = wire.writer();
    let dripping = std::thread::spawn(move || {
        // Each header line arrives well within the limit. The server closes the connection at some point.
        while writer.write_all(b"x: y\r\n").is_ok() {
            std::thread::sleep(SHORT / 10);
        }
    });
    wire.send("GET /health HTTP/1.1\r\n");
    assert!(wire.is_closed());
    dripping.join().unwrap();
}

#[test]
fn between_requests_a_connection_may_be_idle_for_longer() {
    let limits = ample_but(|limits| {
        limits.headers_time_max = SHORT;
        limits.idle_time_max = 4 * SHORT;
    });
    let server = Server::start(limits, honest_replica());
    let mut wire = server.connect();
    for _ in 0..2 {
        assert_eq!(wire.request("GET /health HTTP/1.1", "").status, 200);
        std::thread::sleep(2 * SHORT);
    }
    assert!(wire.is_closed(), "but not for ever");
}

#[test]
fn a_reply_without_an_end_is_no_request_that_is_late() {
    let server = Server::start(ample_but(|limits| limits.headers_time_max = SHORT), honest_replica());
    let mut wire = server.connect();
    wire.send("GET /leader/watch HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.read_through("\r\n\r\n");
    // Sent ahead. It waits for the end of the reply, and the server does not time it out meanwhile.
    wire.send("GET /heal");
    std::thread::sleep(3 * SHORT);
    server.leader.send_replace(leads(6, None));
    wire.read_through(r#"{"term":6,"leader":null}"#);
}

#[test]
fn headers_have_a_largest_size() {
    let server = Server::honest();
    let mut wire = server.connect();
    let mut writer = wire.writer();
    // The server may stop reading before all of it is sent.
    let _ = writer.write_all(format!("GET /health HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes());
    assert_eq!(wire.reply(false).status, 431);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn what_is_no_http_harms_nobody() {
    let server = Server::honest();
    for garbage in
        ["\0\0\0\0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "GET\r\n\r\n"]
    {
        let mut wire = server.connect();
        wire.send(garbage);
        wire.shut_down_writing();
        while !wire.is_closed() {}
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn clients_beyond_the_limit_are_refused_and_nodes_are_not() {
    let server = Server::start(ample_but(|limits| limits.connections_max = 2), honest_replica());
    let mut first = server.connect();
    let mut second = server.connect();
    for wire in [&mut first, &mut second] {
        assert_eq!(wire.request("GET /health HTTP/1.1", "").status, 200);
    }
    let mut third = server.connect();
    let reply = third.request("GET /health HTTP/1.1", "");
    assert_eq!(reply.failure(), (429, ErrorCode::Overloaded, Applied::No));
    assert_eq!((reply.header("connection"), reply.header("retry-after")), (Some("close"), Some("1")));
    assert_eq!(server.get("/raft").text(), "peers only");
    assert_eq!(server.get("/rafting").status, 429);
    drop(first);
    // The server notices after a while.
    while server.get("/health").status != 200 {
        std::thread::yield_now();
    }
}

#[test]
fn far_too_many_connections_are_closed_at_once() {
    let server = Server::start(ample_but(|limits| limits.connections_max = 1), honest_replica());
    let mut served: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let last = served.last_mut().unwrap();
    assert!(last.is_closed());
    drop(served);
    // Until the server has noticed that the others are gone, it closes this one as well.
    let mut wire = loop {
        let mut wire = server.connect();
        wire.send("GET /raft HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if !wire.is_closed() {
            break wire;
        }
    };
    assert_eq!(wire.reply(true).status, 200);
}

#[test]
fn a_panic_in_a_handler_ends_one_connection_and_nothing_else() {
    let server = Server::honest();
    let mut bystander = server.connect();
    assert_eq!(bystander.request("GET /health HTTP/1.1", "").status, 200);
    let mut wire = server.connect();
    wire.send("GET /raft/defect HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(wire.is_closed());
    assert_eq!(bystander.request("GET /health HTTP/1.1", "").status, 200);
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn requests_follow_each_other_on_one_connection() {
    let server = Server::honest();
    let mut wire = server.connect();
    let set = r#"{"key":"k","value":"v"}"#;
    for _ in 0..3 {
        assert_eq!(wire.request("POST /set HTTP/1.1", set).status, 200);
        assert_eq!(wire.request("GET /get HTTP/1.1", "").status, 400);
        assert_eq!(wire.request("GET /nothing HTTP/1.1", "").status, 404);
    }
    // Pipelined: both are sent before the first is answered.
    wire.send("GET /get?key=k HTTP/1.1\r\nHost: x\r\n\r\nGET /get?key=n HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((wire.reply(true).status, wire.reply(true).status), (200, 404));
}

#[test]
fn a_body_that_nobody_reads_ends_its_connection() {
    let server = Server::honest();
    for head in ["PUT /set HTTP/1.1", "POST /nothing HTTP/1.1", "POST /set?x=1 HTTP/1.1", "GET /health HTTP/1.1"] {
        let mut wire = server.connect();
        let reply = wire.request(head, "a body");
        assert_eq!(reply.header("connection"), Some("close"), "{head}: {reply:?}");
        wire.shut_down_writing();
        assert!(wire.is_closed(), "{head}");
    }
}

/// Returns a server whose next write waits until the test answers it.
fn server_that_waits(limits: Limits) -> (Server, mpsc::Receiver<Request>) {
    let (sender, requests) = mpsc::channel();
    let replica = Box::new(move |mut inbox: tokio::sync::mpsc::Receiver<Request>, _, _| {
        while let Some(request) = inbox.blocking_recv() {
            let _ = sender.send(request);
        }
    });
    (Server::start(limits, replica), requests)
}

#[test]
fn a_stop_lets_requests_finish_and_closes_idle_connections() {
    let (mut server, requests) = server_that_waits(ample());
    let mut idle = server.connect();
    assert_eq!(idle.request("GET /health HTTP/1.1", "").status, 200);
    let mut fresh = server.connect();
    let mut busy = server.connect();
    busy.send("GET /get?key=k HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = requests.recv().unwrap();
    server.begin_stop();
    assert!(idle.is_closed());
    assert!(fresh.is_closed());
    let Request::Read { reply, .. } = request else { panic!("{request:?}") };
    reply.send(Ok(None)).unwrap();
    assert_eq!(busy.reply(true).status, 404);
    assert!(busy.is_closed());
    server.stop();
    assert!(std::net::TcpStream::connect(server.address).is_err(), "nobody listens any more");
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let (mut server, requests) = server_that_waits(ample_but(|limits| limits.drain_time_max = SHORT));
    let mut busy = server.connect();
    busy.send("GET /get?key=k HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let _unanswered = requests.recv().unwrap();
    server.stop();
    assert!(busy.is_closed());
}

#[test]
fn replies_that_nobody_reads_are_bounded_and_given_up() {
    // More than the buffers of a connection hold.
    const VALUE_BYTES: usize = 32 << 20;
    let limits = ample_but(|limits| limits.write_time_max = 5 * SHORT);
    let limits = Limits { reply_bytes_max: VALUE_BYTES * 3 / 2, ..limits };
    let (filled, is_filled) = mpsc::channel();
    let replica = Box::new(move |inbox, store: Arc<RwLock<Store>>, view| {
        let (key, value) = ("k", vec![b'x'; VALUE_BYTES]);
        let operation = Operation::Set { put: Put::new(key, value), condition: None };
        store.write().unwrap().apply(0, &Command { operation, request: None });
        filled.send(()).unwrap();
        honest_replica()(inbox, store, view);
    });
    let server = Server::start(limits, replica);
    is_filled.recv().unwrap();
    let mut idle = server.connect();
    idle.send("GET /get?key=k&raw=true HTTP/1.1\r\nHost: localhost\r\n\r\n");
    idle.read_through("\r\n\r\n");
    let overloaded = (429, ErrorCode::Overloaded, Applied::No);
    for path in ["/get?key=k&raw=true", "/get?key=k"] {
        assert_eq!(server.get(path).failure(), overloaded, "{path}");
    }
    assert_eq!(server.get("/health").status, 200, "small replies go on");
    // The first reply is given up, and its memory is free again.
    while server.request("HEAD /get?key=k&raw=true HTTP/1.1", "").status != 200 {
        std::thread::yield_now();
    }
    while !idle.is_closed() {}
}
