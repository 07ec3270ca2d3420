//! A node whose data differs from the other nodes' data is detected, stops serving, and no longer counts.

use kvclient::api::{Applied, Divergence, ErrorCode};
use kvclient::{Client, NodeState};
use kvd::kv::{Command, Operation};
use kvd::raft::{Payload, Record};
use kvd::storage::{Disk, Identity, RealDisk, Wal, WalOptions};
use std::fs;
use std::sync::Arc;
use testkit::{Cluster, Node, error_of, until};

/// Changes the value of `key` in the log of a stopped node, and corrects the log's checksums: defects, and faulty
/// memory and disks, have the same effect.
fn plant_difference(node: &Node, key: &str) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(node.data_dir()).expect("its directory"));
    let identity = Identity::load(&*disk).expect("its identity").expect("it has one");
    let mut records = Vec::new();
    let opened = Wal::open(Arc::clone(&disk), WalOptions::new(1), identity.node_id, &mut |record| records.push(record));
    drop(opened.expect("its log"));
    let mut changed = 0;
    for record in &mut records {
        let Record::Entry(entry) = record else { continue };
        let Payload::Command(bytes) = &mut entry.payload else { continue };
        let mut command = Command::decode(bytes).expect("a command");
        if let Operation::Set { put, .. } = &mut command.operation
            && put.key == key.as_bytes()
        {
            put.value = "another".into();
            *bytes = command.encode();
            changed += 1;
        }
    }
    assert_eq!(changed, 1, "{key} was written once");
    for name in disk.list().expect("a directory").iter().filter(|name| name.starts_with("wal-")) {
        disk.remove(name).expect("a file");
    }
    let opened = Wal::open(disk, WalOptions::new(2), identity.node_id, &mut |_| {});
    let (mut wal, _) = opened.expect("an empty log");
    for some in records.chunks(50) {
        let _ = wal.append(some).expect("a disk that works");
    }
}

/// Waits until a node reports in every way it has that it has diverged.
#[track_caller]
fn until_halted(node: &Node) -> Divergence {
    let health = until(&format!("{} has diverged", node.name), || {
        node.health().filter(|health| health.state == NodeState::Diverged)
    });
    node.logged("this node's data differs from that of the other nodes");
    assert!(health.leader.is_none(), "{health:?}");
    let set = || node.post("/set", r#"{"key":"color","value":"red"}"#);
    let (stale, fresh) = ("/get?key=color&consistency=stale", "/get?key=color");
    for reply in [node.get("/readyz"), node.get(stale), node.get(fresh), node.get("/snapshot?consistency=stale"), set()]
    {
        let reply = reply.expect("it answers");
        let error = error_of(&reply);
        assert_eq!((reply.status, error.code, error.applied), (503, ErrorCode::Diverged, Applied::No), "{error:?}");
    }
    assert_eq!(node.get("/livez").expect("it answers").status, 200);
    health.diverged.expect("it says where")
}

#[test]
fn a_follower_that_differs_stops_serving_and_counts_no_more() {
    let mut cluster = Cluster::start_calm(3);
    let client = cluster.client();
    for number in 0..200 {
        client.set(format!("key{number}"), "value").expect("a majority is there");
    }
    let last = cluster.catch_up();
    let (leader, strays) = (cluster.leader(), cluster.follower());
    let other = (0..3).find(|node| ![leader, strays].contains(node)).expect("a third node");
    cluster[strays].kill();
    plant_difference(&cluster[strays], "key100");
    cluster[strays].start();
    let divergence = until_halted(&cluster[strays]);
    assert!((100..=last).contains(&divergence.index), "{divergence:?} in a log of {last} entries");
    assert!(divergence.majority.is_some_and(|majority| majority != divergence.hash));
    for node in [leader, other] {
        cluster[node].logged(&format!("{} and this node have different data", cluster[strays].name));
        assert_eq!(cluster[node].health().expect("it answers").diverged, None);
    }

    // The other nodes continue; if one of them stops as well, there is no majority.
    client.set("color", "blue").expect("two of three are a majority");
    assert_eq!(cluster.leader_of(&[leader, other]), leader, "nobody was deposed");
    cluster[other].kill();
    until("the last one leads no more", || cluster[leader].health().filter(|health| health.leader.is_none()));
    cluster[other].start();

    // It does not start again from that data; without the data it rejoins by itself.
    assert_eq!(cluster[strays].terminate(), Some(0));
    let ended = testkit::run(&mut cluster[strays].command());
    let index = divergence.index;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.error().contains(&format!("differ from what the other nodes hold, at entry {index}")), "{ended:?}");
    fs::remove_dir_all(cluster[strays].data_dir()).expect("its data can be removed");
    cluster[strays].start();
    until("it votes again", || {
        let health = cluster[strays].health().filter(|health| health.state == NodeState::Follower)?;
        (health.members.len() == 3 && health.members.iter().all(|member| member.voter)).then_some(())
    });
    let value = cluster[strays].get("/get?key=key100&raw=true").expect("it answers");
    assert_eq!(value.text(), "value");
}

#[test]
fn nodes_ask_each_other_where_they_were_told_to_dial_each_other() {
    let mut cluster = Cluster::prepare(3);
    // As behind address translation: the address that a node advertises does not work from the other nodes.
    for node in &mut cluster.nodes {
        node.set_flag("--advertise-peer-url", "http://127.0.0.1:1");
    }
    cluster.start_all();
    cluster.leader();
    cluster.client().set("color", "blue").expect("a majority is there");
    cluster.catch_up();
    let strays = cluster.follower();
    cluster[strays].kill();
    plant_difference(&cluster[strays], "color");
    cluster[strays].start();
    until_halted(&cluster[strays]);
}

#[test]
fn a_leader_that_differs_leads_no_more_once_a_majority_says_so() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client();
    client.set("color", "blue").expect("a majority is there");
    client.set("shape", "round").expect("a majority is there");
    cluster.catch_up();
    cluster.kill_all();
    plant_difference(&cluster[0], "color");
    for node in [0, 1] {
        cluster[node].start();
    }
    // One against one, and the third may still decide: both continue, and report it.
    let name = cluster[0].name.clone();
    let pair = Client::connect([cluster[0].url(), cluster[1].url()]).expect("URLs of nodes");
    until("the one that differs leads", || pair.transfer_leader(Some(&name)).ok());
    for node in [0, 1] {
        cluster[node].logged("and this node have different data after entry");
        assert_eq!(cluster[node].health().expect("it answers").diverged, None);
    }
    cluster[2].start();
    until_halted(&cluster[0]);
    cluster.leader_of(&[1, 2]);
    client.set("shape", "square").expect("two of three are a majority");
    let item = client.get("color").expect("two of three are a majority").expect("the key is there");
    assert_eq!(item.value, b"blue");
}

#[test]
fn of_two_that_differ_nobody_knows_who_is_right_so_both_stop() {
    let mut cluster = Cluster::start(2);
    cluster.client().set("color", "blue").expect("both are there");
    cluster.catch_up();
    cluster.kill_all();
    plant_difference(&cluster[0], "color");
    cluster.start_all();
    for node in &cluster.nodes {
        let divergence = until_halted(node);
        assert_eq!(divergence.majority, None);
        node.logged("it is unknown which data is right");
    }
}
