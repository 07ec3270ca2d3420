//! Forming a cluster: which nodes found it, agreed on without a leader.
//!
//! A node with an empty data directory and configured peers waits until it knows the founders: their
//! names, ids and addresses. One node fixes them, the first by name, once it has met every other; the
//! others take them from it, or from another that has. So there is one founding configuration, whoever
//! was started again meanwhile, under another id or at another address.
//!
//! The first counts only those whom it has dialled itself and who were there when it last did: then it
//! spoke to the process that is there now. Until it has written down who the founders are, nobody acts
//! on them, so it may itself be started again and fix others.
//!
//! A node whose peers have formed a cluster under whose founders is none with its id has no data of it: it lost its
//! disk, or had none. It must not pretend to be the node that it was, for that one has voted and acknowledged. It is
//! another one, with a new id, and returns: it asks to take the place that the earlier life of its name has among the
//! members.

use crate::peer::{ClusterId, Founder, Hello, founding_configuration};
use crate::storage::ClusterIdentity;
use std::collections::{BTreeMap, BTreeSet};

/// What a forming node knows of its peers.
#[derive(Debug)]
pub(super) struct Forming {
    own: Founder,
    peers: BTreeMap<String, Peer>,
    /// Why it has not returned yet.
    not_returned: Option<String>,
}

#[derive(Debug)]
enum Peer {
    /// Not met, or gone again; why, once that is known.
    Missing(Option<String>),
    /// Forming too.
    Met(Founder),
    /// Belongs to a cluster that this node, by its id, is no founder of.
    Elsewhere,
    /// Belongs to a cluster of other founders than configured.
    OtherFounders(String),
    /// Answers under another name.
    Misnamed(String),
}

impl Forming {
    /// This node, and the names of the others.
    pub(super) fn new(own: Founder, peers: impl IntoIterator<Item = String>) -> Self {
        Self { own, peers: peers.into_iter().map(|name| (name, Peer::Missing(None))).collect(), not_returned: None }
    }

    /// The founders, if this node alone is all of them.
    pub(super) fn founders_if_alone(&self) -> Option<Vec<Founder>> {
        self.peers.is_empty().then(|| vec![self.own.clone()])
    }

    /// The node that was dialled as `name` has introduced itself. Returns the founders, in the order of
    /// their names, once they are known.
    pub(super) fn met(&mut self, name: &str, hello: &Hello) -> Option<Vec<Founder>> {
        let peer = self.peers.get_mut(name)?;
        if hello.name != name {
            *peer = Peer::Misnamed(hello.name.clone());
            return None;
        }
        if hello.cluster.is_some() {
            return self.met_member(hello);
        }
        *peer = Peer::Met(hello.as_founder());
        if self.first() != self.own.info.name {
            return None;
        }
        let met = self.peers.values().map(|peer| match peer {
            Peer::Met(founder) => Some(founder.clone()),
            Peer::Missing(_) | Peer::Elsewhere | Peer::OtherFounders(_) | Peer::Misnamed(_) => None,
        });
        let mut founders: Vec<Founder> = met.chain([Some(self.own.clone())]).collect::<Option<_>>()?;
        founders.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        Some(founders)
    }

    /// A node that is part of a cluster has introduced itself, whoever dialled. Returns the founders, if
    /// this node is one of them.
    pub(super) fn met_member(&mut self, hello: &Hello) -> Option<Vec<Founder>> {
        let peer = self.peers.get_mut(&hello.name)?;
        let namesake = hello.founders.iter().find(|founder| founder.info.name == self.own.info.name);
        if namesake.is_none_or(|namesake| namesake.node != self.own.node) {
            *peer = Peer::Elsewhere;
            return None;
        }
        let id = ClusterId::of_founders(&founding_configuration(&hello.founders)).0;
        let founders: BTreeSet<&str> = hello.founders.iter().map(|founder| founder.info.name.as_str()).collect();
        let expected: BTreeSet<&str> = self.names().collect();
        if hello.cluster != Some(id) || founders != expected {
            let founders = founders.into_iter().collect::<Vec<_>>().join(", ");
            self.peers.insert(hello.name.clone(), Peer::OtherFounders(founders));
            return None;
        }
        Some(hello.founders.clone())
    }

    /// The node that is configured as `name` was dialled in vain.
    pub(super) fn missed(&mut self, name: &str, why: String) {
        if let Some(peer) = self.peers.get_mut(name) {
            *peer = Peer::Missing(Some(why));
        }
    }

