//! Missing data: a volume that is not mounted, in-memory nodes that stop at the same time. If any node remembers a
//! cluster, or has a flag to expect one, no new and empty cluster takes its place.

use kvclient::{Client, NodeState};
use std::fs;
use testkit::{Cluster, Node, kvd, run, until};

/// Log line of a node that founds a cluster.
const FOUNDS: &str = "formed a new, empty cluster";

/// Waits until a node reports this reason for waiting, to all who ask, and does not belong to a cluster.
#[track_caller]
fn until_waiting(node: &Node, why: &str) {
    let sentence = until(&format!("{} waits: {why}", node.name), || {
        let health = node.health().filter(|health| health.state == NodeState::Forming && health.leader.is_none())?;
        health.waiting_for.filter(|waiting_for| waiting_for.contains(why))
    });
    let reply = node.get("/readyz").expect("it answers");
    assert!(reply.status == 503 && reply.text().contains("not ready: "), "{sentence}: {}", reply.text());
}

fn times_founded(cluster: &Cluster) -> Vec<usize> {
    cluster.nodes.iter().map(|node| node.log().matches(FOUNDS).count()).collect()
}

/// Unmounts the volume of a stopped node, or mounts it again.
fn unmount(node: &Node) {
    fs::rename(node.data_dir(), node.data_dir().with_extension("volume")).expect("a directory");
}

fn mount(node: &Node) {
    fs::remove_dir_all(node.data_dir()).expect("a directory in its place");
    fs::rename(node.data_dir().with_extension("volume"), node.data_dir()).expect("a directory");
}

/// Waits until three nodes are voters and the earlier write is there.
#[track_caller]
fn until_whole(cluster: &Cluster) {
    until("all vote", || {
        let healths = cluster.nodes.iter().map(Node::health).collect::<Option<Vec<_>>>()?;
        let votes = |state| [NodeState::Leader, NodeState::Follower].contains(&state);
        let is_whole = |health: &kvclient::Health| votes(health.state) && health.members.len() == cluster.nodes.len();
        healths.iter().all(is_whole).then_some(())
    });
    assert_eq!(cluster.client().get("color").expect("it serves").expect("a key").value, b"blue");
}

#[test]
fn nodes_that_expect_data_and_find_none_wait_until_their_volumes_are_back() {
    let mut cluster = Cluster::start_calm(3);
    cluster.client().set("color", "blue").expect("the cluster serves");
    cluster.catch_up();
    assert_eq!(times_founded(&cluster), [1; 3], "a new cluster is never without a word");
    cluster.kill_all();
    for node in &mut cluster.nodes {
        unmount(node);
        node.add_env("KVD_EXPECT_DATA", "1");
    }
    cluster.start_all();
    for node in &cluster.nodes {
        until_waiting(node, &format!("--expect-data is set, but --data-dir {} is empty", node.data_dir().display()));
        let others = cluster.nodes.iter().filter(|other| other.name != node.name).map(|other| other.name.as_str());
        let others = others.collect::<Vec<_>>().join(", ");
        // Whichever node is last, the reason is reported at once, with the node that it concerns.
        until_waiting(node, &format!("no data, though --expect-data is set: {others}"));
        let line = node.logged("waiting for the data of its cluster");
        assert!(line.contains(" WARN "), "{line}");
    }
    assert_eq!(times_founded(&cluster), [1; 3]);

    // One node has its data again, and no other takes it for lost.
    let mount_again = |node: &mut Node| {
        assert_eq!(node.terminate(), Some(0));
        mount(node);
        node.start();
    };
    mount_again(&mut cluster[2]);
    for node in &cluster.nodes[..2] {
        until_waiting(node, "waiting to rejoin the cluster of node3");
        until_waiting(node, "If a majority of its voters is permanently lost, no node can join it");
    }
    // With another there is a majority, and the third rejoins without its own data.
    mount_again(&mut cluster[0]);
    until_whole(&cluster);
    assert_eq!(times_founded(&cluster), [1; 3]);
    // With its data a node starts as usual.
    cluster[1].kill();
    cluster[1].start();
    until_whole(&cluster);
}

#[test]
fn one_that_expects_data_is_enough_and_without_the_flag_a_cluster_is_founded() {
    let mut cluster = Cluster::prepare(3);
    cluster[2].add_env("KVD_EXPECT_DATA", "true");
    cluster.start_all();
    for node in &cluster.nodes[..2] {
        until_waiting(node, "no data, though --expect-data is set: node3.");
    }
    until_waiting(&cluster[2], "--expect-data is set");
    assert_eq!(times_founded(&cluster), [0; 3]);
    cluster[2].kill();
    cluster[2].add_env("KVD_EXPECT_DATA", "false");
    cluster[2].start();
    cluster.leader();
    assert_eq!(times_founded(&cluster), [1; 3]);

    let mut single = Cluster::prepare(1);
    single[0].add_env("KVD_EXPECT_DATA", "true");
    single[0].start();
    until_waiting(&single[0], "If the data is lost, restore a backup");
    assert_eq!(single[0].terminate(), Some(0));
    assert_eq!(times_founded(&single), [0]);
}

