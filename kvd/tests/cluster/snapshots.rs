//! Snapshots: the log is compacted behind them, nodes start from them, and followers that were away for long are sent
//! one.

use kvclient::Client;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Cluster, Node, SEGMENT, SmallDisk, on_a_network, skip, until};

/// Growth of the log that leads to a snapshot (`--snapshot-log-bytes`).
const SNAPSHOT_LOG_BYTES: usize = 1 << 20;

/// Bytes of each value.
const VALUE_BYTES: usize = 64 << 10;

/// Keys in use, so that more data is overwritten than stays.
const KEYS: usize = 8;

/// Writes that fill several log segments of 16 MiB each.
const WRITES: usize = 5 * (16 << 20) / VALUE_BYTES;

/// Bytes of the values that make a snapshot too large for the buffers of systems and network.
const LARGE_VALUE_BYTES: usize = 1 << 20;

/// Number of such values.
const LARGE_VALUES: usize = 20;

/// Longest time without progress before a transfer ends, as in the nodes.
const STALL_MAX: Duration = Duration::from_secs(5);

/// Additional time that a busy machine may take.
const SLACK: Duration = Duration::from_secs(6);

fn start() -> Cluster {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        node.set_flag("--snapshot-log-bytes", SNAPSHOT_LOG_BYTES.to_string());
        node.set_flag("--election-timeout-ms", "1500..2500");
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
        client.set(format!("k{}", number % KEYS), value(number)).expect("a majority is there");
    }
}

/// Checks that every node has the last written value of every key.
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
    cluster[follower].logged("installed a snapshot from");
    assert_all_there(&cluster);
    // It is a full member: if only it and the leader are running, there is a majority.
    let other = (0..3).find(|node| *node != follower && *node != cluster.leader()).expect("a third node");
    cluster[other].kill();
    cluster.client().set("after", "x").expect("a majority is there");
}

/// Makes the state large enough that its snapshot can be stopped in flight.
fn fill(client: &Client) {
    for number in 0..LARGE_VALUES {
        client.set(format!("large{number}"), vec![number as u8; LARGE_VALUE_BYTES]).expect("a majority is there");
    }
}

/// Kills a follower until the log that it needs is gone, and restarts it; returns its number and the leader's as soon
/// as a snapshot is in flight.
fn send_a_snapshot(cluster: &mut Cluster) -> (usize, usize) {
    let follower = cluster.follower();
    let leader = cluster.leader();
    let has = cluster[follower].health().expect("it answers").last_log_index;
    cluster[follower].kill();
    (0..2).for_each(|_| fill(&cluster.client()));
    let first = || {
        let name = files(cluster[leader].data_dir(), "snapshot-0").pop()?;
        name.split('-').nth(1)?.parse::<u64>().ok()
    };
    until("the leader has a newer snapshot", || first().filter(|index| *index > has));
    // The log stays for a follower that may be back soon, until that follower has been silent for too long.
    let segment = cluster[leader].data_dir().join(SEGMENT);
    until("the log that it needs is gone", || {
        let is_gone = !segment.exists();
        if !is_gone {
            fill(&cluster.client());
        }
        is_gone.then_some(())
    });
    cluster[follower].start();
    cluster[follower].logged("receiving a snapshot from");
    (follower, leader)
}

/// Returns the bytes of log in a node's directory.
fn log_bytes(node: &Node) -> u64 {
    let size = |name: &String| fs::metadata(node.data_dir().join(name)).map_or(0, |file| file.len());
    files(node.data_dir(), "wal-0").iter().map(size).sum()
}

/// Returns how often the leader has given up sending a snapshot.
fn given_up(leader: &Node) -> usize {
    leader.log().matches("sending a snapshot to").count()
}

#[test]
fn a_receiver_that_is_paused_in_mid_snapshot_fills_no_disk_and_gets_another_when_it_goes_on() {
    let mut cluster = start();
    let (follower, leader) = send_a_snapshot(&mut cluster);
    cluster[follower].pause();
    let (began, given_up_before) = (Instant::now(), given_up(&cluster[leader]));
    let is_given_up = |cluster: &Cluster| given_up(&cluster[leader]) > given_up_before;
    // Until the next snapshot has been written, the log keeps four times the growth that triggers one, which is the
    // size of the state, and the rest of a segment or two.
    let state = (LARGE_VALUES * LARGE_VALUE_BYTES) as u64;
    let kept_max = 5 * state + 3 * (16 << 20);
    let client = cluster.client();
    let mut written = 0;
    let mut longest = 0;
    while written < 3 * state || !is_given_up(&cluster) {
        client.set(format!("k{}", written % 7), vec![7; 4 * VALUE_BYTES]).expect("a majority is there");
        written += 4 * VALUE_BYTES as u64;
        longest = longest.max(log_bytes(&cluster[leader]));
        assert!(longest <= kept_max, "{longest} bytes of log after {written} were written");
        if !is_given_up(&cluster) {
            assert!(began.elapsed() < STALL_MAX + SLACK, "nothing moves, and it is sent all the same");
        }
    }
    let before = cluster[follower].log().matches("receiving a snapshot from").count();
    cluster[follower].resume();
    cluster.catch_up();
    assert!(cluster[follower].log().matches("receiving a snapshot from").count() > before);
    cluster[follower].logged("installed a snapshot from");
}