    /// Whether a cluster exists that this node is no founder of, so that it should ask for the place of its earlier
    /// life.
    pub(super) fn is_to_return(&self) -> bool {
        self.peers.values().any(|peer| matches!(peer, Peer::Elsewhere))
    }

    /// The node has the place of its earlier life in this cluster. Returns whether it is the one that it was to be part
    /// of: at the next start, a cluster of other founders than configured would be refused.
    pub(super) fn returned(&mut self, cluster: &ClusterIdentity) -> bool {
        let founders: BTreeSet<&str> = cluster.first_members.iter().map(String::as_str).collect();
        let is_expected = self.names().collect::<BTreeSet<_>>() == founders;
        if !is_expected {
            self.not_returned = Some(format!(
                "the cluster was formed by {}, and --peers lists other nodes: check --peers, or use --join instead",
                cluster.first_members.join(", ")
            ));
        }
        is_expected
    }

    /// The node has not got the place of its earlier life; why, as a sentence.
    pub(super) fn not_returned(&mut self, why: String) {
        self.not_returned = Some(why);
    }

    /// Whether this is what the node has said when it was dialled.
    pub(super) fn has_met(&self, hello: &Hello) -> bool {
        matches!(self.peers.get(&hello.name), Some(Peer::Met(founder)) if *founder == hello.as_founder())
    }

