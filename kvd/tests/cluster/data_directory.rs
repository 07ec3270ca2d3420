//! Data that belongs to another node, is damaged or is gone: the node refuses to start instead of serving it.

use kvd::storage::{Disk, Identity, RealDisk, Wal, WalOptions};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use testkit::{Cluster, Ended, Node, Port, SEGMENT, change_segment, end_of_log, kvd, run};

/// Runs a node that should refuse to start.
fn refused(node: &Node) -> Ended {
    run(&mut node.command())
}

/// Returns a stopped single node that has written ten keys.
fn stopped_node() -> (Cluster, PathBuf) {
    let mut cluster = Cluster::start(1);
    let client = cluster.client();
    for number in 0..10 {
        client.set(format!("key{number}"), "value").expect("it serves");
    }
    assert_eq!(cluster[0].terminate(), Some(0));
    let segment = cluster[0].data_dir().join(SEGMENT);
    (cluster, segment)
}

#[test]
fn a_directory_that_cannot_be_one_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("node1");
    fs::write(&file, "a file").expect("a file");
    let in_its_place = Node::new("node1", Port::any(), dir.path());
    let beneath_it = Node::new("node2", Port::any(), &file);
    for node in [in_its_place, beneath_it] {
        let ended = refused(&node);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.error().starts_with(&format!("--data-dir {}", node.data_dir().display())), "{ended:?}");
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let cluster = Cluster::start(1);
    let port = Port::any();
    let ended = run(&mut cluster[0].command_with("--listen", format!("127.0.0.1:{}", port.number())));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.error().starts_with("--data-dir") && ended.error().contains("in use by another kvd"), "{ended:?}");
    cluster.client().set("color", "blue").expect("the one that has it goes on");
}

#[test]
fn data_of_another_node_is_refused() {
    let (cluster, _) = stopped_node();
    let ended = run(&mut cluster[0].command_with("--name", "node2"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let error = ended.error();
    let says = "holds data of node node1, but --name is node2";
    assert!(error.starts_with("--data-dir") && error.contains(says) && error.contains("--name node1"), "{error}");
}

#[test]
fn data_of_a_cluster_with_other_members_is_refused() {
    let (cluster, _) = stopped_node();
    let peers = format!("node1={},node9=http://127.0.0.1:9", cluster[0].url());
    let ended = run(&mut cluster[0].command_with("--peers", peers));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let error = ended.error();
    assert!(error.contains("holds data of a cluster of node1, but --peers lists node1, node9"), "{error}");
}

#[test]
fn a_node_with_data_of_another_cluster_of_the_same_names_ends_when_it_meets_the_majority() {
    let (mut here, mut there) = (Cluster::start(3), Cluster::start(3));
    there.client().set("color", "blue").expect("the cluster serves");
    assert_eq!((here[0].terminate(), there[0].terminate()), (Some(0), Some(0)));

    let misled = here[0].command_with("--data-dir", there[0].data_dir());
    here[0].start_as(misled);
    assert_eq!(here[0].end(), Some(2));
    let error = here[0].logged(" ERROR [node1]");
    assert!(error.contains("--data-dir") && error.contains("--peers") && error.contains("cluster"), "{error}");

    // Neither cluster nor its data was harmed.
    for cluster in [&mut here, &mut there] {
        cluster[0].start();
        cluster.catch_up();
    }
    assert_eq!(here.client().get("color").expect("the cluster serves"), None);
    let reply = there[0].get("/get?key=color&consistency=stale&raw=true").expect("it answers");
    assert_eq!(reply.body, b"blue");
}

#[test]
fn a_missing_log_is_refused_at_every_start_until_it_is_back() {
    let (mut cluster, segment) = stopped_node();
    let aside = segment.with_extension("aside");
    fs::rename(&segment, &aside).expect("a segment");
    for start in 1..=3 {
        let ended = refused(&cluster[0]);
        assert_eq!(ended.code, Some(3), "start {start}: {ended:?}");
        let error = ended.error();
        assert!(error.starts_with("--data-dir") && error.contains("is missing or empty"), "start {start}: {error}");
    }
    fs::rename(&aside, &segment).expect("nothing was put in its place");
    cluster.start_all();
    assert!(cluster.client().get("key9").expect("it serves").is_some());
}

#[test]
fn an_empty_log_in_place_of_the_one_that_was_is_refused_at_every_start() {
    let (cluster, segment) = stopped_node();
    fs::remove_file(segment).expect("a segment");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(cluster[0].data_dir()).expect("a directory"));
    let identity = Identity::load(&*disk).expect("it can be read").expect("an identity");
    Wal::open(disk, WalOptions::new(1), identity.node_id, &mut |_| {}).expect("a log begins");
    for _ in 0..2 {
        let ended = refused(&cluster[0]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.error().contains("is missing or empty"), "{ended:?}");
    }
}

#[test]
fn what_is_left_of_a_node_whose_identity_is_gone_is_refused_at_every_start_and_no_node_is_begun_beside_it() {
    let (mut cluster, segment) = stopped_node();
    let (dir, log) = (cluster[0].data_dir().to_owned(), SEGMENT.to_owned());
    let aside = dir.with_extension("aside");
    fs::create_dir(&aside).expect("a directory");
    fs::rename(dir.join("identity.json"), aside.join("identity.json")).expect("an identity");
    let refuses = |node: &Node, file: &str| {
        for _ in 0..2 {
            let ended = refused(node);
            assert_eq!(ended.code, Some(3), "{ended:?}");
            let error = ended.error();
            assert!(error.contains(&format!(": {file} belongs to a node that was part of a cluster")), "{error}");
            assert!(error.contains("`kvd restore`") && !dir.join("identity.json").exists(), "{error}");
        }
        let ended = run(kvd().args(["recover", "--yes", "--data-dir"]).arg(&dir));
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.error().contains(file) && ended.error().contains("Nothing was changed"), "{ended:?}");
    };
    refuses(&cluster[0], &log);
    fs::rename(&segment, aside.join(&log)).expect("a segment");
    for file in ["snapshot-0000000000000012-0000000000000003.snap", "before-00000000000000aa-identity.json"] {
        fs::write(dir.join(file), b"what it had").expect("a file");
        refuses(&cluster[0], file);
        fs::remove_file(dir.join(file)).expect("it is still there");
    }
    for file in ["identity.json", &log] {
        fs::rename(aside.join(file), dir.join(file)).expect("nothing was put in its place");
    }
    cluster.start_all();
    assert!(cluster.client().get("key9").expect("it serves").is_some());
}

