//! Signals that ask a daemon to end, at inconvenient moments.

use crate::harness::{Cluster, Connection, Node, Port, until};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use std::fs;

#[test]
fn a_node_whose_disk_does_not_answer_at_its_start_can_be_stopped() {
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut node = Node::new("node1", Port::any(), dir.path());
        fs::create_dir(node.data_dir()).expect("a directory");
        // Whoever opens a pipe for writing waits for somebody who reads: the start gets no further than the lock.
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
    cluster[0].logged("asked for a second time");
    cluster.start_all();
    cluster.client().set("color", "blue").expect("it serves");
}
