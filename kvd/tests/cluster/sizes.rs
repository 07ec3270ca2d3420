//! Clusters of other sizes than three.

use testkit::{Cluster, Load};

#[test]
fn a_single_node_serves_by_itself_and_finds_its_data_again() {
    let mut cluster = Cluster::start(1);
    let load = Load::start(&cluster.client(), 4);
    load.flow(100);
    cluster[0].kill();
    cluster[0].start();
    load.flow(100);
    let ledger = load.stop();
    assert_eq!(ledger.failed(), 0);
    assert_eq!(cluster[0].terminate(), Some(0));
    cluster[0].start();
    cluster.catch_up();
    ledger.check(&cluster.nodes);
}

#[test]
fn five_nodes_go_on_without_two_of_them() {
    let mut cluster = Cluster::start(5);
    let load = Load::start(&cluster.client(), 4);
    load.flow(50);
    let leader = cluster.leader();
    let lost = [leader, (leader + 1) % 5];
    lost.iter().for_each(|number| cluster[*number].kill());
    load.flow(100);
    lost.iter().for_each(|number| cluster[*number].start());
    cluster.catch_up();
    let ledger = load.stop();
    cluster.catch_up();
    assert_eq!(ledger.failed(), 0);
    ledger.check(&cluster.nodes);
}
