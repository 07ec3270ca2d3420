//! Forming a cluster: which nodes found it, agreed on without a leader.
//!
//! A node with an empty data directory and configured peers waits until it has met every one of them
//! and knows their ids. Since all of them do, they arrive at the same founders, hence the same first
//! configuration and the same cluster id, and the first election can run. A founder that is too late
//! to meet everyone takes the founders from one that has already formed the cluster.
//!
//! A node whose peers have formed a cluster in which its name has another id is not one of the
//! founders: it has lost its data. It must not pretend to be the node that it was, for that one has
//! voted and acknowledged, so it goes on waiting.

use crate::peer::{Founder, Hello};
use std::collections::BTreeMap;

/// What a forming node knows of its peers.
#[derive(Debug)]
pub(super) struct Forming {
    own: Founder,
    peers: BTreeMap<String, Peer>,
}

#[derive(Debug, Default)]
enum Peer {
    /// Not met yet.
    #[default]
    Unknown,
    /// Forming too.
    Met(Founder),
    /// Belongs to a cluster that this node is no founder of.
    Elsewhere { own_name_is_known: bool },
    /// Answers under another name.
    Misnamed(String),
}

impl Forming {
    /// This node, and the names of the others.
    pub(super) fn new(own: Founder, peers: impl IntoIterator<Item = String>) -> Self {
        Self { own, peers: peers.into_iter().map(|name| (name, Peer::default())).collect() }
    }

    /// The founders, if this node alone is all of them.
    pub(super) fn founders_if_alone(&self) -> Option<Vec<Founder>> {
        self.peers.is_empty().then(|| vec![self.own.clone()])
    }

    /// The node that is configured as `name` has introduced itself. Returns the founders, in the order
    /// of their names, once they are known.
    pub(super) fn met(&mut self, name: &str, hello: &Hello) -> Option<Vec<Founder>> {
        let peer = self.peers.get_mut(name)?;
        if hello.name != name {
            *peer = Peer::Misnamed(hello.name.clone());
            return None;
        }
        if hello.cluster.is_some() {
            let founder = |founder: &&Founder| founder.name == self.own.name;
            let namesake = hello.founders.iter().find(founder);
            if namesake.is_some_and(|namesake| namesake.node == self.own.node) {
                return Some(hello.founders.clone());
            }
            *peer = Peer::Elsewhere { own_name_is_known: namesake.is_some() };
            return None;
        }
        *peer = Peer::Met(hello.as_founder());
        let met = self.peers.values().map(|peer| match peer {
            Peer::Met(founder) => Some(founder.clone()),
            Peer::Unknown | Peer::Elsewhere { .. } | Peer::Misnamed(_) => None,
        });
        let mut founders: Vec<Founder> = met.chain([Some(self.own.clone())]).collect::<Option<_>>()?;
        founders.sort_by(|a, b| a.name.cmp(&b.name));
        Some(founders)
    }

    /// What the node waits for, as a sentence.
    pub(super) fn waiting_for(&self) -> String {
        let mut missing = Vec::new();
        let mut sentences = Vec::new();
        for (name, peer) in &self.peers {
            match peer {
                Peer::Unknown => missing.push(name.as_str()),
                Peer::Met(_) => {}
                Peer::Elsewhere { own_name_is_known: true } => sentences.push(format!(
                    "{name} belongs to a cluster that knows {} under another id: this node has lost its data, which \
                     must be put back; the others go on without it",
                    self.own.name
                )),
                Peer::Elsewhere { own_name_is_known: false } => sentences
                    .push(format!("{name} belongs to a cluster that {} is no member of: check --peers", self.own.name)),
                Peer::Misnamed(actual) => {
                    sentences.push(format!("--peers says {name}, but the node at its URL is called {actual}"));
                }
            }
        }
        if !missing.is_empty() {
            sentences.insert(0, format!("to form a cluster it has yet to hear from {}", missing.join(", ")));
        }
        sentences.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{ClusterId, PROTOCOL_VERSION, founding_configuration};

    fn hello(name: &str, node: u64) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
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
    fn every_founder_arrives_at_the_same_cluster() {
        let hellos = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let ids = [0, 1, 2].map(|own: usize| {
            let others = [1, 2].map(|step| &hellos[(own + step) % 3]);
            let mut forming = Forming::new(hellos[own].as_founder(), others.iter().map(|hello| hello.name.clone()));
            assert_eq!(forming.met(&others[0].name, others[0]), None);
            let founders = forming.met(&others[1].name, others[1]).expect("met everyone");
            ClusterId::of_founders(&founding_configuration(&founders))
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
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
        assert!(forming.waiting_for().contains("has lost its data"), "{}", forming.waiting_for());
    }

    #[test]
    fn alone_there_is_nobody_to_wait_for() {
        let forming = Forming::new(hello("n1", 11).as_founder(), []);
        assert_eq!(forming.founders_if_alone(), Some(vec![hello("n1", 11).as_founder()]));
    }
}
