//! A serving node's view of the members: the nodes that it dials and those that it refuses, the changes that it logs,
//! and its own removal.

use super::super::shell::Shell;
use super::clusters_met::ClustersMet;
use super::unfed::Unfed;
use crate::bootstrap::Wish;
use crate::node::Recovered;
use crate::peer::{ClusterId, Hello, Link};
use crate::raft::{LogIndex, NodeId, Raft};
use crate::server::directory::Directory;
use crate::server::error::FatalError;
use crate::server::events::Event;
use crate::server::join_requests::JoinRequests;
use crate::server::membership_news::MembershipNews;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A member that has been dialled in vain for this long is tried at its other URL, if it has one.
const DETOUR_AFTER: Duration = Duration::from_secs(2);

/// The members, and the links to them.
#[derive(Debug)]
pub(super) struct Members {
    directory: Directory,
    links: BTreeMap<NodeId, Link>,
    clusters_met: ClustersMet,
    news: MembershipNews,
    /// Index of the entry that last settled the members.
    settled_index: LogIndex,
    /// The leader, if that entry removes it.
    leaving: Option<NodeId>,
    /// True if a member has said that this node has been removed. It then dials nobody.
    told_removed: bool,
    /// Until this node has heard from its leader: asks whether it is still a member.
    asking: Option<JoinRequests>,
    /// Until this node has heard from its leader: what is known of the connection to it.
    unfed: Option<Unfed>,
    /// For members that were dialled in vain: the URL at which they are dialled now.
    detours: BTreeMap<NodeId, Detour>,
}

/// Choice between two URLs of a member.
#[derive(Clone, Copy, Debug)]
struct Detour {
    /// True for the URL that is not tried first.
    is_taken: bool,
    /// Time of that decision, or of the member's last answer.
    since: Instant,
}

impl Members {
    /// Creates a list of members that is empty until the first [`Members::follow`].
    ///
    /// A node that has received nothing from its cluster may have been removed before it ever did, and then nobody
    /// dials it to say so. So it keeps asking. If it knows nobody to ask, it can only wait.
    pub(super) fn new(shell: &Shell, recovered: &Recovered) -> Self {
        let config = &shell.config;
        let (urls, wish) = match config.join.is_empty() {
            true => (config.peer_urls(), Wish::Return),
            false => (config.join.clone(), Wish::Join),
        };
        let asks = recovered.configurations.is_empty() && !urls.is_empty();
        let asking = asks.then(|| shell.ask_to_join(urls, wish, true));
        Self {
            directory: Directory::new(&shell.hello.borrow()),
            links: BTreeMap::new(),
            clusters_met: ClustersMet::default(),
            news: MembershipNews::default(),
            settled_index: LogIndex(0),
            leaving: None,
            told_removed: false,
            asking,
            unfed: recovered.configurations.is_empty().then(|| Unfed::new(Instant::now())),
            detours: BTreeMap::new(),
        }
    }

    /// Returns the names and addresses of the members.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the link to a node, if this one dials it.
    pub(super) fn link(&self, to: NodeId) -> Option<&Link> {
        self.links.get(&to)
    }

    /// Notes that a node that this one dialled as a member has introduced itself.
    ///
    /// # Errors
    /// [`FatalError::OtherCluster`] if this node turns out to have the data of another cluster than it is configured
    /// for.
    pub(super) fn met_as_member(&mut self, shell: &Shell, hello: &Hello) -> Result<(), FatalError> {
        self.met(shell, hello);
        if let Some(detour) = self.detours.get_mut(&hello.node_id()) {
            detour.since = Instant::now();
        }
        self.note_way(Unfed::met);
        let config = &shell.config;
        let (Some(own), Some(other)) = (shell.cluster(), hello.cluster) else { return Ok(()) };
        let is_configured = config.peers.iter().any(|peer| peer.name == hello.name);
        if other != own && is_configured && self.clusters_met.is_outvoted(&hello.name, config.peers.len()) {
            return Err(FatalError::OtherCluster(format!(
                "--data-dir {} holds data of cluster {}, but the nodes that --peers lists belong to cluster {}: point \
                 --data-dir to this node's own data, or list the nodes of its cluster in --peers",
                config.data_dir.display(),
                ClusterId(own),
                ClusterId(other)
            )));
        }
        Ok(())
    }

    /// Notes that a node has dialled this one.
    pub(super) fn dialled_by(&mut self, shell: &Shell, hello: &Hello) {
        if let Some(link) = self.links.get(&hello.node_id()) {
            link.redial();
        }
        if self.met(shell, hello) {
            self.note_way(Unfed::dialled);
            if self.directory.dialled_by(hello) {
                self.connect(shell);
            }
        }
    }

    /// Notes something about the connection to the leader, which matters until the leader's first message has arrived.
    fn note_way(&mut self, note: impl FnOnce(&mut Unfed)) {
        if let Some(unfed) = &mut self.unfed {
            note(unfed);
        }
    }

    /// Returns what this node waits for, if it has received nothing from its leader yet.
    pub(super) fn waits_for(&self, shell: &Shell) -> Option<String> {
        self.unfed.as_ref().map(|unfed| unfed.waits_for(&shell.config.peer_url))
    }

