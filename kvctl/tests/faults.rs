//! kvctl against a real cluster that loses its leader or its quorum.

mod support;

use kvclient::Client;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{kvctl, run};
use testkit::{Cluster, DEADLINE, Ended, Program, Signal, send_signal, until, wait_for_end};

/// Runs as a node of these clusters when the test binary is started as one.
#[test]
fn node() {
    testkit::be_a_node();
}

fn start_cluster() -> Cluster {
    Cluster::start_as(&Program::ThisTest("node"), 3)
}

/// Pauses all nodes but the leader, and returns its URL. Until it notices, it takes writes that no node acknowledges.
fn without_followers(cluster: &mut Cluster) -> String {
    let leader = cluster.leader();
    // The leader is found, and its connections are opened, while all nodes run.
    assert_eq!(run(&["--endpoints", &cluster[leader].url(), "set", "color", "blue"]).code, Some(0));
    cluster.others(leader).into_iter().for_each(|number| cluster[number].pause());
    cluster[leader].url()
}

#[test]
fn a_write_without_a_certain_answer_is_exit_code_6() {
    let mut cluster = start_cluster();
    let leader = &without_followers(&mut cluster);
    let ended = run(&["--endpoints", leader, "--timeout", "1s", "set", "color", "red"]);
    assert_eq!(ended.code, Some(6), "{ended:?}");
    assert!(ended.one_error().contains("may have been applied"), "{ended:?}");
}

#[test]
fn an_interrupted_write_is_exit_code_130_and_says_that_it_may_have_been_applied() {
    let mut cluster = start_cluster();
    let leader = &without_followers(&mut cluster);
    let client = Client::connect([leader]).expect("a URL");
    let log = || client.health(leader).ok().map(|health| health.last_log_index);
    let before = log().expect("the leader answers");
    let mut command = kvctl(&["--endpoints", leader, "--timeout", "30s", "set", "color", "red"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
    until("the write is in the log of the leader", || log().filter(|index| *index > before));
    send_signal(&child, Signal::INT);
    let ended = Ended::from(child.wait_with_output().expect("kvctl ends"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.one_error().contains("may have been applied"), "{ended:?}");
}

#[test]
fn status_without_a_quorum_shows_who_is_unreachable_and_is_exit_code_5() {
    let mut cluster = start_cluster();
    let survivor = cluster.leader();
    for other in cluster.others(survivor) {
        cluster[other].kill();
    }
    let ended = run(&["--endpoints", &cluster.endpoints().join(","), "status"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let rows: Vec<_> = ended.stdout.lines().skip(1).collect();
    assert_eq!(rows.len(), 3, "{ended:?}");
    for (number, row) in rows.into_iter().enumerate() {
        assert!(row.contains(&cluster[number].url()), "{row}");
        assert_eq!(row.contains("unreachable"), number != survivor, "{row}");
    }
    assert!(ended.only_error().contains("1 of 3 voters answer and 2 are needed"), "{ended:?}");
}

#[test]
fn a_backup_that_breaks_off_or_is_interrupted_leaves_no_file() {
    let mut cluster = start_cluster();
    let client = Client::connect(cluster.endpoints()).expect("URLs of nodes");
    // More than connections buffer, and more than is read before the test looks.
    (0..96).for_each(|number| drop(client.set(format!("k{number}"), vec![number; 1 << 20]).expect("a majority runs")));
    let dir = tempfile::tempdir().expect("a directory");
    let files = || std::fs::read_dir(dir.path()).expect("a directory").count();
    let file = dir.path().join("kvd.snap");
    let begin = || {
        let mut command = kvctl(&["--endpoints", &cluster.endpoints().join(","), "snapshot", "save"]);
        let child = command.arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
        until("the backup has begun", || (files() == 1).then_some(()));
        child
    };

    let child = begin();
    send_signal(&child, Signal::INT);
    let ended = Ended::from(child.wait_with_output().expect("kvctl ends"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.one_error().contains("kvd.snap was not written"), "{ended:?}");
    assert_eq!(files(), 0);

    let child = begin();
    // It must not have read everything before the nodes are gone.
    send_signal(&child, Signal::STOP);
    (0..3).for_each(|number| cluster[number].kill());
    send_signal(&child, Signal::CONT);
    let ended = Ended::from(child.wait_with_output().expect("kvctl ends"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let error = ended.one_error();
    assert!(error.contains("kvd.snap was not written: the backup from http://") && error.contains("it ended after"));
    assert_eq!(files(), 0);
}

#[test]
fn a_hung_node_keeps_no_command_waiting() {
    let mut cluster = start_cluster();
    let endpoints = cluster.endpoints().join(",");
    let follower = cluster.follower();
    cluster[follower].pause();
    // Each run begins at a random node.
    for arguments in [["set", "color", "red"].as_slice(), &["get", "color"], &["leader"], &["members"], &["status"]] {
        for _ in 0..4 {
            let ended = run(&[&["--endpoints", &endpoints, "--timeout", "3s"], arguments].concat());
            assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        }
    }
}

#[test]
fn watch_leader_prints_a_line_for_each_change() {
    let mut cluster = start_cluster();
    let leader = cluster.leader();
    let mut command = kvctl(&["--endpoints", &cluster.endpoints().join(","), "watch-leader"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("kvctl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
    let mut next = || lines.next().expect("another line").expect("a line");
    let old = format!("node{}", leader + 1);
    let line = next();
    assert!(line.contains(&format!("none -> {old}  {}", cluster[leader].url())), "{line}");

    cluster[leader].kill();
    let mut line = next();
    if line.contains("-> none") {
        assert!(line.contains(&format!("{old} -> none")), "{line}");
        line = next();
    }
    let new = cluster.leader();
    assert!(line.contains(&format!("{old} -> node{}  {}", new + 1, cluster[new].url())), "{line}");
    assert!(line.contains("  after ") && line.ends_with(" without a leader"), "{line}");
    send_signal(&child, Signal::INT);
    assert_eq!(wait_for_end(&mut child), Some(130));
}

#[test]
fn watch_leader_tells_how_long_clients_were_without_a_leader() {
    let mut cluster = start_cluster();
    let leader = cluster.leader();
    let mut command = kvctl(&["--endpoints", &cluster.endpoints().join(","), "watch-leader", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("kvctl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("standard output is a pipe")).lines();
    let mut next = || -> Value {
        serde_json::from_str(&lines.next().expect("another line").expect("a line")).expect("a document")
    };
    assert_eq!(next()["leader"]["id"], *cluster[leader].name);
    let client = Client::builder().endpoints(cluster.endpoints()).total_timeout(DEADLINE).build().expect("URLs");
    client.get("color").expect("it serves");

    // The other nodes name the silent leader until their election timeouts expire, after more than a second.
    cluster[leader].pause();
    let paused = Instant::now();
    client.get("color").expect("a majority runs");
    let felt = paused.elapsed();
    assert!(felt > Duration::from_secs(1), "{felt:?}");
    let change = std::iter::repeat_with(next).find(|change| !change["leader"].is_null()).expect("a new leader");
    let told = Duration::from_millis(change["without_leader_ms"].as_u64().expect("milliseconds"));
    // No two clients wait equally long: each asks again at its own times.
    let close = Duration::from_secs(1)..felt + Duration::from_secs(2);
    assert!(close.contains(&told), "{change}, and a client felt {felt:?}");
    send_signal(&child, Signal::INT);
    assert_eq!(wait_for_end(&mut child), Some(130));
}
