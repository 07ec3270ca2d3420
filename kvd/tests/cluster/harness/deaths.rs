//! The leader dies under load, again and again.

use super::cluster::Cluster;
use super::load::{Ledger, Load};
use std::time::{Duration, Instant};

/// Kills the leader `kills` times under the load of `writers` threads, and starts it again each time; `writes`
/// are acknowledged between two steps, so that each kill meets a cluster at work. Returns what the writers saw,
/// and the time without an acknowledged write around each kill. In the end all nodes have caught up.
pub(crate) fn kill_leaders(
    cluster: &mut Cluster,
    kills: usize,
    writers: usize,
    writes: u64,
) -> (Ledger, Vec<Duration>) {
    let load = Load::start(&cluster.client(), writers);
    let mut moments = Vec::new();
    for _ in 0..kills {
        load.flow(writes);
        let leader = cluster.leader();
        moments.push(Instant::now());
        cluster[leader].kill();
        load.flow(writes);
        cluster[leader].start();
        cluster.catch_up();
    }
    load.flow(writes);
    let ledger = load.stop();
    cluster.catch_up();
    let gaps = ledger.gaps(&moments);
    (ledger, gaps)
}
