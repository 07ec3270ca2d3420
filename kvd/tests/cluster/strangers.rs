//! Peers and clients that must be refused: nodes of other clusters, nodes that send nonsense, and pages in a browser.

use kvclient::api::{Applied, ErrorCode};
use kvd::peer::{HELLO_HEADER, Hello, PROTOCOL_VERSION};
use kvd::raft::{Body, ClusterTime, Entry, LogIndex, MemberInfo, NodeId, Payload, Term};
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;
use testkit::{Cluster, Connection, Node, error_of, until};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::{self, HandshakeError, Message, WebSocket};

/// Returns the introduction that a node sends in answer to any introduction.
fn introduction(node: &Node, ours: &Hello) -> Hello {
    let mut connection = Connection::open(&node.url()).expect("it listens");
    let header = format!("{HELLO_HEADER}: {}", ours.to_header());
    connection.send("GET /raft", &[&header], b"").expect("a request is sent");
    let reply = connection.receive().expect("it answers");
    Hello::from_header(reply.header(HELLO_HEADER).expect("it introduces itself too")).expect("an introduction")
}

/// Returns the introduction of a node that does not exist.
fn stranger() -> Hello {
    let url = "http://127.0.0.1:9".to_owned();
    let info = MemberInfo { name: "stranger".into(), client_url: url.clone(), peer_url: url };
    Hello { version: "0".into(), ..Hello::new(NodeId(666), info, 1) }
}

/// Dials `/raft` as nodes do; returns the refusal if it is not accepted.
fn dial(node: &Node, headers: &[(&'static str, &str)]) -> Result<WebSocket<TcpStream>, (StatusCode, String)> {
    let mut request = format!("ws://{}/raft", node.address()).into_client_request().expect("a URL");
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header"));
    }
    let stream = TcpStream::connect(node.address()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(tungstenite::Error::Http(reply))) => {
            Err((reply.status(), String::from_utf8_lossy(reply.body().as_deref().unwrap_or_default()).into_owned()))
        }
        Err(other) => panic!("neither accepted nor refused: {other}"),
    }
}

/// Opens a socket on which this node takes us for a member of its cluster.
fn pose_as_member(node: &Node, name: &str) -> WebSocket<TcpStream> {
    let Hello { cluster, founders, .. } = introduction(node, &stranger());
    let hello = Hello { name: name.into(), cluster, founders, ..stranger() };
    dial(node, &[(HELLO_HEADER, &hello.to_header())]).expect("a node of the same cluster is accepted")
}

/// Waits until the other side has closed the connection.
fn is_closed(socket: &mut WebSocket<TcpStream>) -> bool {
    loop {
        match socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::Io(cause)) => {
                return !matches!(cause.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            }
            Err(_) => return true,
        }
    }
}

#[test]
fn only_nodes_of_this_cluster_may_open_a_stream() {
    let cluster = Cluster::start(1);
    let node = &cluster[0];
    let other_cluster = Hello { cluster: Some(7), ..stranger() };
    let other_protocol = Hello { protocol: 999, protocol_min: 998, ..stranger() };
    for (headers, status, code) in [
        (vec![], 400, "invalid_request"),
        (vec![(HELLO_HEADER, "hello")], 400, "invalid_request"),
        (vec![(HELLO_HEADER, &*other_protocol.to_header())], 400, "invalid_request"),
        (vec![(HELLO_HEADER, &*other_cluster.to_header())], 403, "wrong_cluster"),
        (vec![(HELLO_HEADER, &*stranger().to_header())], 503, "no_leader"),
        (vec![(HELLO_HEADER, &*stranger().to_header()), ("origin", "http://evil.example")], 403, "forbidden_origin"),
    ] {
        for _ in 0..3 {
            let (refusal, body) = dial(node, &headers).err().unwrap_or_else(|| panic!("accepted: {headers:?}"));
            assert_eq!(refusal.as_u16(), status, "{headers:?}: {body}");
            assert!(body.contains(&format!("\"code\":\"{code}\"")), "{headers:?}: {body}");
        }
    }
    let warning = node.logged("stranger (http://127.0.0.1:9) belongs to cluster 0000000000000007");
    assert!(warning.contains("WARN [node1][term "), "it is the node that says so: {warning}");
    assert_eq!(node.log().matches(" belongs to cluster ").count(), 1, "logged once: {warning}");
    cluster.client().set("color", "blue").expect("the node goes on");
}