/// As above, for a minute, under load, and with so little room that a log kept for the receiver would end the leader.
#[test]
#[ignore = "takes a minute and a half, and room in memory for two disks"]
fn a_receiver_that_is_paused_for_a_minute_fills_no_small_disk() {
    let mut cluster = Cluster::prepare(3);
    let receiver = 2;
    let mut disks = Vec::new();
    for node in [0, 1] {
        match SmallDisk::mount(cluster[node].data_dir(), 220) {
            Ok(disk) => disks.push(disk),
            Err(why) => return skip(&format!("it may not mount a disk: {why}")),
        }
        cluster[node].run_through(&disks[node].enter());
    }
    cluster.nodes.iter_mut().for_each(|node| node.set_flag("--snapshot-log-bytes", "4000000"));
    cluster.start_all();
    cluster.catch_up();
    cluster[receiver].kill();
    let client = cluster.client();
    (0..8).for_each(|_| fill(&client));
    cluster[receiver].start();
    cluster[receiver].logged("receiving a snapshot from");
    cluster[receiver].pause();
    let (began, mut written) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(60) || written <= 220 << 20 {
        client.set(format!("k{}", written % 7), vec![7; 4 * VALUE_BYTES]).expect("both others serve all the time");
        written += 4 * VALUE_BYTES;
    }
    println!("{} MB were written meanwhile", written / 1_000_000);
    cluster[receiver].resume();
    cluster.catch_up();
    assert!(disks.len() == 2 && cluster.running().count() == 3);
}

#[test]
fn a_follower_that_would_be_sent_a_damaged_snapshot_is_sent_a_new_one() {
    let mut cluster = start();
    let follower = cluster.follower();
    let leader = cluster.leader();
    cluster[follower].kill();
    write_all(&cluster);
    // So little is logged after it that none is being written that would take its place.
    let last = cluster[leader].health().expect("it answers").last_log_index;
    let path = until("there is a snapshot of nearly everything", || {
        let name = files(cluster[leader].data_dir(), "snapshot-0").pop()?;
        let index: u64 = name.strip_suffix(".snap")?.split('-').nth(1)?.parse().ok()?;
        (index + (SNAPSHOT_LOG_BYTES / VALUE_BYTES) as u64 > last).then(|| cluster[leader].data_dir().join(name))
    });
    let mut bytes = fs::read(&path).expect("a snapshot");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, &bytes).expect("a snapshot can be written");

    cluster[follower].start();
    cluster.catch_up();
    cluster[follower].logged("installed a snapshot from");
    let line = cluster[leader].logged("a snapshot can no longer be read");
    assert!(line.contains(" ERROR ") && line.contains(" is damaged at byte "), "{line}");
    cluster[leader].logged("has replaced the unreadable one");
    assert_eq!(cluster[leader].health().expect("it answers").snapshots_damaged, 1);
    cluster.kill_all();
    cluster.start_all();
    cluster.catch_up();
    assert_all_there(&cluster);
    assert_eq!(cluster[leader].health().expect("it answers").snapshots_damaged, 0, "the damaged one is gone");
}

/// The link is mended long after both ends have noticed.
#[test]
fn a_link_that_breaks_in_mid_snapshot_costs_one_stall() {
    on_a_network(3, |network| {
        let mut cluster = network.prepare();
        for node in &mut cluster.nodes {
            node.set_flag("--snapshot-log-bytes", SNAPSHOT_LOG_BYTES.to_string());
            node.set_flag("--election-timeout-ms", "1500..2500");
        }
        cluster.start_all();
        let (follower, leader) = send_a_snapshot(&mut cluster);
        network.cut(&[leader], &[follower]);
        let (cut, given_up_before) = (Instant::now(), given_up(&cluster[leader]));
        until("the leader gives it up", || (given_up(&cluster[leader]) > given_up_before).then_some(()));
        cluster[follower].logged("receiving the snapshot from");
        assert!(cut.elapsed() < STALL_MAX + SLACK, "{:?}", cut.elapsed());
        assert!(!cluster[follower].log().contains("installed a snapshot from"), "it was cut off in mid-snapshot");
        // Long enough for the pause before a connection's next attempt to exceed the time that all this may take.
        thread::sleep(2 * STALL_MAX);
        network.heal();
        let healed = Instant::now();
        cluster[follower].logged("installed a snapshot from");
        assert!(healed.elapsed() < STALL_MAX + SLACK, "{:?}", healed.elapsed());
        cluster.catch_up();
    });
}
