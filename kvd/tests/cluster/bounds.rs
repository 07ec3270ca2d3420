//! The bounds on the memory of data: each is reached, on all nodes alike, with nothing lost, and the way out works.

use kvclient::api::{DeleteRequest, ErrorCode, SetRequest};
use kvclient::{Error, Range};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use testkit::{Cluster, DEADLINE, error_of, until};

const VALUE_BYTES: usize = 10_000;

fn key(number: usize) -> String {
    format!("key/{number:05}")
}

#[test]
fn a_full_store_refuses_what_adds_to_it_and_serves_all_else() {
    const STORE_BYTES: &str = "1000000";
    let cluster = Cluster::start_calm_with(3, "--max-store-bytes", STORE_BYTES);
    let client = cluster.client();
    let value = vec![b'v'; VALUE_BYTES];
    let lease = client.grant_lease(DEADLINE).expect("there is room");
    let mut written = 0;
    let full = loop {
        match client.set(key(written), &value) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "the bound is never reached");
    };
    assert!(matches!(full, Error::StoreFull { .. }), "{full:?}");
    let advice = full.to_string();
    assert!(advice.contains("--max-store-bytes") || advice.contains("delete"), "{advice}");
    assert!((80..=110).contains(&written), "{written} values of {VALUE_BYTES} bytes");

    // Whoever leads, the answer is the same.
    client.transfer_leader(None).expect("another takes over");
    // Until it has committed something of its own term, it cannot tell a new request from the repeat of one that it is
    // about to apply, and refuses neither. It answers no read before that.
    client.get(key(0)).expect("it serves");
    let again = client.set(key(written), &value).expect_err("it is still full");
    assert!(matches!(again, Error::StoreFull { .. }), "{again:?}");
    cluster.converge();
    for node in &cluster.nodes {
        assert_eq!(node.health().expect("it answers").keys, written as u64, "{}", node.name);
    }
    // What adds nothing goes on: smaller values, keepalives, deletes.
    client.set(key(0), "small").expect("it gets smaller");
    client.renew_lease(lease.id()).expect("a keepalive adds nothing");
    assert_eq!(client.get(key(1)).expect("reads go on").expect("nothing is lost").value, value);
    assert_eq!(client.delete_range(Range::prefix("key/0001")).expect("a delete frees").deleted, 10);
    client.set(key(written), &value).expect("there is room again");
    lease.revoke().expect("a revoke adds nothing");
    cluster.converge();
}

