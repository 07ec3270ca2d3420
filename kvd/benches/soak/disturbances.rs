//! Disturbances of the nodes: one at a time, on one node, which is all that a cluster of three has to survive. After
//! each the cluster is whole again: three voters, all ready.

use kvclient::{Client, Error};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt::{self, Display};
use std::fs;
use std::thread;
use std::time::Duration;
use testkit::{Cluster, Node, Recorder, until};

/// Writes that must be acknowledged, and reads that a node must answer, before the next disturbance.
const WRITES_BETWEEN: u64 = 100;

/// Longest time for which a node stays killed or paused.
const AWAY_MAX_MS: u64 = 1_500;

/// Kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillLeader,
    KillFollower,
    PauseLeader,
    PauseFollower,
    WipeLeader,
    WipeFollower,
    Restart,
    Transfer,
    JoinAndRemove,
    Replace,
    Backup,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::WipeLeader,
        Self::WipeFollower,
        Self::Restart,
        Self::Transfer,
        Self::JoinAndRemove,
        Self::Replace,
        Self::Backup,
    ];
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::KillLeader => "kill -9 of the leader",
            Self::KillFollower => "kill -9 of a follower",
            Self::PauseLeader => "pause of the leader",
            Self::PauseFollower => "pause of a follower",
            Self::WipeLeader => "disk of the leader lost",
            Self::WipeFollower => "disk of a follower lost",
            Self::Restart => "clean restart of a node",
            Self::Transfer => "transfer of leadership",
            Self::JoinAndRemove => "a node joins, another is removed",
            Self::Replace => "a node replaces another",
            Self::Backup => "backup",
        })
    }
}

/// Draws and carries out disturbances.
pub(crate) struct Disturber {
    random: StdRng,
    snapshot_log_bytes: u64,
}

impl Disturber {
    pub(crate) fn new(seed: u64, snapshot_log_bytes: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), snapshot_log_bytes }
    }

    /// Carries out one disturbance, and waits until the cluster is whole again.
    #[track_caller]
    pub(crate) fn disturb(&mut self, cluster: &mut Cluster, recorder: &Recorder) -> Kind {
        recorder.flow(WRITES_BETWEEN);
        let kind = Kind::ALL[self.random.random_range(0..Kind::ALL.len())];
        let leader = cluster.leader();
        let follower = (leader + self.random.random_range(1..cluster.nodes.len())) % cluster.nodes.len();
        match kind {
            Kind::KillLeader => self.kill(&mut cluster[leader]),
            Kind::KillFollower => self.kill(&mut cluster[follower]),
            Kind::PauseLeader => self.pause(&mut cluster[leader]),
            Kind::PauseFollower => self.pause(&mut cluster[follower]),
            Kind::WipeLeader => self.wipe(cluster, leader),
            Kind::WipeFollower => self.wipe(cluster, follower),
            Kind::Restart => {
                let node = self.random.random_range(0..cluster.nodes.len());
                assert_eq!(cluster[node].terminate(), Some(0));
                cluster[node].start();
            }
            Kind::Transfer => {
                cluster.client().transfer_leader(Some(&cluster[follower].name)).expect("all are there to take over");
            }
            Kind::JoinAndRemove => {
                self.add(cluster, false);
                let gone = self.random.random_range(0..cluster.nodes.len() - 1);
                let name = cluster[gone].name.clone();
                change(&cluster.client(), |client| client.remove_member(&name, false).map(drop));
                dismiss(cluster, gone);
            }
            Kind::Replace => {
                let new = self.add(cluster, true);
                let gone = self.random.random_range(0..new);
                let (old, new) = (cluster[gone].name.clone(), cluster[new].name.clone());
                change(&cluster.client(), |client| client.replace_member(&old, &new).map(drop));
                dismiss(cluster, gone);
            }
            Kind::Backup => {
                let backup = cluster.client().save_snapshot(std::io::sink(), |_| {});
                backup.expect("any node gives a backup");
            }
        }
        until_whole(cluster);
        kind
    }

    fn stay_away(&mut self) {
        thread::sleep(Duration::from_millis(self.random.random_range(0..=AWAY_MAX_MS)));
    }

    fn kill(&mut self, node: &mut Node) {
        node.kill();
        self.stay_away();
        node.start();
    }

    fn pause(&mut self, node: &mut Node) {
        node.pause();
        self.stay_away();
        node.resume();
    }

    fn wipe(&mut self, cluster: &mut Cluster, lost: usize) {
        cluster[lost].kill();
        fs::remove_dir_all(cluster[lost].data_dir()).expect("its data can be removed");
        self.stay_away();
        // The nodes that its flags name may have left the cluster long ago.
        let others = cluster.nodes.iter().enumerate().filter(|(number, _)| *number != lost);
        let others: Vec<String> = others.map(|(_, node)| node.url()).collect();
        cluster[lost].remove_flag("--peers");
        cluster[lost].set_flag("--join", others.join(","));
        cluster[lost].start();
    }

    /// Starts another node and returns its number, once it is a member.
    fn add(&mut self, cluster: &mut Cluster, learner: bool) -> usize {
        let through = self.random.random_range(0..cluster.nodes.len());
        let new = cluster.prepare_joiner_at(through);
        cluster[new].set_flag("--snapshot-log-bytes", self.snapshot_log_bytes.to_string());
        let mut command = cluster[new].command();
        if learner {
            command.arg("--learner");
        }
        cluster[new].start_as(command);
        until("the new node is a member", || {
            let health = cluster[new].health()?;
            let own = health.members.iter().find(|member| member.id == health.id)?;
            (own.voter != learner).then_some(new)
        })
    }
}

/// Changes the members, even if the leader changes several times meanwhile.
#[track_caller]
fn change(client: &Client, ask: impl Fn(&Client) -> Result<(), Error>) {
    until("the members are changed", || match ask(client) {
        // A change that had begun when the leader changed is already complete.
        Ok(()) | Err(Error::MemberNotFound { .. }) => Some(()),
        // It has yet to catch up.
        Err(Error::ChangeRefused { .. }) => None,
        Err(error) => panic!("{error}"),
    });
}

/// Stops a node that is no longer a member.
#[track_caller]
fn dismiss(cluster: &mut Cluster, gone: usize) {
    let mut node = cluster.nodes.remove(gone);
    assert_eq!(node.terminate(), Some(0));
    fs::remove_dir_all(node.data_dir()).expect("its data can be removed");
}

/// Waits until all these nodes and no others are voters, and all are ready.
#[track_caller]
fn until_whole(cluster: &Cluster) {
    until("all nodes are members and ready", || cluster.nodes.iter().all(|node| is_whole(cluster, node)).then_some(()));
}

fn is_whole(cluster: &Cluster, node: &Node) -> bool {
    let is_ready = node.get("/readyz").is_ok_and(|reply| reply.status == 200);
    is_ready
        && node.health().is_some_and(|health| {
            health.members.len() == cluster.nodes.len() && health.members.iter().all(|member| member.voter)
        })
}
