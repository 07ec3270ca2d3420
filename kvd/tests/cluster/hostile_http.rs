//! Malicious clients, or clients that behave like them: endless requests, endless bodies, connections without a
//! request, and more of everything than there is room for.
//!
//! Each test does one of these to the leader, where it would do the most harm, and shows three things. Memory stays
//! within a bound that follows from the limits of the daemon. A well-behaved client is served meanwhile, without an
//! error and within [`ANSWER_TIME_MAX`]. Afterwards everything is as before: leader and term, connections, memory,
//! writes through every node.

use kvclient::Client;
use kvclient::api::{Applied, ErrorCode};
use kvd::http::{ConnectionLimits, Limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Bystander, Cluster, Connection, Reply, Vitals, error_of, until};

/// Time within which a well-behaved client gets its answer. A tenth would be enough on an idle machine, but these tests
/// keep its few processors busy, and other tests run at the same time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

/// Rounds of a bystander that show that it is served at the worst times.
const ROUNDS: usize = 20;

/// Files that this process may need to have open: its end of every connection.
const OPEN_FILES_NEEDED: u64 = 16_000;

/// Largest request line with headers (`HEADERS_BYTES_MAX` of the listener).
const HEADERS_BYTES_MAX: u64 = 64 << 10;

/// Memory of a connection in addition to the data it has received: its task, and its read and write buffers.
const CONNECTION_BYTES: u64 = 32 << 10;

/// Largest value (`--max-value-bytes`).
const VALUE_BYTES_MAX: u64 = 1 << 20;

/// Memory for chunked bodies, of all requests together (`BUDGET_BYTES` of the bodies).
const BODIES_BYTES_MAX: u64 = 256 << 20;

/// Memory that a node needs for its own work meanwhile: the log's next segments, the bystander's writes.
const OWN_BYTES: u64 = 16 << 20;

/// Memory for large replies in progress (`reply_bytes_max`).
const REPLIES_BYTES_MAX: u64 = 256 << 20;

/// Memory that a node may keep afterwards. The allocator of glibc keeps freed memory at the end of its heap, up to
/// twice the size from which it asks the system for each allocation. It raises that size to 32 MiB at most.
const KEPT_BYTES: u64 = OWN_BYTES + (64 << 20);

/// Allows this process to hold as many connections as the tests open.
fn raise_open_files_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < OPEN_FILES_NEEDED) {
        let wanted = Rlimit { current: Some(OPEN_FILES_NEEDED), maximum };
        let raised = setrlimit(Resource::Nofile, wanted);
        raised.unwrap_or_else(|cause| panic!("{cause}: these tests need {OPEN_FILES_NEEDED} open files (ulimit -n)"));
    }
}

/// A node under attack, and the state that must hold during and after the attack.
struct Ordeal {
    cluster: Cluster,
    leader: usize,
    before: Vitals,
    bystander: Bystander,
}

impl Ordeal {
    /// Starts a calm cluster with a bystander.
    #[track_caller]
    fn begin() -> Self {
        raise_open_files_limit();
        let cluster = Cluster::start_calm(3);
        let before = Vitals::of(&cluster);
        let bystander = Bystander::start(&cluster.client());
        Self { leader: cluster.leader(), cluster, before, bystander }
    }

    fn url(&self) -> String {
        self.cluster[self.leader].url()
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.url()).expect("it listens")
    }

    /// Ends the attack: the node may have used this much more memory meanwhile.
    #[track_caller]
    fn end(self, memory_bytes_max: u64) {
        self.end_keeping(memory_bytes_max, KEPT_BYTES);
    }

    /// Does the same where the node may keep more memory than in other tests.
    #[track_caller]
    fn end_keeping(self, memory_bytes_max: u64, memory_bytes_kept: u64) {
        let Self { cluster, leader, before, bystander } = self;
        check_served(bystander);
        check_growth(&before, &cluster, leader, memory_bytes_max);
        before.check(&cluster, memory_bytes_kept);
    }
}

