//! Writes at nodes that do not lead: forwarded to the leader, and answered as by the leader, whatever happens to it.

use kvclient::api::{Applied, ErrorCode, SetReply};
use kvd::kv::{Command, Operation, Put};
use kvd::peer::{HELLO_HEADER, Hello};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, Connection, Network, Proxies, Reply, error_of, until};

const OCTETS: &str = "content-type: application/octet-stream";

/// Sends one request over its own connection.
fn ask(url: &str, what: &str, headers: &[&str], body: &[u8]) -> Reply {
    let mut connection = Connection::open(url).expect("it listens");
    connection.send(what, headers, body).expect("a request is sent");
    connection.receive().expect("it answers")
}

#[test]
fn any_node_takes_every_write_and_answers_as_the_leader_does() {
    let cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let cluster_id = cluster[leader].get("/members").expect("it answers").json::<Value>()["cluster"]["id"].clone();
    let term = cluster[leader].health().expect("it answers").term.to_string();
    let node = &cluster[follower];

    let reply = node.post("/set", r#"{"key":"color","value":"blue"}"#).expect("it answers");
    assert_eq!((reply.status, reply.json::<Value>()), (200, json!({"revision": 2, "created": true})));
    assert_eq!(reply.header("kvd-node"), Some(node.name.as_str()), "the node that was asked");
    assert_eq!(reply.header("kvd-term"), Some(term.as_str()));
    assert_eq!(reply.header("kvd-cluster"), cluster_id.as_str());
    // The query holds the key, and the answer to a failed condition contains the item.
    let reply = ask(&node.url(), "POST /set?key=a%26b", &[OCTETS], &[0, 255]);
    assert_eq!(reply.json::<SetReply>(), SetReply::new(3, true));
    let body = r#"{"key":"color","value":"red","if":{"absent":true}}"#;
    let reply = node.post("/set", body).expect("it answers");
    assert_eq!((reply.status, reply.json::<Value>()["error"]["current"]["value"].clone()), (412, json!("blue")));
    let reply = node.post("/delete", r#"{"key":"color","prev":true}"#).expect("it answers");
    assert_eq!((reply.status, reply.json::<Value>()["prev"]["value"].clone()), (200, json!("blue")));
    // A repeat through another node gets the outcome of the first request.
    let body = r#"{"key":"once","value":"1","request":{"client":"c","seq":1}}"#;
    let replies: Vec<Value> =
        cluster.nodes.iter().map(|node| node.post("/set", body).expect("it answers").json()).collect();
    assert_eq!(replies, vec![json!({"revision": 5, "created": true}); 3]);
    // A page served by this node sends the request to this node only.
    let origin = format!("origin: {}", node.url());
    assert_eq!(ask(&node.url(), "POST /set", &[&origin], br#"{"key":"page","value":"1"}"#).status, 200);
    // Requests about members and leadership go to the leader too, and its refusals are passed on unchanged.
    let reply = node.post("/members/promote", r#"{"id":"node9"}"#).expect("it answers");
    assert_eq!((reply.status, error_of(&reply).code), (404, ErrorCode::MemberNotFound));
    let reply = node.post("/leader/transfer", format!(r#"{{"to":"{}"}}"#, node.name)).expect("it answers");
    assert_eq!((reply.status, reply.json::<Value>()["id"].clone()), (200, json!(node.name)));
}

#[test]
fn who_asks_for_it_is_redirected_instead() {
    let cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let reply = ask(&cluster[follower].url(), "POST /set?key=a%26b", &[OCTETS, "kvd-redirect: true"], &[0, 255]);
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code, error.applied), (307, ErrorCode::NotLeader, Applied::No));
    let expected = format!("{}/set?key=a%26b", cluster[leader].url());
    assert_eq!(reply.header("location"), Some(expected.as_str()), "the query goes along");
    let named = error.leader.expect("the leader is named");
    assert_eq!((named.id.as_str(), named.url), (cluster[leader].name.as_str(), cluster[leader].url()));
    let reply = ask(&cluster[leader].url(), "POST /set?key=a%26b", &[OCTETS, "kvd-redirect: true"], &[0, 255]);
    assert_eq!(reply.status, 200);
}

#[test]
fn a_request_names_the_cluster_it_means() {
    let cluster = Cluster::start_calm(3);
    let node = &cluster[cluster.follower()];
    let id = node.get("/members").expect("it answers").json::<Value>()["cluster"]["id"].clone();
    let meant = format!("kvd-cluster: {}", id.as_str().expect("an id"));
    let body = br#"{"key":"color","value":"blue"}"#;
    assert_eq!(ask(&node.url(), "POST /set", &[&meant], body).status, 200);
    for what in ["POST /set", "GET /get?key=color", "GET /health"] {
        let reply = ask(&node.url(), what, &["kvd-cluster: 00000000000000ff"], body);
        assert_eq!((reply.status, error_of(&reply).code), (403, ErrorCode::WrongCluster), "{what}");
        assert_eq!(reply.header("kvd-cluster"), id.as_str(), "it says which one it is");
    }
    let mut cluster = Cluster::prepare(3);
    cluster[0].start();
    until("the node answers", || cluster[0].health());
    let reply = ask(&cluster[0].url(), "GET /health", &["kvd-cluster: 00000000000000ff"], b"");
    assert_eq!(
        (reply.status, error_of(&reply).code),
        (503, ErrorCode::NotReady),
        "it does not belong to a cluster yet"
    );
}

#[test]
fn nothing_is_sent_on_twice() {
    let cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    // The introduction that the leader would send the follower if it took the follower for the leader.
    let introduction = ask(&cluster[leader].url(), "GET /raft", &[], b"");
    assert_eq!(introduction.status, 400, "nobody is introduced to who does not introduce itself");
    let stranger = r#"{"protocol":4,"protocol_min":3,"version":"0","name":"stranger","node":"000000000000029a",
        "client_url":"http://127.0.0.1:9","peer_url":"http://127.0.0.1:9"}"#;
    let header = format!("{HELLO_HEADER}: {}", stranger.replace('\n', " "));
    let reply = ask(&cluster[leader].url(), "GET /raft", &[&header], b"");
    let leaders = Hello::from_header(reply.header(HELLO_HEADER).expect("it introduces itself")).expect("a hello");
    let hello = format!("{HELLO_HEADER}: {}", leaders.to_header());
    // A timeout of five seconds, and a write.
    let operation = Operation::Set { put: Put::new("color", "blue"), condition: None };
    let command = Command { operation, request: None }.encode();
    let question = [&[0x88, 0x27, 0x00][..], &command].concat();
    let reply = ask(&cluster[follower].url(), "POST /raft/forward", &[&hello], &question);
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code, error.applied), (307, ErrorCode::NotLeader, Applied::No));
    // The leader accepts it, but refuses a command that it cannot read, or that is too large for it.
    let follower_says = {
        let reply = ask(&cluster[follower].url(), "GET /raft", &[&header], b"");
        Hello::from_header(reply.header(HELLO_HEADER).expect("it introduces itself")).expect("a hello")
    };
    let follower_says = format!("{HELLO_HEADER}: {}", follower_says.to_header());
    let to_leader = |question: &[u8]| ask(&cluster[leader].url(), "POST /raft/forward", &[&follower_says], question);
    assert_eq!(to_leader(&question).status, 200);
    assert_eq!(cluster[leader].get("/get?key=color&raw=true").expect("it answers").body, b"blue");
    let reply = to_leader(&[0x88, 0x27, 0x00, 0x00]);
    assert_eq!((reply.status, error_of(&reply).code), (503, ErrorCode::NotReady), "{}", reply.text());
    let operation = Operation::Set { put: Put::new("k", vec![0; 2 << 20]), condition: None };
    let large = [&[0x88, 0x27, 0x00][..], &Command { operation, request: None }.encode()].concat();
    let reply = to_leader(&large);
    assert_eq!((reply.status, error_of(&reply).code), (413, ErrorCode::TooLarge), "{}", reply.text());
    // No other sender may forward writes.
    let reply = ask(&cluster[leader].url(), "POST /raft/forward", &[&header], &question);
    assert_eq!((reply.status, error_of(&reply).code), (403, ErrorCode::WrongCluster));
    let reply = ask(&cluster[leader].url(), "POST /raft/forward", &[], &question);
    assert_eq!((reply.status, error_of(&reply).code), (400, ErrorCode::InvalidRequest));
}

#[test]
fn large_values_and_a_thousand_at_once_pass_through() {
    let cluster = Cluster::start_calm(3);
    let url = cluster[cluster.follower()].url();
    let value = vec![b'v'; 1 << 20];
    thread::scope(|scope| {
        for writer in 0..8 {
            let (url, value) = (&url, &value);
            scope.spawn(move || {
                let reply = ask(url, &format!("POST /set?key=large{writer}&timeout_ms=30000"), &[OCTETS], value);
                assert_eq!(reply.status, 200, "{}", reply.text());
            });
        }
    });
    let mut connections: Vec<Connection> = (0..1000).map(|_| Connection::open(&url).expect("it listens")).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        let body = format!(r#"{{"key":"small{number}","value":"x"}}"#);
        connection.send("POST /set?timeout_ms=30000", &[], body.as_bytes()).expect("a request is sent");
    }
    for connection in &mut connections {
        let reply = connection.receive().expect("it answers");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    cluster.catch_up();
    let health = cluster[cluster.leader()].health().expect("it answers");
    assert_eq!((health.keys, health.revision), (1008, 1 + 1008), "each was applied once");
}

/// Answer that a writer got for one of its keys.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Applied,
    NotApplied,
    Unknown,
}

/// Kills leaders while clients write at the other nodes. Each write has its own key, and clients repeat none: each
/// answer must match the final contents.
#[test]
fn what_is_told_of_writes_holds_when_leaders_die_with_them() {
    let mut cluster = Cluster::start(3);
    let urls = cluster.endpoints();
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let write = |writer: usize, told: &mut BTreeMap<String, Told>| {
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let key = format!("w{writer}-{number}");
            let body = format!(r#"{{"key":"{key}","value":"x","if":{{"absent":true}}}}"#);
            let url = &urls[(writer + number) % urls.len()];
            let Ok(mut connection) = Connection::open(url) else { continue };
            let sent = connection.send("POST /set?timeout_ms=2000", &[], body.as_bytes());
            let now = match sent.and_then(|()| connection.receive()) {
                Ok(reply) if reply.status == 200 => Told::Applied,
                Ok(reply) => match error_of(&reply).applied {
                    Applied::No => Told::NotApplied,
                    Applied::Unknown => Told::Unknown,
                },
                Err(_) => Told::Unknown,
            };
            acknowledged.fetch_add(u64::from(now == Told::Applied), Ordering::Relaxed);
            told.insert(key, now);
        }
    };
    let mut told: Vec<BTreeMap<String, Told>> = vec![BTreeMap::new(); 6];
    thread::scope(|scope| {
        for (writer, told) in told.iter_mut().enumerate() {
            let write = &write;
            scope.spawn(move || write(writer, told));
        }
        let flow = |writes: u64| {
            let enough = acknowledged.load(Ordering::Relaxed) + writes;
            until("writes are acknowledged", || (acknowledged.load(Ordering::Relaxed) >= enough).then_some(()));
        };
        for _ in 0..5 {
            flow(100);
            let leader = cluster.leader();
            cluster[leader].kill();
            flow(100);
            cluster[leader].start();
        }
        flow(100);
        stop.store(true, Ordering::Relaxed);
    });
    cluster.catch_up();
    let client = cluster.client();
    let mut counts = BTreeMap::new();
    for (key, told) in told.iter().flatten() {
        let version = client.get(key).expect("the cluster serves").map(|reply| reply.version);
        match told {
            Told::Applied => assert_eq!(version, Some(1), "{key} was acknowledged"),
            Told::NotApplied => assert_eq!(version, None, "{key} was said not to be applied"),
            Told::Unknown => assert!(version.is_none_or(|version| version == 1), "{key}: {version:?}"),
        }
        *counts.entry(format!("{told:?}")).or_insert(0) += 1;
    }
    println!("{counts:?}");
}

#[test]
fn a_write_waits_for_the_next_leader_while_it_has_time() {
    let mut cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let url = cluster[follower].url();
    cluster[leader].kill();
    let reply = ask(&url, "POST /set", &[], br#"{"key":"color","value":"blue"}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let other = (0..3).find(|node| ![leader, follower].contains(node)).expect("a third node");
    cluster[other].kill();
    let began = Instant::now();
    let reply = ask(&url, "POST /set?timeout_ms=700", &[], br#"{"key":"color","value":"red"}"#);
    // The first write may have reached this node while it was the leader; its outcome is then open.
    match reply.status {
        503 => assert_eq!(error_of(&reply).applied, Applied::No),
        504 => assert_eq!(error_of(&reply).applied, Applied::Unknown),
        status => panic!("{status} {}", reply.text()),
    }
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    let began = Instant::now();
    let reply = ask(&url, "GET /get?key=color&timeout_ms=700", &[], b"");
    assert!([503, 504].contains(&reply.status), "{}", reply.text());
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
}

#[test]
fn a_follower_that_is_cut_off_says_so_and_changes_nothing() {
    let network = Proxies::new(3);
    let mut cluster = network.prepare();
    cluster.start_all();
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let others = cluster.others(follower);
    let url = cluster[follower].url();
    let write = |key: &str| {
        let body = format!(r#"{{"key":"{key}","value":"x"}}"#);
        ask(&url, "POST /set?timeout_ms=900", &[], body.as_bytes())
    };
    assert_eq!(write("before").status, 200);
    let links: &dyn Network = &network;
    links.cut(&[follower], &others);
    until("the follower knows no leader", || {
        cluster[follower].health().filter(|health| health.leader.is_none()).map(drop)
    });
    let reply = write("meanwhile");
    let error = error_of(&reply);
    assert_eq!((reply.status, error.code, error.applied), (503, ErrorCode::NoLeader, Applied::No));
    links.heal();
    until("it takes writes again", || (write("after").status == 200).then_some(()));
    cluster.catch_up();
    let got = cluster[leader].get("/get?key=meanwhile").expect("it answers");
    assert_eq!(got.status, 404, "it was said not to be applied");
}
