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
#[derive(Debug)]
pub(super) struct Directory {
    own: (NodeId, MemberInfo),
    configuration: Configuration,
    /// Members that have introduced themselves since this node started.
    heard: BTreeMap<NodeId, MemberInfo>,
}

impl Directory {
    /// Knows this node, and no member yet.
    pub(super) fn new(own: &Hello) -> Self {
        let own = (own.node_id(), own.info());
        Self { own, configuration: Configuration::default(), heard: BTreeMap::new() }
    }

    /// Takes over a configuration; whether it differs from the one before.
    pub(super) fn set_configuration(&mut self, configuration: &Configuration) -> bool {
        let changed = self.configuration != *configuration;
        if changed {
            self.configuration = configuration.clone();
            self.heard.retain(|id, _| configuration.members.contains_key(id));
        }
        changed
    }

    /// A node of this cluster has introduced itself; whether that was news. What others say than members
    /// under their own names is not kept.
    pub(super) fn heard(&mut self, hello: &Hello) -> bool {
        let id = hello.node_id();
        let is_member = self.configuration.members.get(&id).is_some_and(|member| member.name == hello.name);
        if !is_member || self.info(id) == Some(&hello.info()) {
            return false;
        }
        self.heard.insert(id, hello.info());
        true
    }

    /// All members.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.configuration.everyone()
    }

    /// The member of this name: of several, as while a node's new life takes the place of its old one, a voter.
    pub(super) fn id(&self, name: &str) -> Option<NodeId> {
        let of_name = |id: &NodeId| self.configuration.members[id].name == name;
        self.configuration.everyone().filter(of_name).max_by_key(|id| self.configuration.is_voter(*id))
    }

    /// What is known of a member.
    pub(super) fn info(&self, id: NodeId) -> Option<&MemberInfo> {
        let configured = self.configuration.members.get(&id)?;
        let (own_id, own) = &self.own;
        Some(if id == *own_id { own } else { self.heard.get(&id).unwrap_or(configured) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PROTOCOL_VERSION;

    fn hello(name: &str, node: u64, url: &str) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            version: "0.1.0".into(),
            name: name.into(),
            node,
            client_url: url.into(),
            peer_url: url.into(),
            cluster: Some(7),
            founders: Vec::new(),
        }
    }

    #[test]
    fn what_a_member_said_last_counts_and_strangers_are_not_kept() {
        let founders = [hello("n1", 1, "http://a"), hello("n2", 2, "http://b")];
        let configuration = Configuration::of_voters(founders.each_ref().map(|hello| (hello.node_id(), hello.info())));
        let mut directory = Directory::new(&hello("n1", 1, "http://own"));
        assert!(directory.set_configuration(&configuration));
        assert!(!directory.heard(&founders[1]), "no news");
        assert!(directory.heard(&hello("n2", 2, "http://new")));
        assert!(!directory.heard(&hello("n2", 2, "http://new")), "no news");
        assert!(!directory.heard(&hello("n3", 3, "http://c")), "no member");
        assert!(!directory.heard(&hello("n3", 2, "http://c")), "another's id");
        let url = |id: u64| directory.node_url(NodeId(id)).map(|node| node.url);
        assert_eq!([directory.id("n2"), directory.id("n3")], [Some(NodeId(2)), None]);
        assert_eq!([url(1), url(2), url(3)], [Some("http://own".into()), Some("http://new".into()), None]);
    }
}
