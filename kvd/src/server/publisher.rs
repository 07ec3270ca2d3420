//! The public state of a node: the view that HTTP handlers answer from, the leader that clients watch, the URLs at
//! which members are dialled, the term and role that log lines begin with.

use super::directory::Directory;
use crate::http::View;
use crate::node::Divergence;
use crate::peer::{ClusterId, Hello};
use crate::raft::{LogIndex, NodeId, Raft, RoleName};
use crate::storage::ClusterIdentity;
use kvclient::api::{ClonedNode, ClusterInfo, LeaderEvent, Member, MembersReply, NodeState, NodeUrl};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::Span;

/// Log line of a node that has been removed.
const REMOVED: &str = "this node has been removed from its cluster: it no longer votes and serves only stale reads. \
     Stop it; to use it again, clear its data directory and start it with --join as a new member";

/// Log line of a node whose disk is stuck.
const STUCK: &str = "the disk does not complete a write: check it. Meanwhile this node stores no new data, and does \
     not lead if another node can; every acknowledged write is on the disks of other nodes";

/// Publishes the state of one replica.
#[derive(Debug)]
pub(super) struct Publisher {
    span: Span,
    view: watch::Sender<View>,
    /// Kept apart from the view, so that a commit does not wake everyone who watches the leader.
    leader: watch::Sender<LeaderEvent>,
    /// URLs at which this node dials members.
    dialled: watch::Sender<BTreeMap<NodeId, String>>,
    readiness: Readiness,
}

impl Publisher {
    /// Creates the state of a node before it is part of a cluster. `span` is the one it logs in.
    pub(super) fn new(own: &Hello, span: Span) -> Self {
        let view = View::forming(&own.name, &own.node_id().to_string(), &own.client_url, &own.peer_url, own.level);
        let leader = watch::Sender::new(LeaderEvent { term: 0, leader: None });
        Self {
            span,
            view: watch::Sender::new(view),
            leader,
            dialled: watch::Sender::default(),
            readiness: Readiness::default(),
        }
    }

    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    pub(super) fn leader(&self) -> watch::Receiver<LeaderEvent> {
        self.leader.subscribe()
    }

    pub(super) fn dialled(&self) -> watch::Receiver<BTreeMap<NodeId, String>> {
        self.dialled.subscribe()
    }

    /// Publishes the URLs at which this node dials members.
    pub(super) fn dials(&self, urls: BTreeMap<NodeId, String>) {
        self.dialled.send_replace(urls);
    }

    /// Publishes the cluster that this node is part of.
    pub(super) fn cluster(&self, cluster: &ClusterIdentity) {
        let ClusterIdentity { id, first_members } = cluster.clone();
        let info = ClusterInfo { id: ClusterId(id).to_string(), first_members };
        self.view.send_modify(|view| view.cluster = Some(Arc::new(info)));
    }

    /// Publishes that the node forms or joins a cluster, and what it waits for.
    pub(super) fn forming(&self, waiting_for: String) {
        crate::logging::set_term_and_role(&self.span, 0, &NodeState::Forming.to_string());
        self.view.send_if_modified(|view| {
            let news = view.waiting_for.as_ref() != Some(&waiting_for);
            view.waiting_for = Some(waiting_for);
            news
        });
    }

    pub(super) fn members(&self, members: Arc<[Member]>) {
        self.view.send_modify(|view| view.members = members);
    }

    /// Publishes the nodes whose id two processes use.
    pub(super) fn cloned(&self, cloned: Vec<ClonedNode>) {
        self.view.send_if_modified(|view| {
            let news = view.cloned != cloned;
            view.cloned = cloned;
            news
        });
    }

    /// Publishes the number of this node's snapshots that were found to be damaged.
    pub(super) fn snapshots_damaged(&self, count: u64) {
        self.view.send_if_modified(|view| std::mem::replace(&mut view.snapshots_damaged, count) != count);
    }

    /// Publishes the number of this node's log segments that were found to be damaged.
    pub(super) fn log_damaged(&self, count: u64) {
        self.view.send_if_modified(|view| std::mem::replace(&mut view.log_damaged, count) != count);
    }

    /// Returns the members as clients see them now.
    pub(super) fn members_reply(&self) -> MembersReply {
        let view = self.view.borrow();
        MembersReply { members: view.members.to_vec(), cluster: view.cluster.as_deref().cloned() }
    }

    /// Publishes that the replica's data differs from the other nodes', and that it has stopped.
    pub(super) fn diverged(&self, divergence: &Divergence) {
        let Divergence { own, majority } = divergence;
        let told = kvclient::api::Divergence {
            index: own.index.0,
            hash: own.hash.to_string(),
            majority: majority.map(|hash| hash.to_string()),
        };
        let term = self.view.borrow().term;
        crate::logging::set_term_and_role(&self.span, term, &NodeState::Diverged.to_string());
        self.view.send_modify(|view| {
            view.state = NodeState::Diverged;
            view.leader = None;
            view.ready = false;
            view.diverged = Some(told);
        });
        self.leader.send_replace(LeaderEvent { term, leader: None });
    }