#[test]
fn the_systemd_unit_notes_outside_the_volume_that_there_is_data_once_there_is() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kvd.service");
    let unit = fs::read_to_string(unit).expect("the unit");
    let commands: Vec<&str> = ["ExecStartPre=-+", "ExecStopPost=-+"]
        .into_iter()
        .map(|setting| unit.lines().find_map(|line| line.strip_prefix(setting)).expect("a command"))
        .collect();
    assert_eq!(commands[0], commands[1]);
    let command = commands[0].strip_prefix("/bin/sh -c '").and_then(|rest| rest.strip_suffix('\'')).expect("a script");

    let mut cluster = Cluster::prepare(2);
    let (dir, etc) = (cluster[0].data_dir().to_owned(), cluster[0].data_dir().with_extension("etc"));
    fs::create_dir(&etc).expect("a directory");
    let (dir, note) = (dir.to_str().expect("a path in UTF-8"), etc.join("expect-data.env"));
    let command = command.replace("%S/kvd", dir).replace("/etc/kvd", etc.to_str().expect("a path in UTF-8"));
    let noted = || {
        let status = std::process::Command::new("/bin/sh").args(["-c", &command]).status().expect("a shell");
        assert!(status.success(), "{command}");
        fs::read_to_string(&note).ok()
    };
    assert_eq!(noted(), None, "there is no directory yet");
    cluster[0].start();
    until_waiting(&cluster[0], "waiting for node2");
    assert_eq!(noted(), None, "no cluster has formed yet");
    cluster[1].start();
    cluster.leader();
    let expected = "KVD_EXPECT_DATA=true\n";
    assert_eq!(noted().as_deref(), Some(expected));
    cluster.kill_all();
    unmount(&cluster[0]);
    assert_eq!(noted().as_deref(), Some(expected), "it stays");
    assert!(unit.contains("\nEnvironmentFile=-/etc/kvd/expect-data.env\n"));
}

/// Returns an in-memory cluster in which two of three nodes stopped at once; they are back and wait for admission.
fn survived_by_the_last() -> Cluster {
    let mut cluster = Cluster::start_with(3, "--storage", "memory");
    cluster.client().set("color", "blue").expect("the cluster serves");
    cluster.converge();
    for lost in 0..2 {
        cluster[lost].kill();
    }
    for lost in 0..2 {
        cluster[lost].start();
        until_waiting(&cluster[lost], "waiting to rejoin the cluster of node3");
        until_waiting(
            &cluster[lost],
            "`kvctl snapshot save FILE --stale` while it still runs and then `kvd restore FILE`",
        );
    }
    cluster
}

#[test]
fn what_the_last_node_in_memory_has_is_saved_and_restored() {
    let mut cluster = survived_by_the_last();
    // As `kvctl snapshot save --stale` does, whichever node it is given.
    let client = cluster.client();
    let nodes = client.status().expect("they answer");
    let survivor = nodes
        .iter()
        .filter(|node| node.health.is_ok())
        .max_by_key(|node| node.health.as_ref().map(|health| health.applied_index).unwrap_or_default());
    let survivor = survivor.expect("one of them").client_url.clone();
    assert_eq!(survivor, cluster[2].url());
    let file = cluster[2].data_dir().with_extension("snap");
    let mut backup = Vec::new();
    client.save_snapshot_stale(&survivor, &mut backup, |_| {}).expect("it gives what it has");
    fs::write(&file, &backup).expect("a file");
    cluster[2].kill();

    let mut restore = kvd();
    restore.arg("restore").arg(&file).args(["--name", "node3", "--listen", cluster[2].address()]);
    let ended = run(restore.arg("--data-dir").arg(cluster[2].data_dir()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    cluster[2].remove_flag("--peers");
    cluster[2].remove_flag("--storage");
    cluster[2].start();
    let own = Client::connect([cluster[2].url()]).expect("a URL");
    until("it serves", || own.get("color").ok().flatten().filter(|item| item.value == b"blue"));
    // With their old flags the other nodes do not belong to it, and found no cluster.
    for other in 0..2 {
        let name = cluster[other].name.clone();
        until_waiting(&cluster[other], &format!("no member named \"{name}\""));
        cluster[other].kill();
        cluster[other].remove_flag("--peers");
        let url = cluster[2].url();
        cluster[other].set_flag("--join", url);
        cluster[other].start();
    }
    until_whole(&cluster);
}

#[test]
fn when_the_last_one_is_started_again_too_no_empty_cluster_takes_the_place_of_what_was() {
    let mut cluster = survived_by_the_last();
    let before = times_founded(&cluster);
    let told = "existed before, and no reachable node has its data";
    cluster[2].kill();
    for node in &cluster.nodes[..2] {
        until_waiting(node, &format!("{told}; no answer from node3"));
    }
    cluster[2].start();
    for node in &cluster.nodes {
        until_waiting(node, told);
        assert!(node.logged(" WARN ").contains("waiting for the data of its cluster"), "{}", node.log());
    }
    // One after the other they hear of it from the running nodes.
    for number in 0..3 {
        cluster[number].kill();
        cluster[number].start();
        until_waiting(&cluster[number], told);
    }
    assert_eq!(times_founded(&cluster), before);

    // Starting all of them at once would begin with nothing; a flag forbids even that.
    cluster.kill_all();
    cluster.nodes.iter_mut().for_each(|node| node.set_flag("--storage", "memory"));
    cluster[0].add_env("KVD_EXPECT_DATA", "true");
    cluster.start_all();
    until_waiting(&cluster[0], "--expect-data is set, but a node with --storage memory starts empty");
    cluster[0].kill();
    cluster[0].add_env("KVD_EXPECT_DATA", "0");
    cluster[0].start();
    cluster.leader();
    assert_eq!(cluster.client().get("color").expect("it serves"), None);
    let founded: Vec<_> = before.iter().map(|times| times + 1).collect();
    assert_eq!(times_founded(&cluster), founded);
}
