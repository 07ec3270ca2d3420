//! The leader repeatedly dies under load: no acknowledged write is lost, and none is applied twice.

use std::time::Duration;
use testkit::{Cluster, Deaths};

const DEATHS: Deaths = Deaths { times: 10, writers: 8, writes_between: 200 };

/// An election takes a fraction of a second if a processor is free for it.
const GAP_MAX: Duration = Duration::from_secs(5);

/// More than the connections of writers and peers and the files of the log need; fewer than if each death left some
/// open.
const OPEN_FILES_MAX: usize = 60;

#[test]
fn every_acknowledged_write_survives_ten_deaths_of_the_leader() {
    let mut cluster = Cluster::start(3);
    let (ledger, mut gaps) = DEATHS.of_leaders(&mut cluster);

    assert_eq!(ledger.failed(), 0, "the client retries until a write has an outcome");
    ledger.check(&cluster.nodes);
    for node in &cluster.nodes {
        assert!(node.open_files() < OPEN_FILES_MAX, "{} has {} files open", node.name, node.open_files());
    }

    gaps.sort_unstable();
    let (median, worst) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    println!(
        "{} writes acknowledged over {} deaths of the leader; without writes for {median:?} at the median, \
         {worst:?} at the worst",
        ledger.acknowledged(),
        DEATHS.times
    );
    assert!(worst < GAP_MAX, "without writes for {worst:?}");
}
