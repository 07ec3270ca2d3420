//! Names and addresses of the members.
//!
//! Consensus knows members by id; the configuration adds a name and the URLs that the member was recorded with. A node
//! that was restarted at other addresses announces them when it introduces itself. The newest announcement counts.

use crate::peer::Hello;
use crate::raft::{Configuration, Goal, MemberInfo, NodeId};
use kvclient::api::{Member, MemberGoal, NodeUrl};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Maximum number of guests: nodes that this node answers although it does not know them as members. The newest ones
/// are kept.
const GUESTS_MAX: usize = 16;

/// The members as this node knows them.
#[derive(Debug)]
pub(super) struct Directory {
    own: (NodeId, MemberInfo),
    configuration: Configuration,
    /// Members that have introduced themselves since this node started.
    heard: BTreeMap<NodeId, MemberInfo>,
    /// The members when this node first knew any, and their peer URLs then.
    first: BTreeMap<NodeId, String>,
    /// Removed members. The leader sends them messages until they have heard of their removal. A leader that removes
    /// itself completes its own removal, for which it needs the other members' answers.
    leaving: BTreeMap<NodeId, MemberInfo>,
    /// Nodes of this cluster that have dialled this one and that it does not know as members. This node may be far
    /// behind, or have no configuration yet, and a leader or candidate needs its answers.
    guests: Vec<(NodeId, MemberInfo)>,
}

impl Directory {
    /// Creates a directory that knows only this node, and no member yet.
    pub(super) fn new(own: &Hello) -> Self {
        Self {
            own: (own.node_id(), own.info()),
            configuration: Configuration::default(),
            heard: BTreeMap::new(),
            first: BTreeMap::new(),
            leaving: BTreeMap::new(),
            guests: Vec::new(),
        }
    }

    /// Adopts a configuration. Returns whether it differs from the previous one.
    pub(super) fn set_configuration(&mut self, configuration: &Configuration) -> bool {
        if self.configuration == *configuration {
            return false;
        }
        let is_member = |id: &NodeId| configuration.members.contains_key(id);
        let left: Vec<_> = self.configuration.members.keys().filter(|id| !is_member(id)).copied().collect();
        self.leaving.extend(left.into_iter().filter_map(|id| Some((id, self.info(id)?.clone()))).collect::<Vec<_>>());
        self.leaving.retain(|id, _| !is_member(id) && *id != self.own.0);
        self.guests.retain(|(id, _)| !is_member(id) && !configuration.removed.contains(id));
        // The log's record is newer than anything a member has announced before.
        let before = &self.configuration.members;
        let is_updated = |id: &NodeId| before.contains_key(id) && before.get(id) != configuration.members.get(id);
        self.heard.retain(|id, _| is_member(id) && !is_updated(id));
        if self.first.is_empty() {
            self.first = configuration.members.iter().map(|(id, info)| (*id, info.peer_url.clone())).collect();
        }
        self.configuration = configuration.clone();
        true
    }

