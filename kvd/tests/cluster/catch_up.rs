//! A node that missed many writes catches up by itself, at little cost to the other nodes.

use kvclient::{Client, Condition};
use std::time::Duration;
use testkit::{Cluster, SEGMENT, change_segment};

/// Bytes of each value.
const VALUE_BYTES: usize = 256 << 10;

/// Number of writes that no leader keeps in memory: at least twice the size of its cache of recent entries.
fn writes() -> usize {
    2 * kvd::raft::Settings::default().cache_bytes_max / VALUE_BYTES
}

fn value(number: usize) -> Vec<u8> {
    // Not all zeros, not all the same, and no text.
    (0..VALUE_BYTES).map(|at| (number + at * 7 + at / 251) as u8).collect()
}

fn write_all(client: &Client, key: impl Fn(usize) -> String) {
    for number in 0..writes() {
        client.set(key(number), value(number)).expect("a majority is there");
    }
}

#[test]
fn a_follower_that_missed_more_than_the_leader_has_in_memory_gets_it_from_the_leaders_disk() {
    let mut cluster = Cluster::start(3);
    let (client, follower) = (cluster.client(), cluster.follower());
    cluster[follower].kill();
    write_all(&client, |number| format!("large/{number}"));
    // There are no more writes: the node must catch up without a further write that shows what it lacks.
    cluster[follower].start();
    cluster.catch_up();
    for number in 0..writes() {
        let target = format!("/get?consistency=stale&raw=true&key=large/{number}");
        let reply = cluster[follower].get(&target).expect("the node answers");
        assert_eq!(reply.status, 200, "{target}");
        assert!(reply.body == value(number), "{target} has another value");
    }
}

#[test]
fn a_follower_that_lacks_what_the_leaders_disk_has_lost_is_sent_a_snapshot_and_the_leader_lives() {
    let mut cluster = Cluster::start(3);
    let (client, follower, leader) = (cluster.client(), cluster.follower(), cluster.leader());
    cluster[follower].kill();
    write_all(&client, |number| format!("large/{number}"));
    let term = cluster[leader].health().expect("it answers").term;
    let segment = cluster[leader].data_dir().join(SEGMENT);
    change_segment(&segment, 3 * VALUE_BYTES, 1, |byte| byte ^ 0x04);

    cluster[follower].start();
    cluster.catch_up();
    cluster[follower].logged("installed a snapshot from");
    let line = cluster[leader].logged("the log can no longer be read");
    assert!(line.contains(" ERROR ") && line.contains(&format!("{SEGMENT} is damaged at byte ")), "{line}");
    let health = cluster[leader].health().expect("it answers");
    assert_eq!((health.term, health.log_damaged, health.snapshots_damaged), (term, 1, 0));
    // Only with the next write does the log record that all of it is committed.
    client.set("color", "blue").expect("a majority is there");
    cluster[leader].logged("a snapshot has replaced the unreadable part of the log");
    assert!(!segment.exists());
    cluster.kill_all();
    cluster.start_all();
    cluster.catch_up();
    assert_eq!(cluster[leader].health().expect("it answers").log_damaged, 0);
}

#[test]
fn the_largest_entry_there_can_be_reaches_every_node() {
    const LARGEST: usize = 8 << 20;
    // That a disk may take, three times over.
    const PATIENCE: Duration = Duration::from_secs(60);
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--max-value-bytes", LARGEST.to_string());
        node.set_flag("--election-timeout-ms", "1500..2500");
    }
    cluster.start_all();
    let client = Client::builder().endpoints(cluster.endpoints()).attempt_timeout(PATIENCE).total_timeout(PATIENCE);
    let client = client.build().expect("these are URLs");
    let [before, after] = ["a", "b"].map(|letter| letter.repeat(LARGEST));
    let key = "k".repeat(4096);
    client.set(&key, &before).expect("a majority is there");
    client.set_if(&key, &after, Condition::Value(before.into_bytes())).expect("a majority is there");
    cluster.catch_up();
    let target = format!("/get?consistency=stale&raw=true&key={key}");
    for node in &cluster.nodes {
        assert!(node.get(&target).expect("the node answers").body == after.as_bytes(), "{}", node.name);
    }
}

#[test]
fn a_follower_that_stands_still_does_not_fill_the_leaders_memory() {
    // Without a history, only the log can grow.
    let mut cluster = Cluster::start_with(3, "--history-bytes", "0");
    let (client, follower) = (cluster.client(), cluster.follower());
    // A single key, so that the store does not grow.
    write_all(&client, |_| "large".into());
    let leader = cluster.leader();
    let before = cluster[leader].memory_bytes();
    cluster[follower].pause();
    for _ in 0..3 {
        write_all(&client, |_| "large".into());
    }
    let after = cluster[leader].memory_bytes();
    let missed = (3 * writes() * VALUE_BYTES) as u64;
    assert!(after < before + missed / 3, "{before} bytes of memory grew to {after} while {missed} were written");
    cluster[follower].resume();
    cluster.catch_up();
}
