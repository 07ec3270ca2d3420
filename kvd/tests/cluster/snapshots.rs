//! Snapshots: the log goes behind them, nodes start from them, and followers that were away for long are sent one.

use crate::harness::{Cluster, until};
use std::fs;
use std::path::Path;

/// Growth of the log that leads to a snapshot (`--snapshot-log-bytes`).
const SNAPSHOT_LOG_BYTES: usize = 1 << 20;

/// Bytes of each value.
const VALUE_BYTES: usize = 64 << 10;

/// Keys in use, so that what is written over is more than what stays.
const KEYS: usize = 8;

/// Writes that fill several segments of the log, of 16 MiB each.
const WRITES: usize = 5 * (16 << 20) / VALUE_BYTES;

fn start() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--snapshot-log-bytes", SNAPSHOT_LOG_BYTES.to_string());
    }
    cluster.start_all();
    cluster
}

fn value(number: usize) -> Vec<u8> {
    (0..VALUE_BYTES).map(|at| (number + at * 7 + at / 251) as u8).collect()
}

fn write_all(cluster: &Cluster) {
    let client = cluster.client();
    for number in 0..WRITES {
        client.set(&format!("k{}", number % KEYS), value(number)).expect("a majority is there");
    }
}

/// What was written last stands under every key at every node.
fn assert_all_there(cluster: &Cluster) {
    for node in &cluster.nodes {
        for number in WRITES - KEYS..WRITES {
            let target = format!("/get?consistency=stale&raw=true&key=k{}", number % KEYS);
            let reply = node.get(&target).expect("the node answers");
            assert!(reply.status == 200 && reply.body == value(number), "{}: {target}", node.name);
        }
    }
}

fn files(directory: &Path, beginning: &str) -> Vec<String> {
    let names = fs::read_dir(directory).expect("a data directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with(beginning));
    names.sort();
    names
}

#[test]
fn the_log_goes_behind_snapshots_and_nodes_start_from_them() {
    let mut cluster = start();
    write_all(&cluster);
    cluster.catch_up();
    for node in &cluster.nodes {
        node.logged("snapshot of");
        let logs = files(node.data_dir(), "wal-0");
        assert!(logs.len() <= 3, "of more than five segments {logs:?} are left");
        assert!(!logs.contains(&"wal-0000000000000001.log".to_owned()), "{logs:?}");
        let snapshots = || files(node.data_dir(), "snapshot-").len();
        until("older snapshots are gone", || (snapshots() == 1).then_some(()));
    }
    cluster.kill_all();
    cluster.start_all();
    cluster.catch_up();
    assert_all_there(&cluster);
}

#[test]
fn a_follower_that_was_away_for_long_is_sent_a_snapshot_and_then_the_log() {
    let mut cluster = start();
    let follower = cluster.follower();
    cluster[follower].kill();
    write_all(&cluster);
    cluster[follower].start();
    cluster.catch_up();
    cluster[follower].logged("goes on from the snapshot of another node");
    assert_all_there(&cluster);
    // It is a member like all others: with it alone beside the leader there is a majority.
    let other = (0..3).find(|node| *node != follower && *node != cluster.leader()).expect("a third node");
    cluster[other].kill();
    cluster.client().set("after", "x").expect("a majority is there");
}