#[track_caller]
fn check_served(bystander: Bystander) {
    let seen = bystander.stop();
    println!("{} answers, the slowest after {:?}", seen.answers, seen.slowest);
    assert!(seen.failures.is_empty() && seen.slowest < ANSWER_TIME_MAX, "{seen:?}");
}

#[track_caller]
fn check_growth(before: &Vitals, cluster: &Cluster, node: usize, bytes_max: u64) {
    let growth = before.growth_at_peak(cluster, node);
    println!("{} MiB more at the peak, of {} MiB", growth >> 20, bytes_max >> 20);
    assert!(growth <= bytes_max, "{growth} bytes more at the peak, of {bytes_max}");
}

#[test]
fn requests_that_never_finish_their_headers_are_closed_in_time_and_harm_nobody() {
    const REQUESTS: usize = 500;
    let ordeal = Ordeal::begin();
    let began = Instant::now();
    let filler = format!("x-filler: {}\r\n", "x".repeat(HEADERS_BYTES_MAX as usize / 2));
    let mut half_open: Vec<Connection> = (0..REQUESTS).map(|_| ordeal.connect()).collect();
    for (number, connection) in half_open.iter_mut().enumerate() {
        let half = match number % 4 {
            0 => "GET /health HTTP/1.1\r\nhost: loc".to_owned(),
            1 => "POST /se".to_owned(),
            2 => format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{filler}"),
            // A connection that has already completed a request.
            _ => {
                connection.send("GET /health", &[], b"").expect("a request is sent");
                assert_eq!(connection.receive().expect("a reply").status, 200);
                format!("GET /health HTTP/1.1\r\nhost: localhost\r\n{filler}")
            }
        };
        connection.send_bytes(half.as_bytes()).expect("half a request is sent");
    }
    ordeal.bystander.look_on(ROUNDS);
    let headers_time_max = ConnectionLimits::default().headers_time_max;
    for connection in &mut half_open {
        let said = connection.read_to_end(2 * headers_time_max).expect("closed, not forgotten");
        assert_eq!(String::from_utf8_lossy(&said), "", "what was never asked is not answered");
    }
    let took = began.elapsed();
    assert!(took < headers_time_max + ANSWER_TIME_MAX, "closed after {took:?}");
    // Each may have sent as much as the limit on headers allows.
    ordeal.end(OWN_BYTES + REQUESTS as u64 * (CONNECTION_BYTES + HEADERS_BYTES_MAX));
}

#[test]
fn two_thousand_idle_connections_are_kept_and_harm_nobody() {
    const CONNECTIONS: usize = 2_000;
    let ordeal = Ordeal::begin();
    let mut idle: Vec<Connection> = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let mut connection = ordeal.connect();
        // Half of them have never sent a request.
        if number % 2 == 0 {
            connection.send("GET /health", &[], b"").expect("a request is sent");
            assert_eq!(connection.receive().expect("a reply").status, 200);
        }
        idle.push(connection);
    }
    let node = &ordeal.cluster[ordeal.leader];
    until("all are accepted", || (node.open_files() > CONNECTIONS).then_some(()));
    // While they are open, the other nodes can connect as well.
    let follower = (ordeal.leader + 1) % 3;
    let url = ordeal.cluster[follower].url();
    Client::connect([url]).expect("a URL").set("color", "blue").expect("the cluster serves");
    for connection in idle.iter_mut().step_by(2) {
        connection.send("GET /get?key=color", &[], b"").expect("it is still open");
        assert_eq!(connection.receive().expect("a reply").status, 200);
    }
    ordeal.bystander.look_on(ROUNDS);
    drop(idle);
    ordeal.end(OWN_BYTES + CONNECTIONS as u64 * CONNECTION_BYTES);
}

