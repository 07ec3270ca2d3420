//! Names and addresses: who the members are, and where they say they are reached.
//!
//! Consensus knows members by id; the configuration adds a name and the URLs it was formed with. A
//! node that was started again at other addresses says so when it introduces itself, and what it said
//! last counts.

use crate::peer::Hello;
use crate::raft::{Configuration, Goal, MemberInfo, NodeId};
use kvclient::api::{Member, MemberGoal, NodeUrl};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes that are no members as far as this node knows and that it answers all the same; the newest count.
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
    /// Members no more. The leader sends them messages until they have heard of it, and one that leads itself sees its
    /// own removal through, for which it needs the answers of the others.
    leaving: BTreeMap<NodeId, MemberInfo>,
    /// Nodes of this cluster that have dialled this one and are no members yet, as far as it knows: it may be far
    /// behind, or have no configuration yet, and whoever leads or stands for election needs its answers.
    guests: Vec<(NodeId, MemberInfo)>,
}

impl Directory {
    /// Knows this node, and no member yet.
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

    /// Takes over a configuration; whether it differs from the one before.
    pub(super) fn set_configuration(&mut self, configuration: &Configuration) -> bool {
        if self.configuration == *configuration {
            return false;
        }
        let is_member = |id: &NodeId| configuration.members.contains_key(id);
        let left: Vec<_> = self.configuration.members.keys().filter(|id| !is_member(id)).copied().collect();
        self.leaving.extend(left.into_iter().filter_map(|id| Some((id, self.info(id)?.clone()))).collect::<Vec<_>>());
        self.leaving.retain(|id, _| !is_member(id) && *id != self.own.0);
        self.guests.retain(|(id, _)| !is_member(id) && !configuration.removed.contains(id));
        // What the log records is newer than what a member has said before.
        let before = &self.configuration.members;
        let is_updated = |id: &NodeId| before.contains_key(id) && before.get(id) != configuration.members.get(id);
        self.heard.retain(|id, _| is_member(id) && !is_updated(id));
        if self.first.is_empty() {
            self.first = configuration.members.iter().map(|(id, info)| (*id, info.peer_url.clone())).collect();
        }
        self.configuration = configuration.clone();
        true
    }

    /// Whether there are members that left and may have to hear of it.
    pub(super) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Keeps those who left for as long as there is something to say to them; whether anyone went.
    pub(super) fn retain_leaving(&mut self, is_sent: impl Fn(NodeId) -> bool) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|id, _| is_sent(*id));
        self.leaving.len() < before
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

    /// A node of this cluster has dialled this one; whether it is a guest whom this node did not know so far.
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

    /// The member of this name: of several, as while a node's new life takes the place of its old one, a voter.
    pub(super) fn id(&self, name: &str) -> Option<NodeId> {
        let of_name = |id: &NodeId| self.configuration.members[id].name == name;
        self.configuration.everyone().filter(of_name).max_by_key(|id| self.configuration.is_voter(*id))
    }

    /// The process of a node is gone; whether it was a guest, who is forgotten until it dials again.
    pub(super) fn lost(&mut self, id: NodeId) -> bool {
        let before = self.guests.len();
        self.guests.retain(|(guest, _)| *guest != id);
        self.guests.len() < before
    }

    /// Everyone whom this node may have to send messages. Under its own name there is none but an earlier life of its
    /// own.
    pub(super) fn recipients(&self) -> impl Iterator<Item = NodeId> + '_ {
        let (own, MemberInfo { name, .. }) = &self.own;
        let members = self.configuration.members.iter().filter(move |(_, info)| info.name != *name);
        let ids = members.map(|(id, _)| *id).chain(self.leaving.keys().copied());
        ids.chain(self.guests.iter().map(|(id, _)| *id)).filter(move |id| id != own)
    }

    /// Whether a member is at another URL than when this node started: it has said so, or the log records it.
    pub(super) fn has_moved(&self, id: NodeId) -> bool {
        let (first, now) = (self.first.get(&id), self.info(id));
        first.is_some_and(|first| now.is_some_and(|now| now.peer_url != *first))
    }

    /// Whether the member itself has said, since this node started, that it is not where the configuration has it.
    pub(super) fn has_said_so(&self, id: NodeId) -> bool {
        self.heard.contains_key(&id)
    }

    /// Whether `--peers` says where this node is dialled, unless it has moved: those who joined later are where they say.
    pub(super) fn is_first_member(&self, id: NodeId) -> bool {
        self.first.contains_key(&id)
    }

    /// What is known of a member, or of another node that this one has to do with.
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

    /// A member as clients are told of it.
    pub(super) fn node_url(&self, id: NodeId) -> Option<NodeUrl> {
        self.info(id).map(|info| NodeUrl { id: info.name.clone(), url: info.client_url.clone() })
    }

    /// All members, in the order of their names.
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
        // Of two lives of one node the one that counts comes first.
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
        // A node that is started then knows no other URL.
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
