//! What follows from who the members are: whom this node dials and whom it refuses, what it logs, and that it is
//! perhaps no member any more.

use super::{ReadReply, ReplicaTask, WriteReply};
use crate::http::Request;
use crate::node::Replica;
use crate::peer::Hello;
use crate::raft::{NodeId, Raft, RoleName};
use crate::server::inbox::Event;
use std::collections::{BTreeMap, BTreeSet};

impl ReplicaTask {
    /// A node has introduced itself, whoever dialled.
    pub(super) fn met(&mut self, hello: &Hello) {
        if hello.cluster.is_some() && hello.cluster == self.cluster() {
            self.clusters_met.own = true;
            if self.directory.heard(hello) {
                self.connect_members();
            }
        }
    }

    /// A node has dialled this one.
    pub(super) fn dialled_by(&mut self, hello: &Hello) {
        let is_of_own_cluster = hello.cluster.is_some() && hello.cluster == self.cluster();
        if is_of_own_cluster && self.directory.dialled_by(hello) {
            self.connect_members();
        }
    }

    /// Takes over the members as they are now.
    pub(super) fn follow_members(&mut self, raft: &Raft) {
        if self.directory.set_configuration(raft.configuration()) {
            self.asking = None;
            self.connect_members();
        }
        if self.directory.has_leaving() {
            let fed: BTreeSet<NodeId> = raft.followers().iter().map(|progress| progress.follower).collect();
            if self.directory.retain_leaving(|id| fed.contains(&id) || raft.leader() == Some(id)) {
                self.connect_members();
            }
        }
        // A leader that was removed is heard until another has taken over.
        let leaving = raft.leader().filter(|leader| raft.configuration().removed.contains(leader));
        if raft.are_members_settled() && (raft.configuration_index(), leaving) != (self.settled_index, self.leaving) {
            (self.settled_index, self.leaving) = (raft.configuration_index(), leaving);
            let removed = raft.configuration().removed.iter().copied().filter(|id| Some(*id) != leaving);
            self.inbound.set_removed(removed);
            for line in self.membership_news.settled(raft.configuration()) {
                tracing::info!("{line}");
            }
        }
    }

    /// A member says that this node is none any more.
    pub(super) fn told_removed(&mut self, replica: &mut Replica<WriteReply, ReadReply>) {
        replica.told_removed();
        // A leader has yet to tell the others that its removal is committed.
        if replica.raft().role() != RoleName::Leader {
            self.told_removed = true;
            self.asking = None;
            self.links.clear();
            self.dialled.send_replace(BTreeMap::new());
        }
    }

    /// Whether this node cannot serve a request, since it is no member any more, or has nothing yet of its cluster.
    pub(super) fn must_refuse(replica: &Replica<WriteReply, ReadReply>, request: &Request) -> bool {
        let raft = replica.raft();
        match request {
            // What a node has that was removed may be the last there is.
            Request::Backup { .. } => raft.configuration().members.is_empty(),
            Request::Write { .. } | Request::Read { .. } | Request::ChangeMembers { .. } | Request::HandOver { .. } => {
                raft.role() != RoleName::Leader && raft.is_removed()
            }
        }
    }

    /// Opens links to members that are new or have moved, and closes those to members that left.
    pub(super) fn connect_members(&mut self) {
        self.publisher.members(self.directory.members());
        if self.told_removed {
            return;
        }
        let wanted: BTreeSet<NodeId> = self.directory.recipients().collect();
        self.links.retain(|id, _| wanted.contains(id));
        for id in wanted {
            let Some(info) = self.directory.info(id) else { continue };
            let configured = self.config.peers.iter().find(|peer| peer.name == info.name);
            let configured = configured.filter(|_| self.directory.is_first_member(id));
            let url = configured.map_or(&info.peer_url, |peer| &peer.url);
            if self.links.get(&id).is_none_or(|link| link.peer_url() != url) {
                let link = self.open_link((&info.name, url), Some(id), move |found| Event::Member(id, found));
                self.links.insert(id, link);
            }
        }
        self.dialled.send_replace(self.links.iter().map(|(id, link)| (*id, link.peer_url().to_owned())).collect());
    }
}