/// Sends a request with a body of a hundred megabytes, until the node takes no more; returns the reply.
fn upload(mut connection: Connection, what: &str, headers: &[&str], piece: &[u8]) -> Reply {
    const BODY_BYTES: usize = 100_000_000;
    connection.send_head(what, headers).expect("a request begins");
    let mut sender = connection.sender().expect("another handle");
    thread::scope(|scope| {
        scope.spawn(move || {
            // Sending fails once the node has closed the connection.
            for _ in 0..BODY_BYTES / piece.len() {
                if sender.write_all(piece).is_err() {
                    break;
                }
            }
        });
        connection.receive().expect("the reply comes before the end of the body")
    })
}

#[test]
fn hundred_megabytes_that_are_announced_are_refused_at_once() {
    const UPLOADS: usize = 40;
    let ordeal = Ordeal::begin();
    let began = Instant::now();
    let piece = vec![b'x'; 1 << 20];
    thread::scope(|scope| {
        for number in 0..UPLOADS {
            let (connection, piece) = (ordeal.connect(), &piece);
            scope.spawn(move || {
                let what = ["POST /set?key=k", "POST /set", "POST /delete"][number % 3];
                let headers = ["content-length: 100000000", "content-type: application/octet-stream"];
                let headers = if number % 3 == 0 { &headers[..] } else { &headers[..1] };
                let reply = upload(connection, what, headers, piece);
                let error = error_of(&reply);
                assert_eq!((reply.status, error.code, error.applied), (413, ErrorCode::TooLarge, Applied::No));
                assert_eq!(reply.header("connection"), Some("close"));
            });
        }
    });
    println!("{UPLOADS} refused after {:?}", began.elapsed());
    ordeal.bystander.look_on(ROUNDS);
    // The node keeps nothing of the bodies.
    ordeal.end(OWN_BYTES + UPLOADS as u64 * (CONNECTION_BYTES + HEADERS_BYTES_MAX));
}

#[test]
fn hundred_megabytes_that_come_in_chunks_are_cut_off_at_the_limit() {
    const UPLOADS: usize = 40;
    let ordeal = Ordeal::begin();
    let piece = [format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    let refusals = thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADS)
            .map(|number| {
                let (connection, piece) = (ordeal.connect(), &piece);
                scope.spawn(move || {
                    let what = ["POST /set?key=k", "POST /set", "POST /delete"][number % 3];
                    let headers = ["transfer-encoding: chunked", "content-type: application/octet-stream"];
                    let headers = if number % 3 == 0 { &headers[..] } else { &headers[..1] };
                    let reply = upload(connection, what, headers, piece);
                    let error = error_of(&reply);
                    assert_eq!((reply.header("connection"), error.applied), (Some("close"), Applied::No));
                    (reply.status, error.code)
                })
            })
            .collect();
        uploads.into_iter().map(|upload| upload.join().expect("a refusal")).collect::<Vec<_>>()
    });
    let cut_off = refusals.iter().filter(|refusal| **refusal == (413, ErrorCode::TooLarge)).count();
    let crowded_out = refusals.iter().filter(|refusal| **refusal == (429, ErrorCode::Overloaded)).count();
    println!("{cut_off} cut off, {crowded_out} crowded out");
    assert!(cut_off > 0 && cut_off + crowded_out == UPLOADS, "{refusals:?}");
    // A growing buffer has room for up to twice its contents.
    ordeal.end(OWN_BYTES + 2 * BODIES_BYTES_MAX + UPLOADS as u64 * (CONNECTION_BYTES + HEADERS_BYTES_MAX));
}

