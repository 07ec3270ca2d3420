//! Logs of a node: few lines while all is well, each with node, term and role, and never a value.

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use testkit::{Cluster, Connection, Load, Node, Signal};

#[test]
fn a_healthy_cluster_is_silent_under_load() {
    let cluster = Cluster::start_calm(3);
    let client = cluster.client();
    client.set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    let before: Vec<String> = cluster.nodes.iter().map(Node::log).collect();
    let load = Load::start(&client, 8);
    for _ in 0..20 {
        load.flow(50);
        client.get("color").expect("the cluster serves");
    }
    assert_eq!(load.stop().failed(), 0);
    cluster.catch_up();
    for (node, before) in cluster.nodes.iter().zip(before) {
        assert_eq!(node.log(), before);
    }
}

#[test]
fn every_line_begins_with_time_level_node_term_and_role() {
    let mut cluster = Cluster::start_calm(3);
    let leader = cluster.leader();
    cluster[leader].kill();
    let new_leader = cluster.leader();
    cluster[leader].start();
    cluster.catch_up();
    let term = cluster[new_leader].health().expect("it answers").term;
    cluster[new_leader].logged(&format!("[{}][term {term}][leader] leads", cluster[new_leader].name));
    for node in &mut cluster.nodes {
        assert_eq!(node.terminate(), Some(0));
        let log = node.log();
        assert!(log.lines().count() >= 3, "{log}");
        for line in log.lines() {
            assert!(is_well_formed(line, &node.name), "{line}");
        }
    }
}

#[test]
fn a_member_out_of_reach_is_told_once_with_the_reason_and_again_when_it_is_back() {
    let mut cluster = Cluster::start_calm(3);
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let (name, url) = (cluster[follower].name.clone(), cluster[follower].url());
    cluster[follower].kill();
    let warning = format!("cannot reach {name} at {url}: connection refused");
    assert!(cluster[leader].logged(&warning).contains(&format!(" WARN [{}]", cluster[leader].name)));
    cluster[follower].start();
    cluster[leader].logged(&format!("connected to {name} again"));
    assert_eq!(cluster[leader].log().matches("cannot reach").count(), 1);
}

#[test]
fn nobody_waits_for_whoever_reads_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let pipe = dir.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let open = || File::options().read(true).write(true).custom_flags(O_NONBLOCK).open(&pipe).expect("both its ends");

    // A reader that hangs: not a single line gets through.
    let mut reader = open();
    while reader.write(&[b'.'; 4_096]).is_ok() {}
    serves_while_its_log_goes_to(&pipe);
    drop(reader);

    // A reader that is gone, and a disk that is full.
    let mut reader = Some(open());
    serves_while(&pipe, || drop(reader.take()));
    serves_while_its_log_goes_to(Path::new("/dev/full"));
}

fn serves_while_its_log_goes_to(path: &Path) {
    serves_while(path, || {});
}

/// Starts a node whose log goes to this file, and checks that it serves after `then`.
fn serves_while(path: &Path, then: impl FnOnce()) {
    let mut cluster = Cluster::prepare(1);
    let redirect = format!("exec \"$0\" \"$@\" 2> '{}'", path.display());
    cluster[0].run_through(&["sh", "-c", &redirect]);
    cluster[0].add_env("RUST_LOG", "trace");
    cluster.start_all();
    cluster.leader();
    then();
    let load = Load::start(&cluster.client(), 8);
    load.flow(500);
    assert_eq!(load.stop().failed(), 0, "{}", path.display());
    assert_eq!(cluster[0].terminate(), Some(0), "{}", path.display());
}

/// See open(2).
const O_NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;

/// Returns whether a line looks like `2026-01-31T12:00:00.000000Z  INFO [node1][term 5][leader] leads term 5`.
fn is_well_formed(line: &str, name: &str) -> bool {
    let parse = || {
        let (time, rest) = line.split_once(' ')?;
        let (level, rest) = rest.trim_start().split_once(' ')?;
        let (term, rest) = rest.strip_prefix(&format!("[{name}][term "))?.split_once("][")?;
        let (role, message) = rest.split_once("] ")?;
        let roles = ["starting", "forming", "learner", "follower", "candidate", "leader"];
        let good = time.ends_with('Z')
            && ["ERROR", "WARN", "INFO"].contains(&level)
            && term.parse::<u64>().is_ok()
            && roles.contains(&role)
            && !message.is_empty();
        Some(good)
    };
    parse() == Some(true)
}

#[test]
fn for_machines_a_line_is_a_json_object_with_the_same_fields() {
    let cluster = Cluster::start_with(3, "--log-format", "json");
    let leader = &cluster[cluster.leader()];
    let term = leader.health().expect("it answers").term;
    leader.logged("leads term");
    for node in &cluster.nodes {
        for line in node.log().lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"));
            assert_eq!(line["node"], *node.name, "{line}");
            assert!(line["term"].is_u64() && line["role"].is_string(), "{line}");
            for field in ["timestamp", "level", "message"] {
                assert!(line[field].is_string(), "{field}: {line}");
            }
        }
    }
    let leads: Value = serde_json::from_str(&leader.logged("leads term")).expect("JSON");
    assert_eq!((&leads["term"], &leads["role"]), (&Value::from(term), &Value::from("leader")));
}

