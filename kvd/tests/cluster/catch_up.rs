//! A node that was away for many writes catches up by itself, and costs the others little meanwhile.

use crate::harness::Cluster;
use kvclient::{Client, Condition};

/// Bytes of each value.
const VALUE_BYTES: usize = 256 << 10;

/// Writes that no leader keeps in memory: at least twice what its cache of recent entries takes.
fn writes() -> usize {
    2 * kvd::raft::Settings::default().cache_bytes_max / VALUE_BYTES
}

fn value(number: usize) -> Vec<u8> {
    // Not all zeros, not all the same, and no text.
    (0..VALUE_BYTES).map(|at| (number + at * 7 + at / 251) as u8).collect()
}

fn write_all(client: &Client, key: impl Fn(usize) -> String) {
    for number in 0..writes() {
        client.set(&key(number), value(number)).expect("a majority is there");
    }
}

#[test]
fn a_follower_that_missed_more_than_the_leader_has_in_memory_gets_it_from_the_leaders_disk() {
    let mut cluster = Cluster::start(3);
    let (client, follower) = (cluster.client(), cluster.follower());
    cluster[follower].kill();
    write_all(&client, |number| format!("large/{number}"));
    // Nobody writes any more: it must catch up without a further write to tell it what it lacks.
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
fn the_largest_entry_there_can_be_reaches_every_node() {
    const LARGEST: usize = 8 << 20;
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--max-value-bytes", LARGEST.to_string());
        node.set_flag("--election-timeout-ms", "1500..2500");
    }
    cluster.start_all();
    let client = cluster.client();
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
    let mut cluster = Cluster::start(3);
    let (client, follower) = (cluster.client(), cluster.follower());
    // One key throughout, so that what grows is not the store.
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