    /// Publishes the replica's state, and logs a change of role. `waiting_for` is what a member waits for that has
    /// received nothing from its leader yet.
    pub(super) fn replica(&mut self, raft: &Raft, directory: &Directory, waiting_for: Option<String>) {
        let (term, log, leader) = (raft.term(), raft.log(), raft.leader());
        let state = match raft.role() {
            RoleName::Leader => NodeState::Leader,
            _ if raft.is_removed() => NodeState::Removed,
            RoleName::PreCandidate | RoleName::Candidate => NodeState::Candidate,
            RoleName::Follower if raft.configuration().is_voter(raft.id()) => NodeState::Follower,
            RoleName::Follower => NodeState::Learner,
        };
        let has_leader = leader.is_some() && state != NodeState::Removed;
        let ready = self.readiness.update(has_leader, raft.known_commit_index(), log.applied_index());
        let leader = leader.filter(|_| state != NodeState::Removed);
        let waiting_for = waiting_for.filter(|_| state != NodeState::Removed);
        let leader_info = leader.and_then(|id| directory.info(id));
        let mut leader_changed = false;
        let mut role_changed = false;
        let mut was_removed = false;
        let (mut disk_changed, mut disk_answers_after) = (false, None);
        self.view.send_if_modified(|view| {
            let shown = view.leader.as_ref().map(|NodeUrl { id, url }| (id, url));
            // The URL is compared as well: a leader may have announced a new one.
            let moved = shown != leader_info.map(|info| (&info.name, &info.client_url));
            let other = shown.map(|(name, _)| name) != leader_info.map(|info| &info.name);
            leader_changed = moved || view.term != term.0;
            was_removed = view.state != state && state == NodeState::Removed;
            role_changed = other || view.state != state || view.term != term.0;
            if moved {
                view.leader = leader.and_then(|id| directory.node_url(id));
            }
            let (last_log_index, commit_index) = (log.last_index().0, log.commit_index().0);
            let applied_index = log.applied_index().0;
            let stuck_for = raft.disk_stuck_ms().map(Duration::from_millis);
            disk_changed = view.disk_stuck.is_some() != stuck_for.is_some();
            if disk_changed {
                disk_answers_after = view.disk_stuck.map(|since| since.elapsed());
                view.disk_stuck = stuck_for.and_then(|stuck_for| std::time::Instant::now().checked_sub(stuck_for));
            }
            let changed = leader_changed
                || disk_changed
                || role_changed
                || view.ready != ready
                || view.waiting_for != waiting_for
                || (view.last_log_index, view.commit_index, view.applied_index)
                    != (last_log_index, commit_index, applied_index);
            view.state = state;
            view.term = term.0;
            view.last_log_index = last_log_index;
            view.commit_index = commit_index;
            view.applied_index = applied_index;
            view.ready = ready;
            view.waiting_for = waiting_for;
            changed
        });
        if leader_changed {
            let leader = self.view.borrow().leader.clone();
            self.leader.send_replace(LeaderEvent { term: term.0, leader });
        }
        if was_removed {
            tracing::warn!("{REMOVED}");
        }
        match disk_answers_after {
            Some(after) => {
                tracing::info!("the disk completed the stuck write after {:.1} s", after.as_secs_f64())
            }
            None if disk_changed => tracing::warn!("{STUCK}"),
            None => {}
        }
        if role_changed {
            crate::logging::set_term_and_role(&self.span, term.0, &state.to_string());
            match (raft.role(), leader_info) {
                (RoleName::Follower, _) if state == NodeState::Removed => {}
                (RoleName::Leader, _) => tracing::info!("leads term {term}"),
                (RoleName::Follower, Some(leader)) => tracing::info!("follows {} in term {term}", leader.name),
                (RoleName::Follower, None) => tracing::debug!("waiting for a leader, term {term}"),
                (RoleName::PreCandidate, _) => tracing::info!("starting pre-vote for term {}", term.0 + 1),
                (RoleName::Candidate, _) => tracing::info!("starting election for term {term}"),
            }
        }
    }
}

/// Tracks whether the node knows a leader and has applied everything that was committed when it first knew one.
#[derive(Debug, Default)]
struct Readiness {
    target: Option<LogIndex>,
    caught_up: bool,
}

impl Readiness {
    fn update(&mut self, has_leader: bool, known_commit: Option<LogIndex>, applied: LogIndex) -> bool {
        if self.target.is_none() {
            self.target = known_commit;
        }
        self.caught_up |= self.target.is_some_and(|target| applied >= target);
        self.caught_up && has_leader
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_has_applied_what_was_committed_when_it_found_a_leader() {
        let mut readiness = Readiness::default();
        assert!(!readiness.update(false, None, LogIndex(3)));
        assert!(!readiness.update(true, Some(LogIndex(9)), LogIndex(3)));
        assert!(!readiness.update(true, Some(LogIndex(12)), LogIndex(8)));
        assert!(readiness.update(true, Some(LogIndex(12)), LogIndex(9)), "later commits do not count");
        assert!(!readiness.update(false, None, LogIndex(9)), "without a leader it is not ready");
        assert!(readiness.update(true, Some(LogIndex(20)), LogIndex(9)));
    }
}
