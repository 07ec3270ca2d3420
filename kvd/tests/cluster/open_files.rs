//! A low limit on a node's open files, and many clients: the node itself always has the files that it needs. If the
//! limit prevents the use of the disk, the node waits, and does not treat the disk as failed.

use std::io::Write as _;
use std::net::TcpStream;
use testkit::{Cluster, Connection, Node, Port};

/// Connections of clients that send one request, and stay open.
const IDLE: usize = 150;

/// Enough to fill a log segment, and to trigger snapshots.
const WRITES: usize = 20;

const VALUE_BYTES: usize = 1 << 20;

/// Starts a node with this limit on open files.
fn limited(node: &mut Node, open_files: u32) {
    node.run_through(&["sh", "-c", &format!("ulimit -n {open_files}; exec \"$@\""), "sh"]);
}

fn write(connection: &mut Connection, number: usize) {
    let value = vec![b'v'; VALUE_BYTES];
    let what = format!("POST /set?key=k{}", number % 4);
    connection.send(&what, &["content-type: application/octet-stream"], &value).expect("it is sent");
    let reply = connection.receive().expect("it is answered");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn idle_clients_take_nothing_that_log_snapshots_and_peers_need() {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        limited(node, 128);
        node.set_flag("--snapshot-log-bytes", "65536");
        node.set_flag("--election-timeout-ms", "1500..2500");
    }
    cluster.start_all();
    let leader = cluster.leader();
    let mut writer = Connection::open(&cluster[leader].url()).expect("it listens");
    write(&mut writer, 0);
    let mut idle = Vec::new();
    for node in &cluster.nodes {
        node.logged("accepting up to 40 client connections, 30 of them with streams and waits, of 128 open files");
        for _ in 0..IDLE {
            let mut connection = TcpStream::connect(node.address()).expect("it listens");
            // Excess connections may be closed before they have sent a request.
            let _ = connection.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
            idle.push(connection);
        }
    }
    for node in &cluster.nodes {
        node.logged("too many connections; refusing further clients");
    }
    (0..WRITES).for_each(|number| write(&mut writer, number));
    for node in &mut cluster.nodes {
        node.logged("snapshot of");
        assert_eq!(node.has_ended(), None, "{}", node.name);
        assert!(!node.log().contains("Too many open files"), "{}", node.name);
    }
    drop(idle);
    cluster.catch_up();
    assert_eq!(cluster[leader].get("/snapshot").expect("it answers").status, 200);
}

#[test]
fn a_disk_that_cannot_be_used_for_want_of_files_is_waited_for() {
    let mut cluster = Cluster::prepare(1);
    cluster[0].set_flag("--snapshot-log-bytes", "65536");
    cluster.start_all();
    cluster.leader();
    let mut writer = Connection::open(&cluster[0].url()).expect("it listens");
    write(&mut writer, 0);
    cluster[0].logged("snapshot of");
    let taken = |node: &Node| node.log().matches("snapshot of").count();
    // Nothing more can be opened from now on.
    cluster[0].limit_open_files(3);
    let before = taken(&cluster[0]);
    (0..4).for_each(|number| write(&mut writer, number));
    let line = cluster[0].logged("at the moment");
    assert!(line.contains("Too many open files") && line.contains("This is not a disk failure"), "{line}");
    write(&mut writer, 4);
    assert_eq!(cluster[0].has_ended(), None);
    cluster[0].limit_open_files(1024);
    testkit::until("another snapshot", || (taken(&cluster[0]) > before).then_some(()));
    assert_eq!(cluster[0].terminate(), Some(0));
}

#[test]
fn a_limit_that_leaves_nothing_for_clients_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("node1", Port::any(), dir.path());
    limited(&mut node, 64);
    node.start();
    assert_eq!(node.end(), Some(2));
    let line = node.logged("error: ");
    assert!(line.contains("the limit on open files is 64") && line.contains("LimitNOFILE="), "{line}");
}