#[test]
fn a_node_of_the_next_version_is_one_of_the_cluster_as_long_as_it_speaks_this_protocol() {
    let cluster = Cluster::start(1);
    let Hello { cluster: own, founders, protocol, .. } = introduction(&cluster[0], &stranger());
    let next = |protocol_min| {
        let next =
            Hello { cluster: own, founders: founders.clone(), protocol: protocol + 1, protocol_min, ..stranger() };
        // It also mentions a capability that this version does not know.
        next.to_header().replacen('{', r#"{"can":{"fly":true},"#, 1)
    };
    let mut socket = dial(&cluster[0], &[(HELLO_HEADER, &next(protocol))]).expect("they have a protocol in common");
    socket.send(Message::Ping(vec![7].into())).expect("it listens");
    assert_eq!(socket.read().expect("the stream goes on"), Message::Pong(vec![7].into()));

    let (status, body) = dial(&cluster[0], &[(HELLO_HEADER, &next(protocol + 1))]).expect_err("it is too new");
    assert_eq!(status.as_u16(), 400);
    assert!(body.contains("upgrade the older one, one version at a time"), "{body}");
}

#[test]
fn what_is_no_snapshot_of_this_cluster_is_refused_and_harms_nobody() {
    let cluster = Cluster::start(1);
    let node = &cluster[0];
    cluster.client().set("color", "blue").expect("it serves");
    let Hello { cluster: own, founders, .. } = introduction(node, &stranger());
    let member = Hello { cluster: own, founders, ..stranger() };
    let other_cluster = Hello { cluster: Some(7), ..stranger() };
    // A peer that knows signs of life reads the outcome in the body, whatever the status.
    let older = Hello { protocol: 3, ..member.clone() };
    let post = |hello: Option<&Hello>, body: &[u8]| {
        let mut connection = Connection::open(&node.url()).expect("it listens");
        let header = hello.map(|hello| format!("{HELLO_HEADER}: {}", hello.to_header()));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        connection
            .send("POST /raft/snapshot", &[&headers[..], &["connection: close"]].concat(), body)
            .expect("it is sent");
        String::from_utf8(connection.read_to_end(Duration::from_secs(10)).expect("it answers")).expect("text")
    };
    for (hello, body, status, why) in [
        (None, &b""[..], 400, "introduce themselves"),
        (Some(&stranger()), b"", 403, "different clusters"),
        (Some(&other_cluster), b"", 403, "different clusters"),
        (Some(&member), b"", 200, "snapshot"),
        (Some(&member), b"kvd-snap", 200, "snapshot"),
        (Some(&member), &[0xff; 100_000], 200, "snapshot"),
        (Some(&older), b"", 400, "snapshot"),
        (Some(&older), &[0xff; 100_000], 400, "snapshot"),
    ] {
        let reply = post(hello, body);
        let has_status = reply.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(has_status && reply.contains("\"error\"") && reply.contains(why), "{status}: {reply}");
    }
    let names =
        std::fs::read_dir(node.data_dir()).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("snapshot")), "nothing is left of them");
    assert_eq!(cluster.client().get("color").expect("it serves").expect("a key").value, b"blue");
}

#[test]
fn a_node_that_sends_nonsense_loses_its_connection_and_harms_nobody() {
    let cluster = Cluster::start_calm(3);
    let node = &cluster[cluster.leader()];
    let term = node.health().expect("it answers").term;
    let with_right_checksum = |body: &[u8]| {
        let mut frame = vec![1];
        frame.extend(crc32c::crc32c(body).to_le_bytes());
        frame.extend(body);
        frame
    };
    let nonsense = [
        ("text", Message::text("hello")),
        ("empty", Message::binary(vec![])),
        ("garbage", Message::binary(vec![0xff; 1000])),
        ("checksum", Message::binary(vec![1, 0, 0, 0, 0, 1, 2, 3])),
        ("no-message", Message::binary(with_right_checksum(&[0xff; 50]))),
    ];
    for (name, message) in nonsense {
        for _ in 0..2 {
            let mut socket = pose_as_member(node, name);
            // The node may close before all of it is sent.
            let _ = socket.send(message.clone());
            assert!(is_closed(&mut socket), "{name}");
        }
        node.logged(&format!("closed the connection from {name}"));
        assert_eq!(node.log().matches(&format!("connection from {name},")).count(), 1, "{name}: logged once");
    }
    let mut socket = pose_as_member(node, "endless");
    // It need not wait for the end of a message that it will refuse.
    let _ = socket.send(Message::binary(vec![1; kvd::peer::FRAME_BYTES_MAX + 1]));
    assert!(is_closed(&mut socket), "a frame that is too long");
    node.logged("closed the connection from endless, which sent an invalid message: Space limit exceeded");
    // A truncated frame, and bytes that are not a frame at all.
    for bytes in [&[0x82, 0xfe, 0x10][..], &[0xff; 64]] {
        let mut socket = pose_as_member(node, "cut");
        socket.get_mut().write_all(bytes).expect("bytes are sent");
    }
    cluster.client().set("color", "blue").expect("the cluster goes on");
    assert_eq!(node.health().expect("it answers").term, term, "nobody was deposed");
}