#[test]
fn a_crash_between_the_first_entry_and_the_note_of_the_cluster_is_made_good() {
    let (mut cluster, _) = stopped_node();
    let disk = RealDisk::open(cluster[0].data_dir()).expect("a directory");
    let whole = Identity::load(&disk).expect("it can be read").expect("an identity");
    Identity { cluster: None, ..whole.clone() }.save(&disk).expect("it can be written");

    let peers = format!("node1={},node9=http://127.0.0.1:9", cluster[0].url());
    let ended = run(&mut cluster[0].command_with("--peers", peers));
    assert_eq!(ended.code, Some(2), "the log knows the members as well: {ended:?}");
    cluster.start_all();
    assert!(cluster.client().get("key9").expect("it serves").is_some());
    assert_eq!(Identity::load(&disk).expect("it can be read"), Some(whole));
}

#[test]
fn damage_in_the_middle_of_the_log_is_refused_with_its_place() {
    let (mut cluster, segment) = stopped_node();
    let intact = fs::read(&segment).expect("a segment");
    let middle = end_of_log(&segment) / 2;
    change_segment(&segment, middle, 1, |byte| byte ^ 0x10);
    let ended = refused(&cluster[0]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let error = ended.error();
    let (before, after) = error.split_once(" is damaged at byte ").expect("the place of the damage");
    assert!(before.starts_with("--data-dir") && before.ends_with(SEGMENT), "{error}");
    let offset: usize = after.split(':').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(offset <= middle && middle < offset + 512, "byte {middle} was changed: {error}");

    // The refusal has changed nothing: once the byte is restored the node starts.
    fs::write(&segment, intact).expect("a segment can be written");
    cluster.start_all();
    assert!(cluster.client().get("key9").expect("it serves").is_some());
}

#[test]
fn a_damaged_identity_is_refused() {
    let (cluster, _) = stopped_node();
    let identity = cluster[0].data_dir().join("identity.json");
    let text = fs::read_to_string(&identity).expect("an identity").replace("node1", "node2");
    fs::write(&identity, text).expect("it can be written");
    let ended = run(&mut cluster[0].command_with("--name", "node2"));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.error().contains("identity.json is damaged"), "{ended:?}");
}

/// Returns a cluster that has written ten keys, with one follower killed.
fn killed_follower() -> (Cluster, usize) {
    let mut cluster = Cluster::start(3);
    let (client, follower) = (cluster.client(), cluster.follower());
    for number in 0..10 {
        client.set(format!("key{number}"), "value").expect("the cluster serves");
    }
    cluster.catch_up();
    cluster[follower].kill();
    (cluster, follower)
}

/// Starts a node whose log has an unreadable end. The node cuts the end off, logs that, and then catches up.
#[track_caller]
fn cuts_off_and_catches_up(cluster: &mut Cluster, node: usize) {
    cluster[node].start();
    let warning = cluster[node].logged("of an unfinished write off the log");
    assert!(warning.contains(" WARN [node") && warning.contains(SEGMENT), "{warning}");
    cluster.catch_up();
    for number in 0..10 {
        let reply = cluster[node].get(&format!("/get?consistency=stale&key=key{number}")).expect("it answers");
        assert_eq!(reply.status, 200, "key{number}");
    }
}

#[test]
fn an_unfinished_write_at_the_end_of_the_log_is_cut_off_with_a_warning() {
    let (mut cluster, follower) = killed_follower();
    let segment = cluster[follower].data_dir().join(SEGMENT);
    // As if a part of it had reached the disk before the power failed.
    change_segment(&segment, end_of_log(&segment) + 20, 50, |_| 0xaa);
    cuts_off_and_catches_up(&mut cluster, follower);
}

#[test]
fn a_write_that_the_disk_forgot_after_it_was_acknowledged_comes_back_from_the_others() {
    let (mut cluster, follower) = killed_follower();
    // Nothing follows the last write, so its loss looks like a write that was never finished.
    let segment = cluster[follower].data_dir().join(SEGMENT);
    change_segment(&segment, end_of_log(&segment) - 3, 4, |_| 0);
    cuts_off_and_catches_up(&mut cluster, follower);
}
