//! Time for which a cluster takes no writes when its leader goes: three real processes under load from eight threads,
//! with default timings.
//!
//!     cargo bench -p kvd --bench failover
//!
//! The leader is killed (`kill -9`), it falls silent while its connections stay open (`SIGSTOP`), and all nodes are
//! restarted one after the other as in an upgrade (`SIGTERM`). A gap is the longest time between two acknowledged
//! writes, of any of the threads, around each of these.

use std::time::Duration;
use testkit::{Cluster, Deaths, Node};

const KILLS: usize = 20;
const PAUSES: usize = 10;

/// Restarts of each node.
const UPGRADES: usize = 5;

const NODES: usize = 3;

fn main() {
    println!("{:<26} {:>10} {:>8}   each gap, in ms", "", "median", "worst");
    run("kill -9 of the leader", KILLS, |cluster, _| cluster.leader(), Node::kill, Node::start);
    run("SIGSTOP of the leader", PAUSES, |cluster, _| cluster.leader(), Node::pause, Node::resume);
    let stop = |node: &mut Node| assert_eq!(node.terminate(), Some(0));
    run("restart of each node", UPGRADES * NODES, |_, round| round % NODES, stop, Node::start);
}

fn run(
    what: &str,
    times: usize,
    chosen: impl Fn(&Cluster, usize) -> usize,
    go: impl Fn(&mut Node),
    come: impl Fn(&mut Node),
) {
    let mut cluster = Cluster::start(NODES);
    let deaths = Deaths { times, writers: 8, writes_between: 2_000 };
    let (ledger, mut gaps) = deaths.by(&mut cluster, chosen, go, come);
    ledger.check(&cluster.nodes);
    assert_eq!(ledger.failed(), 0, "requests failed");
    let ms = |gap: &Duration| format!("{:.0}", gap.as_secs_f64() * 1e3);
    let each: Vec<_> = gaps.iter().map(ms).collect();
    gaps.sort_unstable();
    let (median, worst) = (&gaps[times / 2], &gaps[times - 1]);
    println!("{what:<26} {:>7} ms {:>5} ms   {}", ms(median), ms(worst), each.join(" "));
    println!("{:<26} {} writes acknowledged, all found on every node; no request failed", "", ledger.acknowledged());
}