/// A value that nothing else looks like.
const SECRET: &str = "swordfish-and-nothing-else";

#[test]
fn no_value_is_ever_logged_at_any_level() {
    let mut cluster = Cluster::prepare(3);
    cluster.nodes.iter_mut().for_each(|node| node.add_env("RUST_LOG", "trace"));
    cluster.start_all();
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let send = |node: usize, what: &str, header: &str, body: &str| {
        let mut connection = Connection::open(&cluster[node].url()).expect("it listens");
        connection.send(what, &[header], body.as_bytes()).expect("a request is sent");
        connection.receive().expect("it answers").status
    };
    let base64 = "c3dvcmRmaXNoLWFuZC1ub3RoaW5nLWVsc2U=";
    let plain = "content-type: application/json";
    for (what, header, body, expected) in [
        ("POST /set", plain, format!(r#"{{"key":"a","value":"{SECRET}"}}"#), 200),
        ("POST /set", plain, format!(r#"{{"key":"a","value_base64":"{base64}","prev":true}}"#), 200),
        ("POST /set?key=b", "content-type: application/octet-stream", SECRET.to_owned(), 200),
        ("POST /set", plain, format!(r#"{{"key":"a","value":"x","if":{{"value":"{SECRET}"}}}}"#), 200),
        ("POST /set", plain, format!(r#"{{"key":"a","value":"x","if":{{"value":"{SECRET}"}}}}"#), 412),
        ("POST /set", plain, format!(r#"{{"key":"a","value":"{SECRET}","request":{{"client":"c","seq":2}}}}"#), 200),
        ("POST /set", plain, format!(r#"{{"key":"a","value":"{SECRET}","request":{{"client":"c","seq":1}}}}"#), 409),
        ("POST /set", plain, format!(r#"{{"key":"a","value":"{SECRET}","nonsense":1}}"#), 400),
        ("POST /set", plain, format!(r#"{{"key":"a","value":"{SECRET}"#), 400),
        ("POST /set", "origin: http://evil.example", format!(r#"{{"key":"a","value":"{SECRET}"}}"#), 403),
        ("POST /delete", plain, r#"{"key":"b","prev":true}"#.to_owned(), 200),
        ("GET /get?key=a", plain, String::new(), 200),
        ("GET /get?key=a&raw=true", plain, String::new(), 200),
    ] {
        assert_eq!(send(leader, what, header, &body), expected, "{what} {body}");
        send(follower, what, header, &body);
    }
    // The entries are also read back from the log, at a start and for a follower that lacks them.
    cluster[follower].kill();
    cluster.client().set("c", SECRET).expect("a majority is there");
    cluster[follower].start();
    cluster.catch_up();
    let bytes = format!("{:?}", SECRET.as_bytes());
    for node in &cluster.nodes {
        let log = node.log();
        assert!(log.contains(" TRACE ") || log.contains(" DEBUG "), "{}: the filter took effect", node.name);
        for form in [SECRET, base64, bytes.trim_matches(['[', ']'])] {
            let line = log.lines().find(|line| line.contains(form));
            assert_eq!(line, None, "{}", node.name);
        }
    }
}

#[test]
fn a_node_says_at_its_start_what_it_begins_with_and_at_its_end_why_it_stops() {
    let mut cluster = Cluster::start(1);
    let client = cluster.client();
    client.set("color", "blue").expect("it serves");
    let id = client.cluster_id().expect("it has answered").to_owned();
    let dir = cluster[0].data_dir().display().to_string();
    let line = cluster[0].logged("starting kvd ");
    assert!(line.ends_with(&format!("starting kvd {} with its data in {dir}", env!("CARGO_PKG_VERSION"))), "{line}");
    cluster[0].logged("no data; not part of a cluster yet");
    let (address, url) = (cluster[0].address().to_owned(), cluster[0].url());
    cluster[0].logged(&format!("listening on {address}, clients connect to {url}"));
    assert_eq!(cluster[0].terminate(), Some(0));
    // Work that was in progress at the stop is logged too, between the two.
    let log = cluster[0].log();
    let line = |ending: &str| log.lines().position(|line| line.ends_with(ending));
    let (told, stopped) = (line("stopping on SIGTERM"), line("stopped; the log is closed"));
    assert!(told.is_some() && told < stopped, "{log}");
    assert_eq!(stopped, Some(log.lines().count() - 1), "{log}");

    cluster[0].start();
    let line = cluster[0].logged("found data of cluster ");
    assert!(line.contains(&format!("found data of cluster {id}: no snapshot, log up to entry ")), "{line}");
    assert!(line.contains("; committed: ") && line.contains(" at revision "), "{line}");
    cluster[0].signal(Signal::INT);
    assert_eq!(cluster[0].end(), Some(0));
    cluster[0].logged("stopping on SIGINT");
}