#[test]
fn bodies_that_drip_or_never_come_are_cut_off_by_time_and_harm_nobody() {
    const REQUESTS: usize = 200;
    let body_time_max = Limits::default().body_time_max;
    let ordeal = Ordeal::begin();
    let began = Instant::now();
    let mut requests: Vec<Connection> = (0..REQUESTS).map(|_| ordeal.connect()).collect();
    for (number, connection) in requests.iter_mut().enumerate() {
        let headers: &[&str] = match number % 3 {
            0 => &["transfer-encoding: chunked"],
            1 => &["content-length: 1000000"],
            _ => &["content-length: 4", "expect: 100-continue"],
        };
        connection.send_head("POST /set", headers).expect("a request begins");
        if number % 3 == 2 {
            assert_eq!(connection.receive().expect("a reply").status, 100, "leave to send, of which no use is made");
        }
    }
    // Each drop arrives quickly, and they never end. They keep arriving until the node has given the bodies up.
    while began.elapsed() < body_time_max {
        for (number, connection) in requests.iter_mut().enumerate() {
            let drop: &[u8] = [b"1\r\n \r\n", &b" "[..], b""][number % 3];
            // A body that started early has been cut off early.
            let _ = connection.send_bytes(drop);
        }
        thread::sleep(Duration::from_millis(200));
    }
    for (number, connection) in requests.iter_mut().enumerate() {
        let reply = connection.receive().expect("a refusal");
        let error = error_of(&reply);
        assert_eq!((reply.status, error.code, error.applied), (400, ErrorCode::InvalidRequest, Applied::No));
        assert!(
            error.message.contains("in time") && reply.header("connection") == Some("close"),
            "{number}: {error:?}"
        );
    }
    let took = began.elapsed();
    assert!(took < body_time_max + ANSWER_TIME_MAX, "cut off after {took:?}");
    ordeal.end(OWN_BYTES + REQUESTS as u64 * (CONNECTION_BYTES + HEADERS_BYTES_MAX));
}

#[test]
fn bodies_in_tiny_chunks_are_cut_off_at_the_limit_and_harm_nobody() {
    // A chunk costs as much as one a thousand times larger, and tens of thousands are within the limit.
    const UPLOADS: usize = 4;
    let ordeal = Ordeal::begin();
    let piece = b"10\r\nxxxxxxxxxxxxxxxx\r\n".repeat(10_000);
    thread::scope(|scope| {
        for _ in 0..UPLOADS {
            let (connection, piece) = (ordeal.connect(), &piece);
            scope.spawn(move || {
                let headers = ["transfer-encoding: chunked", "content-type: application/octet-stream"];
                let reply = upload(connection, "POST /set?key=k", &headers, piece);
                assert_eq!((reply.status, error_of(&reply).code), (413, ErrorCode::TooLarge));
            });
        }
    });
    ordeal.end(OWN_BYTES + UPLOADS as u64 * (2 * VALUE_BYTES_MAX + CONNECTION_BYTES + HEADERS_BYTES_MAX));
}

#[test]
fn replies_that_nobody_reads_are_bounded_and_harm_nobody() {
    const CONNECTIONS: usize = 600;
    let ordeal = Ordeal::begin();
    ordeal.cluster.client().set("large", vec![b'x'; VALUE_BYTES_MAX as usize]).expect("the cluster serves");
    let request = format!("GET /get?key=large HTTP/1.1\r\nhost: {}\r\n\r\n", ordeal.cluster[ordeal.leader].address());
    let requests = request.repeat(100);
    let mut growth = Vec::new();
    for _ in 0..2 {
        // All requests are sent ahead, and no reply is read.
        let connections: Vec<Connection> = (0..CONNECTIONS)
            .map(|_| {
                let mut connection = ordeal.connect();
                connection.send_bytes(requests.as_bytes()).expect("requests are sent");
                connection
            })
            .collect();
        let refused = until("no more is kept for those who do not read", || {
            let mut late = ordeal.connect();
            late.send("GET /get?key=large", &[], b"").expect("a request is sent");
            let reply = late.receive().expect("a reply");
            (reply.status != 200).then_some(reply)
        });
        assert_eq!((refused.status, error_of(&refused).code), (429, ErrorCode::Overloaded));
        ordeal.bystander.look_on(ROUNDS);
        drop(connections);
        let served = || {
            let reply = ordeal.cluster[ordeal.leader].get("/get?key=large").ok()?;
            (reply.status == 200).then_some(())
        };
        until("large replies go on", served);
        growth.push(ordeal.before.growth_at_peak(&ordeal.cluster, ordeal.leader));
    }
    // In addition to the replies: the values that they are rendered from, two at a time.
    let connection_bytes = CONNECTION_BYTES + HEADERS_BYTES_MAX;
    let bytes_max = OWN_BYTES + REPLIES_BYTES_MAX + 4 * VALUE_BYTES_MAX + CONNECTIONS as u64 * connection_bytes;
    // This many pieces of a megabyte leave gaps in the allocator's heap, which it keeps and reuses.
    assert!(growth[1] <= growth[0] + OWN_BYTES, "a second time takes more: {growth:?}");
    ordeal.end_keeping(bytes_max, bytes_max);
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// 503 `no_leader`.
    NoLeader,
    /// 429 `overloaded`.
    Overloaded,
    /// The connection was closed without an answer.
    Closed,
}