    /// Returns whether there are removed members that may still have to hear of their removal.
    pub(super) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Keeps removed members only while `is_sent` holds for them. Returns whether any was dropped.
    pub(super) fn retain_leaving(&mut self, is_sent: impl Fn(NodeId) -> bool) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|id, _| is_sent(*id));
        self.leaving.len() < before
    }

    /// Notes that a node of this cluster has introduced itself. Returns whether that was news. Only what members
    /// announce under their own names is kept.
    pub(super) fn heard(&mut self, hello: &Hello) -> bool {
        let id = hello.node_id();
        let is_member = self.configuration.members.get(&id).is_some_and(|member| member.name == hello.name);
        if !is_member || self.info(id) == Some(&hello.info()) {
            return false;
        }
        self.heard.insert(id, hello.info());
        true
    }

    /// Notes that a node of this cluster has dialled this one. Returns whether it is a new guest.
    pub(super) fn dialled_by(&mut self, hello: &Hello) -> bool {
        let (id, info) = (hello.node_id(), hello.info());
        let is_known = self.configuration.members.contains_key(&id) || self.configuration.removed.contains(&id);
        if is_known || id == self.own.0 || self.guests.contains(&(id, info.clone())) {
            return false;
        }
        self.guests.retain(|(guest, _)| *guest != id);
        self.guests.push((id, info));
        let excess = self.guests.len().saturating_sub(GUESTS_MAX);
        self.guests.drain(..excess);
        true
    }

    /// Returns the member of this name. If there are several, as while a node's new incarnation replaces its old one,
    /// returns a voter.
    pub(super) fn id(&self, name: &str) -> Option<NodeId> {
        let of_name = |id: &NodeId| self.configuration.members[id].name == name;
        self.configuration.everyone().filter(of_name).max_by_key(|id| self.configuration.is_voter(*id))
    }

    /// Notes that a node's process is gone. Returns whether it was a guest; a guest is forgotten until it dials again.
    pub(super) fn lost(&mut self, id: NodeId) -> bool {
        let before = self.guests.len();
        self.guests.retain(|(guest, _)| *guest != id);
        self.guests.len() < before
    }

    /// Returns every node that this one may have to send messages to. Another node under its own name can only be an
    /// earlier incarnation of itself, and is left out.
    pub(super) fn recipients(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (own, MemberInfo { name, .. }) = &self.own;
        let members = self.configuration.members.iter().filter(move |(_, info)| info.name != *name);
        let ids = members.map(|(id, _)| *id).chain(self.leaving.keys().copied());
        ids.chain(self.guests.iter().map(|(id, _)| *id)).filter(move |id| id != own)
    }

    /// Returns whether a member's URL has changed since this node started, by its own announcement or by a record in
    /// the log.
    pub(super) fn has_moved(&self, id: NodeId) -> bool {
        let (first, now) = (self.first.get(&id), self.info(id));
        first.is_some_and(|first| now.is_some_and(|now| now.peer_url != *first))
    }

    /// Returns whether the member itself has announced, since this node started, other URLs than the configuration has.
    pub(super) fn has_said_so(&self, id: NodeId) -> bool {
        self.heard.contains_key(&id)
    }

    /// Returns whether `--peers` determines where this member is dialled, unless it has moved. Members that joined
    /// later are dialled at the URLs they announced.
    pub(super) fn is_first_member(&self, id: NodeId) -> bool {
        self.first.contains_key(&id)
    }

    /// Returns what is known of a member, a removed member or a guest.
    pub(super) fn info(&self, id: NodeId) -> Option<&MemberInfo> {
        if id == self.own.0 {
            return Some(&self.own.1);
        }
        let guest = || self.guests.iter().find(|(guest, _)| *guest == id).map(|(_, info)| info);
        match self.configuration.members.get(&id) {
            Some(configured) => Some(self.heard.get(&id).unwrap_or(configured)),
            None => self.leaving.get(&id).or_else(guest),
        }
    }

    /// Returns a member's name and URL as clients see them.
    pub(super) fn node_url(&self, id: NodeId) -> Option<NodeUrl> {
        self.info(id).map(|info| NodeUrl { id: info.name.clone(), url: info.client_url.clone() })
    }

    /// Returns all members, sorted by name.
    pub(super) fn members(&self) -> Arc<[Member]> {
        let member = |id: NodeId| {
            let MemberInfo { name, client_url, peer_url } = self.info(id)?.clone();
            let goal = self.configuration.learners.get(&id).map(|goal| match goal {
                Goal::Learner => MemberGoal::Learner,
                Goal::Voter => MemberGoal::Voter,
                Goal::Replace(_) => MemberGoal::Replace,
            });
            let voter = self.configuration.is_voter(id);
            Some(Member { id: name, client_url, peer_url, voter, goal, node: id.to_string() })
        };
        let mut members: Vec<_> = self.configuration.everyone().filter_map(member).collect();
        // Of two incarnations of one node, the voter comes first.
        members.sort_by(|a, b| (&a.id, !a.voter).cmp(&(&b.id, !b.voter)));
        members.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(name: &str, node: u64, url: &str) -> Hello {
        Hello { client_url: url.into(), peer_url: url.into(), ..Hello::of_member(name, node) }
    }

    #[test]
    fn what_a_member_said_last_counts_and_strangers_are_not_kept() {
        let founders = [hello("n1", 1, "http://a"), hello("n2", 2, "http://b")];
        let configuration = Configuration::of_voters(founders.each_ref().map(|hello| (hello.node_id(), hello.info())));
        let mut directory = Directory::new(&hello("n1", 1, "http://own"));
        assert!(directory.set_configuration(&configuration));
        assert!(!directory.heard(&founders[1]), "no news");
        assert!(!directory.has_moved(NodeId(2)));
        assert!(directory.heard(&hello("n2", 2, "http://new")));
        assert!(directory.has_moved(NodeId(2)));
        assert!(!directory.heard(&hello("n2", 2, "http://new")), "no news");
        assert!(!directory.heard(&hello("n3", 3, "http://c")), "no member");
        assert!(!directory.heard(&hello("n3", 2, "http://c")), "another's id");
        let url = |id: u64| directory.node_url(NodeId(id)).map(|node| node.url);
        assert_eq!([directory.id("n2"), directory.id("n3")], [Some(NodeId(2)), None]);
        assert_eq!([url(1), url(2), url(3)], [Some("http://own".into()), Some("http://new".into()), None]);
    }

    #[test]
    fn what_the_log_records_is_newer_than_what_a_member_has_said_and_older_than_what_it_says_next() {
        let founders = [hello("n1", 1, "http://a"), hello("n2", 2, "http://b")];
        let mut configuration =
            Configuration::of_voters(founders.each_ref().map(|hello| (hello.node_id(), hello.info())));
        let mut directory = Directory::new(&founders[0]);
        directory.set_configuration(&configuration);
        assert!(directory.heard(&hello("n2", 2, "http://c")) && directory.has_said_so(NodeId(2)));
        configuration.members.get_mut(&NodeId(2)).expect("a member").peer_url = "http://d".into();
        assert!(directory.set_configuration(&configuration));
        let url = |directory: &Directory| directory.info(NodeId(2)).expect("a member").peer_url.clone();
        assert_eq!((url(&directory).as_str(), directory.has_moved(NodeId(2))), ("http://d", true));
        assert!(!directory.has_said_so(NodeId(2)), "it has yet to move");
        assert!(directory.heard(&hello("n2", 2, "http://e")));
        assert_eq!(url(&directory), "http://e");
        // A node started from here on knows no other URL.
        let mut later = Directory::new(&founders[0]);
        later.set_configuration(&configuration);
        assert_eq!((url(&later).as_str(), later.has_moved(NodeId(2))), ("http://d", false));
    }

    fn configuration(ids: &[u64]) -> Configuration {
        let info = |id: u64| hello(&format!("n{id}"), id, "http://a").info();
        Configuration::of_voters(ids.iter().map(|id| (NodeId(*id), info(*id))))
    }

    fn recipients(directory: &Directory) -> Vec<u64> {
        directory.recipients().map(|id| id.0).collect()
    }

    #[test]
    fn who_leaves_is_sent_messages_until_it_has_heard_of_it() {
        let mut directory = Directory::new(&hello("n1", 1, "http://a"));
        directory.set_configuration(&configuration(&[1, 2, 3]));
        directory.set_configuration(&configuration(&[1, 2]));
        assert_eq!(recipients(&directory), [2, 3]);
        assert!(directory.info(NodeId(3)).is_some() && directory.has_leaving());
        assert!(!directory.retain_leaving(|_| true));
        assert!(directory.retain_leaving(|_| false));
        assert_eq!(recipients(&directory), [2]);
        assert!(directory.is_first_member(NodeId(3)) && !directory.is_first_member(NodeId(4)));
    }

    #[test]
    fn who_dials_is_answered_until_it_is_a_member_or_gone() {
        let mut directory = Directory::new(&hello("n1", 1, "http://a"));
        assert!(directory.dialled_by(&hello("n2", 2, "http://b")));
        assert!(!directory.dialled_by(&hello("n2", 2, "http://b")), "no news");
        assert!(directory.dialled_by(&hello("n2", 2, "http://c")), "elsewhere");
        assert!(!directory.dialled_by(&hello("n1", 1, "http://a")), "itself");
        assert!(directory.dialled_by(&hello("n9", 9, "http://d")));
        assert_eq!(directory.info(NodeId(2)).map(|info| info.peer_url.as_str()), Some("http://c"));
        let of_removed = Configuration { removed: vec![NodeId(8)], ..configuration(&[1, 2]) };
        directory.set_configuration(&of_removed);
        assert_eq!(recipients(&directory), [2, 9]);
        assert!(!directory.dialled_by(&hello("n2", 2, "http://b")), "a member");
        assert!(!directory.dialled_by(&hello("n8", 8, "http://b")), "removed");
        assert!(directory.lost(NodeId(9)) && !directory.lost(NodeId(2)));
        for id in 100..200 {
            assert!(directory.dialled_by(&hello("guest", id, "http://b")));
        }
        assert_eq!(recipients(&directory).len(), 1 + GUESTS_MAX, "strangers are not kept without end");
    }

    #[test]
    fn two_lives_of_a_node_are_two_members_and_none_dials_the_other() {
        let mut both = configuration(&[1, 2, 3]);
        both.members.insert(NodeId(22), hello("n2", 22, "http://a").info());
        both.learners.insert(NodeId(22), Goal::Replace(NodeId(2)));
        let mut directory = Directory::new(&hello("n2", 22, "http://a"));
        directory.set_configuration(&both);
        assert_eq!(recipients(&directory), [1, 3]);
        let members = directory.members();
        let members: Vec<_> = members.iter().map(|member| (member.id.as_str(), member.voter, member.goal)).collect();
        assert_eq!(members[1..3], [("n2", true, None), ("n2", false, Some(MemberGoal::Replace))]);
    }
}
