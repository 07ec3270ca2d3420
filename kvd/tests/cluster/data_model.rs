//! The whole data model on real processes that are killed, paused, cut off and wiped: transactions, ranges, reads of
//! the past, leases and watches. What clients saw fits one order, and no watch lost or repeated anything.

use std::fs;
use testkit::{Cluster, DataRecorder, on_a_network};

/// Writes that must be acknowledged between two steps.
const WRITES_BETWEEN: u64 = 100;

#[test]
fn all_that_clients_see_fits_one_order_while_nodes_are_killed() {
    let mut cluster = Cluster::start(3);
    let recorder = DataRecorder::start(&cluster);
    for round in 0..4 {
        recorder.flow(WRITES_BETWEEN);
        // The leader, and then one of the others.
        let leader = cluster.leader();
        let node = if round % 2 == 0 { leader } else { (leader + 1) % 3 };
        cluster[node].kill();
        recorder.flow(WRITES_BETWEEN);
        cluster[node].start();
    }
    recorder.flow(WRITES_BETWEEN);
    cluster.kill_all();
    cluster.start_all();
    recorder.flow(WRITES_BETWEEN);
    recorder.stop(&cluster).check();
}

#[test]
fn all_that_clients_see_fits_one_order_while_leaders_are_paused() {
    let mut cluster = Cluster::start(3);
    let recorder = DataRecorder::start(&cluster);
    for _ in 0..3 {
        recorder.flow(WRITES_BETWEEN);
        let leader = cluster.leader();
        cluster[leader].pause();
        recorder.flow(WRITES_BETWEEN);
        cluster[leader].resume();
    }
    recorder.flow(WRITES_BETWEEN);
    recorder.stop(&cluster).check();
}

#[test]
fn all_that_clients_see_fits_one_order_while_nodes_lose_their_disks() {
    let mut cluster = Cluster::prepare(3);
    for node in &mut cluster.nodes {
        // So that a node without data is sent a snapshot, history included.
        node.set_flag("--snapshot-log-bytes", "65536");
    }
    cluster.start_all();
    let recorder = DataRecorder::start_beside(&cluster, 2 << 20);
    for round in 0..2 {
        recorder.flow(3 * WRITES_BETWEEN);
        let leader = cluster.leader();
        let node = if round == 0 { (leader + 1) % 3 } else { leader };
        cluster[node].kill();
        fs::remove_dir_all(cluster[node].data_dir()).expect("its data can be removed");
        recorder.flow(WRITES_BETWEEN);
        cluster[node].start();
        let name = cluster[node].name.clone();
        testkit::until(&format!("{name} votes again"), || {
            let health = cluster[node].health()?;
            let own = health.members.iter().find(|member| member.id == health.id)?;
            (own.voter && health.members.len() == 3).then_some(())
        });
    }
    recorder.flow(WRITES_BETWEEN);
    recorder.stop(&cluster).check();
}

#[test]
fn all_that_clients_see_fits_one_order_while_leaders_are_cut_off() {
    on_a_network(3, |network| {
        let mut cluster = network.prepare();
        cluster.start_all();
        cluster.leader();
        let recorder = DataRecorder::start(&cluster);
        for _ in 0..2 {
            recorder.flow(WRITES_BETWEEN);
            let old = cluster.leader();
            let others = cluster.others(old);
            network.cut(&[old], &others);
            cluster.leader_of(&others);
            recorder.flow(WRITES_BETWEEN);
            network.heal();
        }
        recorder.flow(WRITES_BETWEEN);
        cluster.leader();
        recorder.stop(&cluster).check();
    });
}
