//! Nodes that start on damaged data, or on data of another node, while the other nodes serve: such a node refuses to
//! start, the other nodes continue, and no harm is done.

use std::fs;
use std::path::Path;
use testkit::{Cluster, Recorder, SEGMENT, change_segment, end_of_log, run, until};

/// Writes that must be acknowledged between two steps.
const WRITES_BETWEEN: u64 = 100;

/// Starts a cluster under load and kills one of its followers.
fn without_a_follower() -> (Cluster, Recorder, usize) {
    let mut cluster = Cluster::start(3);
    let recorder = Recorder::start(&cluster);
    recorder.flow(WRITES_BETWEEN);
    let follower = cluster.follower();
    cluster[follower].kill();
    (cluster, recorder, follower)
}

/// Restarts the killed node with its own data, and checks that everything that clients saw can be explained.
#[track_caller]
fn ends_well(mut cluster: Cluster, recorder: Recorder, killed: usize) {
    recorder.flow(WRITES_BETWEEN);
    cluster[killed].start();
    recorder.flow_at(killed, 20);
    let history = recorder.stop();
    history.check(&cluster);
}

/// Waits until a node has applied what is committed by now.
#[track_caller]
fn has_all(cluster: &Cluster, node: usize) {
    let committed = cluster[cluster.leader()].health().expect("it answers").commit_index;
    let applied = || cluster[node].health().expect("it answers").applied_index;
    until("it has applied everything", || (applied() >= committed).then_some(()));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for file in fs::read_dir(from).expect("a data directory") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("a file can be copied");
    }
}

#[test]
fn a_bit_that_flipped_in_the_middle_of_a_log_is_refused_while_the_others_serve() {
    let mut cluster = Cluster::start(3);
    let recorder = Recorder::start(&cluster);
    recorder.flow(WRITES_BETWEEN);
    let killed = cluster.follower();
    has_all(&cluster, killed);
    let segment = cluster[killed].data_dir().join(SEGMENT);
    let middle = end_of_log(&segment) / 2;
    // The last write of a log may have been cut off as well as damaged. It is another one than that in the middle, however
    // many entries a follower that was slow has written at once.
    recorder.flow(WRITES_BETWEEN);
    has_all(&cluster, killed);
    cluster[killed].kill();
    let intact = fs::read(&segment).expect("a segment");
    change_segment(&segment, middle, 1, |byte| byte ^ 0x04);
    let damaged = fs::read(&segment).expect("a segment");

    for _ in 0..2 {
        let ended = run(&mut cluster[killed].command());
        assert_eq!(ended.code, Some(3), "{ended:?}");
        let (file, place) = ended.error().split_once(" is damaged at byte ").expect("the place of the damage");
        assert!(file.ends_with(SEGMENT), "{ended:?}");
        let offset: usize = place.split(':').next().and_then(|number| number.parse().ok()).expect("a number");
        assert!(offset <= middle, "byte {middle} was changed: {ended:?}");
        recorder.flow(WRITES_BETWEEN);
    }
    assert!(fs::read(&segment).expect("a segment") == damaged, "it was left as it was, for whoever looks into it");

    fs::write(&segment, intact).expect("a segment can be written");
    ends_well(cluster, recorder, killed);
}

#[test]
fn the_data_of_another_node_is_refused_while_the_others_serve() {
    let (cluster, recorder, killed) = without_a_follower();
    let other = &cluster[(killed + 1) % 3];
    // A copy made while that node was running.
    let copied = cluster[killed].data_dir().with_extension("copy");
    copy(other.data_dir(), &copied);
    for data_dir in [copied.as_path(), other.data_dir()] {
        let ended = run(&mut cluster[killed].command_with("--data-dir", data_dir));
        let error = ended.error();
        let (code, says) = match data_dir == copied {
            true => (2, format!("holds data of node {}", other.name)),
            false => (3, "is in use by another kvd".to_owned()),
        };
        assert!(ended.code == Some(code) && error.contains(&says), "{ended:?}");
        recorder.flow(WRITES_BETWEEN);
    }
    ends_well(cluster, recorder, killed);
}

#[test]
fn a_node_on_the_data_of_another_cluster_ends_and_harms_neither_of_them() {
    let (mut cluster, recorder, killed) = without_a_follower();
    let mut other_cluster = Cluster::start(3);
    let other_client = other_cluster.client();
    other_client.set("color", "blue").expect("it serves");
    other_cluster.catch_up();
    other_cluster[killed].kill();
    let leader = other_cluster.leader();
    let term = other_cluster[leader].health().expect("it answers").term;

    // It has the right name, and the members of both clusters have the same names.
    let command = cluster[killed].command_with("--data-dir", other_cluster[killed].data_dir());
    cluster[killed].start_as(command);
    assert_eq!(cluster[killed].end(), Some(2), "it meets the members that its flags name, and they are strangers");
    cluster[killed].logged("but the nodes that --peers lists belong to cluster");
    recorder.flow(WRITES_BETWEEN);

    other_cluster[killed].start();
    other_client.set("color", "green").expect("it serves");
    other_cluster.converge();
    assert_eq!(other_cluster[killed].health().expect("it answers").term, term, "nobody was deposed");
    ends_well(cluster, recorder, killed);
}