fn end_of(connection: &mut Connection) -> End {
    match connection.receive() {
        Ok(reply) => {
            let error = error_of(&reply);
            assert_eq!(error.applied, Applied::No);
            assert!(reply.header("retry-after").is_some(), "{error:?}");
            match (reply.status, error.code) {
                (503, ErrorCode::NoLeader) => End::NoLeader,
                (429, ErrorCode::Overloaded) => End::Overloaded,
                other => panic!("{other:?}: {}", error.message),
            }
        }
        Err(cause) if matches!(cause.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            End::Closed
        }
        Err(cause) => panic!("neither an answer nor an end: {cause}"),
    }
}

#[test]
fn ten_thousand_requests_at_once_to_a_node_without_a_leader_are_each_refused_in_time() {
    const REQUESTS: usize = 10_000;
    const PIPELINES: usize = 100;
    /// Longest time that a request waits for a leader: five seconds, unless it asks for less.
    const REFUSAL_TIME_MAX: Duration = Duration::from_secs(5);
    let requests = [
        ("POST /set", &br#"{"key":"k","value":"v"}"#[..]),
        ("GET /get?key=vitals", b""),
        ("POST /delete", br#"{"key":"vitals"}"#),
    ];
    raise_open_files_limit();
    // Without room for streams, there are as many connections as a client can open here.
    let mut cluster = Cluster::start_calm_with(3, "--max-streams", "0");
    let before = Vitals::of(&cluster);
    let survivor = cluster.follower();
    let others = cluster.others(survivor);
    others.iter().for_each(|number| cluster[*number].kill());
    let url = cluster[survivor].url();
    until("it knows no leader", || cluster[survivor].health().filter(|health| health.leader.is_none()));
    let revision = cluster[survivor].health().expect("it answers").revision;
    // A connected client is served, whatever other clients connect.
    let bystander = Bystander::connected(Connection::open(&url).expect("it listens"), "vitals");
    bystander.look_on(ROUNDS);

    // As many clients with one request each: more than there is room for.
    let began = Instant::now();
    let mut clients: Vec<(Connection, Instant)> = Vec::with_capacity(REQUESTS);
    let mut ends: BTreeMap<End, usize> = BTreeMap::new();
    for number in 0..REQUESTS {
        let mut connection = Connection::open(&url).expect("it listens");
        let (what, body) = requests[number % requests.len()];
        // Excess connections may be closed by now.
        match connection.send(what, &[], body) {
            Ok(()) => clients.push((connection, Instant::now())),
            Err(_) => *ends.entry(End::Closed).or_default() += 1,
        }
    }
    // The time of each counts from when it was sent: it takes a while until the last one is.
    let mut slowest = Duration::ZERO;
    for (connection, sent) in &mut clients {
        *ends.entry(end_of(connection)).or_default() += 1;
        slowest = slowest.max(sent.elapsed());
    }
    println!("{ends:?} after {:?}, the slowest {slowest:?} after it was sent", began.elapsed());
    assert!(slowest < REFUSAL_TIME_MAX + ANSWER_TIME_MAX, "{slowest:?}");
    assert_eq!(ends.values().sum::<usize>(), REQUESTS);
    assert!(ends[&End::NoLeader] >= ConnectionLimits::default().connections_max - 100, "{ends:?}");
    assert!(ends.contains_key(&End::Overloaded), "a few beyond those are told why not: {ends:?}");

    // As many in pipelines, over some of the open connections.
    let began = Instant::now();
    let mut open: Vec<&mut Connection> = clients.iter_mut().take(PIPELINES).map(|(connection, _)| connection).collect();
    for number in 0..REQUESTS / PIPELINES {
        for connection in &mut open {
            let (what, body) = requests[number % requests.len()];
            let separator = if what.contains('?') { '&' } else { '?' };
            let what = format!("{what}{separator}timeout_ms=10");
            connection.send(&what, &[], body).expect("it is served");
        }
    }
    for _ in 0..REQUESTS / PIPELINES {
        for connection in &mut open {
            assert_ne!(end_of(connection), End::Closed);
        }
    }
    println!("in pipelines after {:?}", began.elapsed());
    assert!(began.elapsed() < REFUSAL_TIME_MAX + ANSWER_TIME_MAX, "{:?}", began.elapsed());

    // With all those connections still open, the other nodes can connect.
    others.iter().for_each(|number| cluster[*number].start());
    for number in others {
        let knows_a_leader = || cluster[number].health().filter(|health| health.leader.is_some());
        until("the cluster has a leader again", knows_a_leader);
    }
    bystander.look_on(ROUNDS);
    drop(clients);
    check_served(bystander);
    let served = || cluster[survivor].get("/livez").ok().filter(|reply| reply.status == 200);
    until("it takes connections again", served);
    let node = cluster[survivor].health().expect("it answers");
    assert!(node.revision == revision, "what was refused was not applied: revision {} after {revision}", node.revision);
    let connections = ConnectionLimits::default().connections_max as u64 + 64;
    check_growth(&before, &cluster, survivor, OWN_BYTES + connections * CONNECTION_BYTES);
    before.check_resources(&cluster, KEPT_BYTES);
}

#[test]
fn what_is_hardly_http_gets_an_error_or_no_answer_and_harms_nobody() {
    let cluster = Cluster::start(1);
    let before = Vitals::of(&cluster);
    let url = cluster[0].url();
    let host = format!("host: {}\r\n", cluster[0].address());
    let request = |line: &str, rest: &str| format!("{line}\r\n{host}{rest}\r\n").into_bytes();
    let post = |headers: &str, body: &str| [request("POST /set HTTP/1.1", headers), body.as_bytes().to_vec()].concat();
    let many_headers: String = (0..10_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let set = r#"{"key":"k","value":"v"}"#;
    // Accepted statuses; none if the connection may be closed without one.
    let cases: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("a request line of a megabyte", request(&format!("GET /{} HTTP/1.1", "a".repeat(1 << 20)), ""), &[414, 431]),
        ("a query of a megabyte", request(&format!("GET /get?key={} HTTP/1.1", "a".repeat(1 << 20)), ""), &[414, 431]),
        ("a method of a megabyte", request(&format!("{} / HTTP/1.1", "A".repeat(1 << 20)), ""), &[400, 431]),
        ("a header of a megabyte", request("GET /health HTTP/1.1", &format!("x: {}\r\n", "y".repeat(1 << 20))), &[431]),
        ("ten thousand headers", request("GET /health HTTP/1.1", &many_headers), &[431]),
        ("a path that is no UTF-8", b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), &[400, 404]),
        ("a query that is no UTF-8", b"GET /get?key=\xff HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), &[400]),
        ("a key that is no UTF-8 when decoded", request("GET /get?key=%ff%fe HTTP/1.1", ""), &[400]),
        (
            "a header that is no UTF-8",
            b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: \xff\r\n\r\n".to_vec(),
            &[200, 400],
        ),
        ("a body that is no UTF-8", [post("content-length: 2\r\n", ""), vec![0xff; 2]].concat(), &[400]),
        ("a zero byte in a header", request("GET /health HTTP/1.1", "x: a\0b\r\n"), &[400]),
        ("a bare carriage return", request("GET /health HTTP/1.1", "x: a\rb\r\n"), &[400]),
        ("a header on two lines", request("GET /health HTTP/1.1", "x: a\r\n b\r\n"), &[400]),
        ("a space before the colon", request("GET /health HTTP/1.1", "x : a\r\n"), &[400]),
        ("HTTP/1.0", request("GET /health HTTP/1.0", ""), &[200]),
        ("HTTP/1.1 without a host", b"GET /health HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("two hosts", request("GET /health HTTP/1.1", "host: localhost\r\n"), &[400]),
        ("a host that is none", b"GET /health HTTP/1.1\r\nhost: a b\r\n\r\n".to_vec(), &[400]),
        ("a compressed body", post("content-encoding: gzip\r\ncontent-length: 2\r\n", "\x1f\x0b"), &[415]),
        ("a compressed body in chunks", post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"), &[400]),
        ("HTTP/1.0 without a host", b"GET /health HTTP/1.0\r\n\r\n".to_vec(), &[200]),
        ("HTTP/0.9", b"GET /health\r\n\r\n".to_vec(), &[400]),
        ("HTTP/9.9", request("GET /health HTTP/9.9", ""), &[400]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &[]),
        ("a hello of TLS", [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[0x5a; 506]].concat(), &[400]),
        ("garbage", vec![0xa5; 100_000], &[400]),
        ("zeros", vec![0; 100_000], &[400]),
        ("empty lines without an end", b"\r\n".repeat(200_000), &[400, 431]),
        ("a body with two lengths", post("content-length: 23\r\ncontent-length: 5\r\n", set), &[400]),
        ("a length that is no number", post("content-length: -1\r\n", set), &[400]),
        ("a length beyond all numbers", post("content-length: 99999999999999999999999\r\n", set), &[400]),
        ("a length of nearly all numbers", post("content-length: 18446744073709551613\r\n", set), &[413]),
        (
            "a length and chunks",
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
            &[400],
        ),
        ("chunks twice", post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n"), &[400]),
        ("another coding than chunks", post("transfer-encoding: gzip\r\n", set), &[400]),
        ("a chunk that is no number", post("transfer-encoding: chunked\r\n", "zz\r\n"), &[400]),
        ("a chunk beyond all numbers", post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nx"), &[400]),
        (
            "a chunk with an endless note",
            post("transfer-encoding: chunked\r\n", &format!("1;{}", "a".repeat(1 << 20))),
            &[400],
        ),
        (
            "endless trailers",
            post("transfer-encoding: chunked\r\n", &format!("0\r\n{}", "x: y\r\n".repeat(100_000))),
            &[400],
        ),
        ("a request to another place", request("GET http://example.com/health HTTP/1.1", ""), &[200, 400, 403]),
        ("a tunnel", request("CONNECT example.com:80 HTTP/1.1", ""), &[400, 404, 405]),
        (
            "an upgrade to HTTP/2",
            request("GET /health HTTP/1.1", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\n"),
            &[200],
        ),
        ("JSON nested without an end", post("content-length: 100000\r\n", &"[".repeat(100_000)), &[400]),
    ];
    thread::scope(|scope| {
        for (case, bytes, statuses) in &cases {
            let mut connection = Connection::open(&url).expect("it listens");
            scope.spawn(move || {
                // The node may close before it has read all of it.
                let _ = connection.send_bytes(bytes);
                if statuses.is_empty() {
                    let said = connection.read_to_end(2 * ANSWER_TIME_MAX).expect("closed at once");
                    assert_eq!(String::from_utf8_lossy(&said), "", "{case}");
                } else {
                    let reply = connection.receive().unwrap_or_else(|cause| panic!("{case}: {cause}"));
                    assert!(statuses.contains(&reply.status), "{case}: {} {}", reply.status, reply.text());
                }
            });
        }
    });
    check_growth(&before, &cluster, 0, OWN_BYTES + cases.len() as u64 * (CONNECTION_BYTES + HEADERS_BYTES_MAX));
    before.check(&cluster, KEPT_BYTES);
}