#[test]
fn a_reader_that_does_not_read_is_let_go_before_it_takes_more_memory_than_it_may() {
    // More than the buffers of a connection hold.
    const KEYS: usize = 200;
    const LARGE: usize = 100_000;
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--reader-bytes", "1000000");
        // So that what is overwritten is kept for the reader alone.
        node.set_flag("--history-bytes", "0");
    }
    cluster.start_all();
    let (client, leader) = (cluster.client(), cluster.leader());
    let write_all = |letter: u8| {
        for number in 0..KEYS {
            let request = SetRequest::new(key(number), vec![letter; LARGE]);
            client.set_with(request).expect("the cluster serves");
        }
    };
    write_all(b'a');
    cluster.catch_up();
    let mut connection = TcpStream::connect(cluster[leader].address()).expect("it listens");
    connection.set_read_timeout(Some(DEADLINE)).expect("a connection");
    let head = "GET /list?prefix=key/ HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n\r\n";
    write!(connection, "{head}").expect("it takes a request");
    let mut lines = BufReader::new(connection);
    let mut line = String::new();
    while !line.contains("key/00000") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("a line") > 0, "the list ended at once");
    }
    let before = cluster[leader].memory_bytes();
    write_all(b'b');
    let grown = cluster[leader].memory_bytes().saturating_sub(before);
    assert!(grown < (KEYS * LARGE / 2) as u64, "{grown} bytes more, for a reader that may take a million");
    // All that it still gets is of the past that it began to read, and then it is told.
    let mut last = String::new();
    until("the list ends", || {
        line.clear();
        let read = lines.read_line(&mut line).unwrap_or(0);
        assert!(!line.contains("bbbb"), "an item of another revision");
        if line.contains("error") {
            last.clone_from(&line);
        }
        (read == 0 || !last.is_empty()).then_some(())
    });
    assert!(last.contains(r#""code":"compacted""#), "{last}");
    // The client goes on by itself with a new list.
    let items = client.list(Range::prefix("key/")).stream().count();
    assert_eq!(items, KEYS);
}

#[test]
fn a_delete_beyond_its_bounds_changes_nothing_and_is_done_in_parts() {
    const KEYS: usize = 18;
    const LARGE: usize = 1 << 20;
    let cluster = Cluster::start_calm(3);
    let client = cluster.client();
    (0..KEYS).for_each(|number| drop(client.set(key(number), vec![b'v'; LARGE]).expect("the cluster serves")));
    let refused = client.delete_range(Range::prefix("key/")).expect_err("it is too much for one revision");
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused:?}");
    assert!(refused.to_string().contains("limit"), "it says what to do: {refused}");
    assert_eq!(client.list(Range::prefix("key/")).count().expect("the cluster serves"), KEYS as u64);
    // All nodes have decided the same.
    cluster.converge();
    let in_parts =
        || client.delete_with(DeleteRequest { limit: Some(10), ..DeleteRequest::new(Range::prefix("key/")) });
    let (first, second) = (in_parts().expect("a part"), in_parts().expect("the rest"));
    assert_eq!((first.deleted, first.more, second.deleted, second.more), (10, true, KEYS as u64 - 10, false));
    cluster.converge();
}

/// A watcher that stops reading, and a history that is full: neither costs the node more than it may.
#[test]
fn a_watcher_that_stops_reading_is_told_what_it_missed_and_costs_nothing() {
    const LARGE: usize = 100_000;
    let cluster = Cluster::start_calm_with(3, "--history-bytes", "1000000");
    let (client, leader) = (cluster.client(), cluster.leader());
    let set = |number: usize| client.set(key(number % 5), vec![b'v'; LARGE]).expect("the cluster serves").revision;
    let first = set(0);
    let mut connection = TcpStream::connect(cluster[leader].address()).expect("it listens");
    connection.set_read_timeout(Some(DEADLINE)).expect("a connection");
    write!(connection, "GET /watch?prefix=key/ HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it takes a request");
    let mut events = BufReader::new(connection).lines().map(|line| line.expect("a line"));
    assert!(events.any(|line| line.starts_with("event: start")));
    let writes = |count: usize| (0..count).fold(first, |_, number| set(number));
    writes(100);
    let before = cluster[leader].memory_bytes();
    let last = writes(300);
    let grown = cluster[leader].memory_bytes().saturating_sub(before);
    assert!(grown < (100 * LARGE) as u64, "{grown} bytes more, after {} were written", 300 * LARGE);

    // What is older than the history has room for is forgotten, on all nodes, and they say so.
    for node in &cluster.nodes {
        for target in [format!("/get?key=key/00000&revision={first}"), format!("/watch?from_revision={first}")] {
            let reply = node.get(&target).expect("it answers");
            assert_eq!((reply.status, error_of(&reply).code), (410, ErrorCode::Compacted), "{}: {target}", node.name);
            assert!(error_of(&reply).oldest_revision > Some(last - 40), "{}: {target}", node.name);
        }
    }
    // The watcher gets what is on its way, in order, and no more after the gap.
    let revisions = events.by_ref().take_while(|line| !line.starts_with("event: compacted"));
    let revisions: Vec<u64> = revisions
        .filter_map(|line| line.strip_prefix("id: ")?.split_once(':')?.1.parse().ok())
        .filter(|revision| *revision > first)
        .collect();
    assert!(revisions.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= pair[0] + 1), "{revisions:?}");
    assert!(revisions.last() < Some(&last), "{revisions:?}");
}