    /// Notes that the cluster has confirmed once more that this node is a member, although it has received nothing yet.
    pub(super) fn still_unfed(&mut self, shell: &Shell) {
        if let Some(unfed) = &mut self.unfed
            && unfed.is_due(Instant::now())
        {
            tracing::warn!("{}", unfed.waits_for(&shell.config.peer_url));
        }
    }

    /// Notes that a node has introduced itself, whichever of the two dialled. Returns whether it is of this node's
    /// cluster.
    fn met(&mut self, shell: &Shell, hello: &Hello) -> bool {
        let is_of_own_cluster = hello.is_of(shell.cluster());
        if is_of_own_cluster {
            self.clusters_met.met_own();
            if self.directory.heard(hello) {
                self.detours.remove(&hello.node_id());
                self.connect(shell);
            }
        }
        is_of_own_cluster
    }

    /// Notes that a member was dialled in vain. A member that has moved is reached at the URL it announced, or at the
    /// one in `--peers`, for example through an address that is translated on the way. The two are tried in turn.
    pub(super) fn missed(&mut self, shell: &Shell, id: NodeId, why: &str) {
        let name = self.directory.info(id).map_or_else(|| format!("node {id}"), |info| info.name.clone());
        self.note_way(|unfed| unfed.missed(&name, why));
        let now = Instant::now();
        let detour = *self.detours.entry(id).or_insert(Detour { is_taken: false, since: now });
        let listed = shell.config.peers.iter().find(|peer| peer.name == name);
        let is_elsewhere = |url: &str| self.directory.info(id).is_some_and(|info| info.peer_url != url);
        let has_two = self.directory.is_first_member(id) && listed.is_some_and(|peer| is_elsewhere(&peer.url));
        if has_two && now - detour.since >= DETOUR_AFTER {
            self.detours.insert(id, Detour { is_taken: !detour.is_taken, since: now });
        }
        // Its recorded URL may have changed while it was connected.
        self.connect(shell);
    }

    /// Notes that a node's process is gone.
    pub(super) fn lost(&mut self, shell: &Shell, id: NodeId) {
        if self.directory.lost(id) {
            self.connect(shell);
        }
    }

    /// Adopts the members that the replica knows.
    pub(super) fn follow(&mut self, shell: &Shell, raft: &Raft) {
        if self.directory.set_configuration(raft.configuration()) {
            self.asking = None;
            self.unfed = None;
            self.connect(shell);
        }
        if self.directory.has_leaving() {
            let fed: BTreeSet<NodeId> = raft.followers().iter().map(|progress| progress.follower).collect();
            if self.directory.retain_leaving(|id| fed.contains(&id) || raft.leader() == Some(id)) {
                self.connect(shell);
            }
        }
        // A removed leader is listened to until another node leads.
        let leaving = raft.leader().filter(|leader| raft.configuration().removed.contains(leader));
        if raft.are_members_settled() && (raft.configuration_index(), leaving) != (self.settled_index, self.leaving) {
            (self.settled_index, self.leaving) = (raft.configuration_index(), leaving);
            let removed = raft.configuration().removed.iter().copied().filter(|id| Some(*id) != leaving);
            shell.inbound.set_removed(removed);
            for line in self.news.settled(raft.configuration()) {
                tracing::info!("{line}");
            }
        }
    }

    /// Handles the removal of this node: it no longer dials anybody.
    pub(super) fn leave(&mut self, shell: &Shell) {
        self.told_removed = true;
        self.asking = None;
        self.links.clear();
        shell.publisher.dials(BTreeMap::new());
    }

    /// Opens links to members that are new or have moved, and closes links to removed members.
    fn connect(&mut self, shell: &Shell) {
        shell.publisher.members(self.directory.members());
        if self.told_removed {
            return;
        }
        let wanted: BTreeSet<NodeId> = self.directory.recipients().collect();
        self.links.retain(|id, _| wanted.contains(id));
        self.detours.retain(|id, _| wanted.contains(id));
        for id in wanted {
            let Some(info) = self.directory.info(id) else { continue };
            let configured = shell.config.peers.iter().find(|peer| peer.name == info.name);
            // A URL that a member announces is newer than this node's settings. A URL that it has announced from the
            // beginning is not: from here another address may be needed.
            let is_detour = self.detours.get(&id).is_some_and(|detour| detour.is_taken);
            let goes_by_flag = self.directory.is_first_member(id) && is_detour == self.directory.has_moved(id);
            let configured = configured.filter(|_| goes_by_flag);
            let url = configured.map_or(&info.peer_url, |peer| &peer.url);
            // If the log records another URL, the member stays connected at the present one until it has moved.
            let is_kept = |link: &Link| link.is_connected() && !self.directory.has_said_so(id);
            if self.links.get(&id).is_none_or(|link| link.peer_url() != url && !is_kept(link)) {
                let link = shell.open_link((&info.name, url), Some(id), move |found| Event::Member(id, found));
                self.links.insert(id, link);
            }
        }
        shell.publisher.dials(self.links.iter().map(|(id, link)| (*id, link.peer_url().to_owned())).collect());
    }
}