    /// Names of all nodes that are to found the cluster.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.peers.keys().map(String::as_str).chain([self.own.info.name.as_str()])
    }

    /// The node that fixes the founders.
    fn first(&self) -> &str {
        self.names().min().unwrap_or_default()
    }

    /// What the node waits for, as a sentence.
    pub(super) fn waiting_for(&self) -> String {
        let mut missing = Vec::new();
        let mut elsewhere = Vec::new();
        let mut sentences = Vec::new();
        for (name, peer) in &self.peers {
            match peer {
                Peer::Missing(None) => missing.push(name.clone()),
                Peer::Missing(Some(why)) => missing.push(format!("{name} ({why})")),
                Peer::Met(_) => {}
                Peer::Elsewhere => elsewhere.push(name.as_str()),
                Peer::OtherFounders(founders) => sentences.push(format!(
                    "{name} belongs to a cluster of {founders}, and --peers lists other nodes: check --peers"
                )),
                Peer::Misnamed(actual) => {
                    sentences.push(format!("--peers says {name}, but the node at its URL is called {actual}"));
                }
            }
        }
        if !elsewhere.is_empty() {
            let own = &self.own.info.name;
            let why = self.not_returned.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            sentences.push(format!(
                "to return to the cluster that {} belongs to: this node has no data of it, so it asks to replace the member \
                 called {own}, and will be sent everything{why}",
                elsewhere.join(", ")
            ));
        } else if !missing.is_empty() {
            sentences.insert(0, format!("to form a cluster it has yet to hear from {}", missing.join(", ")));
        }
        if sentences.is_empty() {
            sentences.push(format!("it has heard from all, and {} has yet to form the cluster", self.first()));
        }
        sentences.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{PROTOCOL_VERSION, PROTOCOL_VERSION_MIN};

    fn hello(name: &str, node: u64) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            protocol_min: PROTOCOL_VERSION_MIN,
            version: "0.1.0".into(),
            name: name.into(),
            node,
            client_url: format!("http://{name}"),
            peer_url: format!("http://{name}"),
            cluster: None,
            founders: Vec::new(),
        }
    }

    fn formed(name: &str, node: u64, founders: &[Hello]) -> Hello {
        let founders: Vec<_> = founders.iter().map(Hello::as_founder).collect();
        let cluster = Some(ClusterId::of_founders(&founding_configuration(&founders)).0);
        Hello { cluster, founders, ..hello(name, node) }
    }

    fn forming(node: u64) -> Forming {
        Forming::new(hello("n1", node).as_founder(), ["n2".into(), "n3".into()])
    }

    #[test]
    fn the_first_fixes_the_founders_and_the_others_take_them_from_it() {
        let hellos = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let mut first = forming(11);
        assert_eq!(first.met("n3", &hellos[2]), None);
        let founders = first.met("n2", &hellos[1]).expect("met everyone");
        assert_eq!(founders, hellos.each_ref().map(Hello::as_founder));

        let mut second = Forming::new(hellos[1].as_founder(), ["n1".into(), "n3".into()]);
        assert_eq!(second.met("n1", &hellos[0]), None);
        assert_eq!(second.met("n3", &hellos[2]), None);
        assert_eq!(second.waiting_for(), "it has heard from all, and n1 has yet to form the cluster");
        assert_eq!(second.met("n1", &formed("n1", 11, &hellos)), Some(founders.clone()));
        assert_eq!(second.met_member(&formed("n3", 33, &hellos)), Some(founders), "or from another");
    }

    #[test]
    fn who_was_started_again_meanwhile_counts_as_it_is_now() {
        let mut first = forming(11);
        assert_eq!(first.met("n2", &hello("n2", 22)), None);
        assert!(first.has_met(&hello("n2", 22)) && !first.has_met(&hello("n2", 23)));
        let moved = Hello { client_url: "http://elsewhere".into(), ..hello("n2", 23) };
        assert_eq!(first.met("n2", &moved), None);
        let founders = first.met("n3", &hello("n3", 33)).expect("met everyone");
        assert_eq!(founders[1], moved.as_founder());
    }

    #[test]
    fn who_is_gone_again_is_waited_for() {
        let mut first = forming(11);
        assert_eq!(first.met("n2", &hello("n2", 22)), None);
        first.missed("n2", "connection refused at http://n2".into());
        assert_eq!(first.met("n3", &hello("n3", 33)), None);
        let expected = "to form a cluster it has yet to hear from n2 (connection refused at http://n2)";
        assert_eq!(first.waiting_for(), expected);
        assert!(first.met("n2", &hello("n2", 23)).is_some());
    }

    #[test]
    fn a_cluster_of_other_founders_is_not_joined() {
        let two = [hello("n1", 11), hello("n2", 22)];
        let mut forming = forming(11);
        assert_eq!(forming.met("n2", &formed("n2", 22, &two)), None);
        assert!(forming.waiting_for().contains("n2 belongs to a cluster of n1, n2, and"), "{}", forming.waiting_for());
        let three = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let forged = Hello { cluster: Some(1), ..formed("n2", 22, &three) };
        assert_eq!(forming.met("n2", &forged), None, "the id of the cluster follows from its founders");
    }

    #[test]
    fn it_says_whom_it_waits_for() {
        let mut forming = forming(11);
        assert_eq!(forming.waiting_for(), "to form a cluster it has yet to hear from n2, n3");
        assert_eq!(forming.met("n3", &hello("n3", 33)), None);
        assert_eq!(forming.waiting_for(), "to form a cluster it has yet to hear from n2");
        assert_eq!(forming.met("n2", &hello("n9", 9)), None);
        assert_eq!(forming.waiting_for(), "--peers says n2, but the node at its URL is called n9");
    }

    #[test]
    fn a_late_founder_takes_the_founders_from_one_that_formed() {
        let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let adopted = forming(11).met("n2", &formed("n2", 22, &founders)).expect("a founder");
        assert_eq!(adopted, founders.each_ref().map(Hello::as_founder));
    }

    #[test]
    fn a_node_that_lost_its_data_does_not_found_a_second_cluster() {
        let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let mut forming = forming(99);
        assert_eq!(forming.met("n2", &formed("n2", 22, &founders)), None);
        assert_eq!(forming.met("n3", &hello("n3", 77)), None, "not even with another that lost its data");
        assert!(forming.is_to_return());
        let waits = "to return to the cluster that n2 belongs to: this node has no data of it, so it asks to replace the member \
                     called n1, and will be sent everything";
        assert_eq!(forming.waiting_for(), waits);
        forming.not_returned("there is no leader".into());
        assert_eq!(forming.waiting_for(), format!("{waits}: there is no leader"));

        let cluster =
            |names: &[&str]| ClusterIdentity { id: 7, first_members: names.iter().map(|n| (*n).into()).collect() };
        assert!(!forming.returned(&cluster(&["n1", "n2"])));
        assert!(forming.waiting_for().contains("formed by n1, n2, and --peers lists"), "{}", forming.waiting_for());
        assert!(forming.returned(&cluster(&["n1", "n2", "n3"])));
    }

    #[test]
    fn when_all_have_lost_their_data_they_found_a_cluster_anew() {
        let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let mut forming = forming(99);
        assert_eq!(forming.met("n2", &formed("n2", 22, &founders)), None);
        assert_eq!(forming.met("n3", &hello("n3", 77)), None);
        assert!(forming.met("n2", &hello("n2", 88)).is_some());
        assert!(!forming.is_to_return());
    }

    #[test]
    fn alone_there_is_nobody_to_wait_for() {
        let forming = Forming::new(hello("n1", 11).as_founder(), []);
        assert_eq!(forming.founders_if_alone(), Some(vec![hello("n1", 11).as_founder()]));
    }
}
