//! Names and addresses: who the members are, and where they say they are reached.
//!
//! Consensus knows members by id; the configuration adds a name and the URLs it was formed with. A
//! node that was started again at other addresses says so when it introduces itself, and what it said
//! last counts.

use crate::peer::Hello;
use crate::raft::{Configuration, MemberInfo, NodeId};
use kvclient::api::{Member, NodeUrl};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The members as this node knows them.
#[derive(Debug, Default)]
pub(super) struct Directory {
    configuration: Configuration,
    /// Who has introduced itself since this node started, and itself.
    heard: BTreeMap<NodeId, MemberInfo>,
}

impl Directory {
    /// Takes over a configuration; whether it differs from the one before.
    pub(super) fn set_configuration(&mut self, configuration: &Configuration) -> bool {
        let changed = self.configuration != *configuration;
        if changed {
            self.configuration = configuration.clone();
        }
        changed
    }

    /// A node of this cluster has introduced itself; whether that was news.
    pub(super) fn heard(&mut self, hello: &Hello) -> bool {
        let info = MemberInfo {
            name: hello.name.clone(),
            client_url: hello.client_url.clone(),
            peer_url: hello.peer_url.clone(),
        };
        self.heard.insert(hello.node_id(), info.clone()) != Some(info)
    }

    /// All members.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.configuration.everyone()
    }

    /// What is known of a member.
    pub(super) fn info(&self, id: NodeId) -> Option<&MemberInfo> {
        let configured = self.configuration.members.get(&id)?;
        Some(self.heard.get(&id).unwrap_or(configured))
    }

    /// A member as clients are told of it.
    pub(super) fn node_url(&self, id: NodeId) -> Option<NodeUrl> {
        self.info(id).map(|info| NodeUrl { id: info.name.clone(), url: info.client_url.clone() })
    }

    /// All members, in the order of their names.
    pub(super) fn members(&self) -> Arc<[Member]> {
        let member = |id: NodeId| {
            let info = self.info(id)?.clone();
            let voter = self.configuration.is_voter(id);
            Some(Member { id: info.name, client_url: info.client_url, peer_url: info.peer_url, voter })
        };
        let mut members: Vec<_> = self.configuration.everyone().filter_map(member).collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.into()
    }
}