#[test]
fn a_message_that_cannot_be_ends_its_stream_and_not_the_node() {
    let cluster = Cluster::start_calm(3);
    let node = &cluster[cluster.leader()];
    let term = node.health().expect("it answers").term;
    let entry = |index, entry_term| Entry {
        index: LogIndex(index),
        term: Term(entry_term),
        time: ClusterTime(0),
        payload: Payload::Noop,
    };
    let append = |term, (index, prev_term), entries| {
        let (prev_log_index, prev_log_term) = (LogIndex(index), Term(prev_term));
        let (leader_commit, time) = (LogIndex(1), Some(ClusterTime(0)));
        let body = Body::AppendEntries { prev_log_index, prev_log_term, entries, leader_commit, round: 0, time };
        kvd::raft::Message { term: Term(term), body }
    };
    for (message, why) in [
        (append(term, (0, 0), vec![entry(7, term)]), "its entries do not follow each other"),
        (append(term, (1, 1), vec![entry(2, term + 1)]), "its log is ahead of its term"),
        (append(u64::MAX, (1, 1), vec![]), "a number in it is out of range"),
        (append(term, (1, 1), vec![]), "the sender claims to lead a term that has another leader"),
        (append(term + 1, (0, 0), vec![entry(1, term + 1)]), "it contradicts committed entries"),
        (append(term + (1 << 40), (1, 1), vec![]), "its term is implausibly high"),
    ] {
        for _ in 0..2 {
            let mut socket = pose_as_member(node, "forger");
            socket.send(Message::binary(kvd::peer::encode(&message, PROTOCOL_VERSION))).expect("a message is sent");
            assert!(is_closed(&mut socket), "{why}");
        }
        node.logged(why);
        assert_eq!(node.log().matches(why).count(), 1, "{why}: logged once");
    }
    cluster.client().set("color", "blue").expect("the cluster goes on");
    assert_eq!(node.health().expect("it answers").term, term, "nobody was deposed");
}

#[test]
fn a_node_has_one_stream_at_a_time_and_must_show_signs_of_life() {
    let cluster = Cluster::start(1);
    let mut older = pose_as_member(&cluster[0], "twice");
    let mut newer = pose_as_member(&cluster[0], "twice");
    assert!(is_closed(&mut older), "the newest counts");
    newer.send(Message::Ping(Vec::new().into())).expect("it is open");
    assert!(matches!(newer.read(), Ok(Message::Pong(_))), "and is answered");
    assert!(is_closed(&mut newer), "who is silent for long is gone");
}

#[test]
fn a_node_is_not_taken_for_another() {
    let cluster = Cluster::start(1);
    let node = &cluster[0];
    let theirs = introduction(node, &stranger());
    let (status, body) = dial(node, &[(HELLO_HEADER, &theirs.to_header())]).expect_err("its own id");
    assert!(status.as_u16() == 400 && body.contains("uses the id of this node"), "{status} {body}");
}

#[test]
fn bytes_that_are_no_http_harm_nobody() {
    let cluster = Cluster::start(1);
    let endless = [b"GET /".as_slice(), &vec![b'a'; 1 << 20]].concat();
    for bytes in [&[0; 100][..], b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00", &endless] {
        let mut stream = TcpStream::connect(cluster[0].address()).expect("it listens");
        // The node may close before it has read all of it.
        let _ = stream.write_all(bytes);
    }
    cluster.client().set("color", "blue").expect("the node goes on");
}

#[test]
fn a_page_of_another_origin_can_neither_write_nor_read() {
    let cluster = Cluster::start(1);
    let node = &cluster[0];
    let body = br#"{"key":"color","value":"evil"}"#;
    let send = |what: &str, header: &str, body: &[u8]| {
        let mut connection = Connection::open(&node.url()).expect("it listens");
        connection.send(what, &[header], body).expect("a request is sent");
        connection.receive().expect("it answers")
    };
    for header in ["origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site"] {
        for (what, body) in [("POST /set", &body[..]), ("POST /delete", br#"{"key":"color"}"#), ("GET /get?key=a", b"")]
        {
            let reply = send(what, header, body);
            let error = error_of(&reply);
            let expected = (403, ErrorCode::ForbiddenOrigin, Applied::No);
            assert_eq!((reply.status, error.code, error.applied), expected, "{what} with {header}");
        }
    }
    let health = node.health().expect("it answers");
    assert_eq!((health.revision, health.keys), (1, 0), "nothing was written");
    let own = send("POST /set", &format!("origin: {}", node.url()), body);
    assert_eq!(own.status, 200, "its own pages may: {}", own.text());
    until("it is read back", || node.get("/get?key=color").ok().filter(|reply| reply.status == 200));
}
