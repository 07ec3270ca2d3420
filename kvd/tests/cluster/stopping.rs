//! Signals that stop a daemon, at inconvenient moments.

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use std::fs;
use testkit::{Cluster, Connection, Load, Node, Port, until};

const WRITERS: usize = 8;

/// Writes that must be acknowledged between two steps, so that each step meets a working cluster.
const WRITES_BETWEEN: u64 = 100;

#[test]
fn a_node_whose_disk_does_not_answer_at_its_start_can_be_stopped() {
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut node = Node::new("node1", Port::any(), dir.path());
        fs::create_dir(node.data_dir()).expect("a directory");
        // Opening a pipe for writing blocks until a reader opens it: the start gets no further than the lock.
        mkfifoat(CWD, node.data_dir().join("lock"), Mode::RUSR | Mode::WUSR).expect("a pipe");
        node.start();
        let _waiting = until("it listens", || Connection::open(&node.url()).ok());
        node.signal(signal);
        assert_eq!(node.end(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_a_node_that_waits_for_a_request_to_finish() {
    let mut cluster = Cluster::start(1);
    let mut unfinished = Connection::open(&cluster[0].url()).expect("it listens");
    // The server asks for the body, so it has taken the request.
    unfinished.send_head("POST /set", &["content-length: 100", "expect: 100-continue"]).expect("it is sent");
    assert_eq!(unfinished.receive().expect("it answers").status, 100);
    cluster[0].signal(Signal::TERM);
    until("it accepts no more", || Connection::open(&cluster[0].url()).err());
    cluster[0].signal(Signal::TERM);
    assert_eq!(cluster[0].end(), Some(130));
    cluster[0].logged("on the second signal");
    cluster.start_all();
    cluster.client().set("color", "blue").expect("it serves");
}

#[test]
fn a_leader_that_is_told_to_stop_transfers_leadership_first_and_no_request_fails() {
    let mut cluster = Cluster::start_calm(3);
    let load = Load::start(&cluster.client(), WRITERS);
    load.flow(WRITES_BETWEEN);
    let old = cluster.leader();
    let term = cluster[old].health().expect("it answers").term;
    let logged: Vec<usize> = cluster.nodes.iter().map(|node| node.log().len()).collect();

    assert_eq!(cluster[old].terminate(), Some(0));
    let line = cluster[old].logged("before stopping");
    let new = cluster.leader();
    assert!(line.contains(&format!("transferring leadership to {} before stopping", cluster[new].name)), "{line}");
    assert_eq!(cluster[new].health().expect("it answers").term, term + 1, "one election");
    let log = cluster[new].log();
    let since = &log[logged[new]..];
    assert!(since.contains("leads term"), "{since}");
    assert!(!since.contains("starting pre-vote"), "its election timeout ran out: {since}");

    load.flow(WRITES_BETWEEN);
    cluster[old].start();
    load.flow(WRITES_BETWEEN);
    let ledger = load.stop();
    cluster.catch_up();
    assert_eq!(ledger.failed(), 0, "the client retries what is refused meanwhile");
    ledger.check(&cluster.nodes);
}

#[test]
fn all_nodes_are_restarted_one_by_one_under_load_and_no_request_fails() {
    let mut cluster = Cluster::start_calm(3);
    let load = Load::start(&cluster.client(), WRITERS);
    let term = cluster[cluster.leader()].health().expect("it answers").term;
    let first = cluster.leader();
    let mut led = 0;
    // The leader first.
    for number in [first, (first + 1) % 3, (first + 2) % 3] {
        load.flow(WRITES_BETWEEN);
        led += u64::from(cluster.leader() == number);
        assert_eq!(cluster[number].terminate(), Some(0));
        load.flow(WRITES_BETWEEN);
        cluster[number].start();
        cluster.catch_up();
    }
    load.flow(WRITES_BETWEEN);
    let ledger = load.stop();
    cluster.catch_up();
    assert_eq!(ledger.failed(), 0, "the client retries what is refused meanwhile");
    ledger.check(&cluster.nodes);
    let after = cluster[cluster.leader()].health().expect("it answers").term;
    assert_eq!(after, term + led, "one election for each leader that was stopped");
}

#[test]
fn a_leader_that_hears_no_other_voter_stops_at_once() {
    let mut cluster = Cluster::start(1);
    assert_eq!(cluster[0].terminate(), Some(0));
    assert!(!cluster[0].log().contains("transferring leadership"), "{}", cluster[0].log());
}

#[test]
fn a_leader_stops_although_nobody_takes_over() {
    let mut cluster = Cluster::start_calm(3);
    let leader = cluster.leader();
    for follower in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster[follower].pause();
    }
    assert_eq!(cluster[leader].terminate(), Some(0));
    cluster[leader].logged("before stopping");
}
