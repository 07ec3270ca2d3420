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
//!
//! Nothing is founded where anybody remembers a cluster. A node that has met a member of one remembers it for as long as
//! it runs and has no part in one, and says so when it introduces itself; so do those that hear it from such a node. Hence
//! the last node that has data may be started again without it, and finds no cluster to found with the others. Where all
//! that remember have been started again as well, nobody can know; a node that was told to expect data (`--expect-data`)
//! does, and none is founded with it. Neither keeps a node from returning to a cluster that is there.
//!
//! When the first by name has met every other, it asks each of them twice more. The last to be met has no earlier life by
//! then whom anybody could still meet, and the second answer is to a question that was asked since, so it says all that a
//! node has learnt of lives before.

use crate::peer::{ClusterId, Founder, Hello, founding_configuration};
use crate::storage::ClusterIdentity;
use std::collections::{BTreeMap, BTreeSet};

/// Answers of each founder that the first counts after it has met the last of them: one may be on its way by then.
const ASKED_AGAIN: u8 = 2;

/// Advice to whoever reads that a node cannot return for want of a leader.
const NO_MAJORITY: &str = "If a majority of its voters is lost for ever, it can let nobody in: make a new cluster of what one that \
    is left has, by `kvd recover` on its data directory, or, if it has --storage memory, by `kvctl snapshot save FILE \
    --stale` while it still runs, and `kvd restore FILE`; the others then --join that";

/// What a forming node knows of its peers.
#[derive(Debug)]
pub(super) struct Forming {
    own: Founder,
    /// This node expects to have data and has none; why, as a part of a sentence.
    lacks: Option<String>,
    peers: BTreeMap<String, Peer>,
    /// The cluster of a node that was met at one of the configured URLs.
    remembers: Option<u64>,
    /// Why it has not returned yet.
    not_returned: Option<String>,
}

#[derive(Debug)]
enum Peer {
    /// Not met, or gone again; why, once that is known.
    Missing(Option<String>),
    /// Forming too.
    Met(Met),
    /// Belongs to a cluster that this node, by its id, is no founder of.
    Elsewhere,
    /// Belongs to a cluster of other founders than configured.
    OtherFounders(String),
    /// Answers under another name.
    Misnamed(String),
}

/// A peer that is forming too.
#[derive(Debug)]
struct Met {
    founder: Founder,
    /// It is to have data, and has none.
    expects_data: bool,
    /// How often it has been met again since the last of all was.
    times: u8,
}

impl Forming {
    /// This node, and the names of the others. `lacks` says why it has no data, if it expects to have some.
    pub(super) fn new(own: Founder, peers: impl IntoIterator<Item = String>, lacks: Option<String>) -> Self {
        let peers = peers.into_iter().map(|name| (name, Peer::Missing(None))).collect();
        Self { own, lacks, peers, remembers: None, not_returned: None }
    }

    /// The founders, if this node alone is all of them.
    pub(super) fn founders_if_alone(&self) -> Option<Vec<Founder>> {
        (self.peers.is_empty() && !self.is_held()).then(|| vec![self.own.clone()])
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
            let founders = self.met_member(hello);
            // Only of those who answer at a configured URL: whoever dials may have been led here by mistake.
            if founders.is_none() {
                self.remembers = hello.cluster;
            }
            return founders;
        }
        self.remembers = self.remembers.or(hello.remembers);
        let (founder, expects_data) = (hello.as_founder(), hello.expects_data);
        match peer {
            Peer::Met(met) if met.founder == founder => {
                met.expects_data = expects_data;
                met.times = met.times.saturating_add(1);
            }
            _ => {
                *peer = Peer::Met(Met { founder, expects_data, times: 0 });
                self.peers.values_mut().for_each(|peer| {
                    if let Peer::Met(met) = peer {
                        met.times = 0;
                    }
                });
            }
        }
        if self.first() != self.own.info.name || self.is_held() {
            return None;
        }
        let met = self.all_met()?;
        if met.iter().any(|met| met.times < ASKED_AGAIN) {
            return None;
        }
        let mut founders: Vec<Founder> = met.iter().map(|met| met.founder.clone()).chain([self.own.clone()]).collect();
        founders.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        Some(founders)
    }

    /// Names of the peers that this node is to dial again, without a pause, before it fixes the founders.
    pub(super) fn to_ask_again(&self) -> Vec<&str> {
        let asks = self.first() == self.own.info.name && !self.is_held();
        let met = self.all_met().filter(|_| asks).unwrap_or_default();
        let again = met.into_iter().filter(|met| met.times < ASKED_AGAIN);
        again.map(|met| met.founder.info.name.as_str()).collect()
    }

    /// All the peers, if all are forming.
    fn all_met(&self) -> Option<Vec<&Met>> {
        let met = self.peers.values().map(|peer| match peer {
            Peer::Met(met) => Some(met),
            Peer::Missing(_) | Peer::Elsewhere | Peer::OtherFounders(_) | Peer::Misnamed(_) => None,
        });
        met.collect()
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

    /// The cluster that this node knows of, having no part in it.
    pub(super) fn remembers(&self) -> Option<u64> {
        self.remembers
    }

    /// Whether nothing is founded with this node, whomever it meets.
    pub(super) fn is_held(&self) -> bool {
        self.lacks.is_some() || self.remembers.is_some() || self.expecting().next().is_some()
    }

    /// Names of the peers that expect data and have none.
    fn expecting(&self) -> impl Iterator<Item = &str> {
        self.peers.values().filter_map(|peer| match peer {
            Peer::Met(met) if met.expects_data => Some(met.founder.info.name.as_str()),
            _ => None,
        })
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

    /// The same where it was told that there is no leader who could give it to this node.
    pub(super) fn found_no_leader(&mut self, why: &str) {
        self.not_returned = Some(format!("{why}. {NO_MAJORITY}"));
    }

    /// Whether this is what the node has said when it was dialled.
    pub(super) fn has_met(&self, hello: &Hello) -> bool {
        let Some(Peer::Met(met)) = self.peers.get(&hello.name) else { return false };
        let is_news = hello.remembers.is_some() && self.remembers.is_none();
        !is_news && met.expects_data == hello.expects_data && met.founder == hello.as_founder()
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
        let mut is_misled = false;
        let mut sentences = Vec::new();
        for (name, peer) in &self.peers {
            match peer {
                Peer::Missing(None) => missing.push(name.clone()),
                Peer::Missing(Some(why)) => missing.push(format!("{name} ({why})")),
                Peer::Met(_) => {}
                Peer::Elsewhere => elsewhere.push(name.as_str()),
                Peer::OtherFounders(founders) => {
                    is_misled = true;
                    sentences.push(format!(
                        "{name} belongs to a cluster of {founders}, and --peers lists other nodes: check --peers"
                    ));
                }
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
        } else if self.is_held() && !is_misled {
            sentences.insert(0, self.held_by(&missing));
        } else if !missing.is_empty() {
            sentences.insert(0, format!("to form a cluster it has yet to hear from {}", missing.join(", ")));
        }
        if sentences.is_empty() {
            sentences.push(format!("it has heard from all, and {} has yet to form the cluster", self.first()));
        }
        sentences.join("; ")
    }

    /// Why nothing is founded, and what to do; `missing` are those who may know better.
    fn held_by(&self, missing: &[String]) -> String {
        let mut reasons = Vec::from_iter(self.lacks.clone());
        if let Some(cluster) = self.remembers {
            reasons.push(format!("cluster {cluster:016x} was there before, and no node that answers has its data"));
        }
        let expecting = self.expecting().collect::<Vec<_>>().join(", ");
        if !expecting.is_empty() {
            reasons.push(format!("no data where there should be some (--expect-data): {expecting}"));
        }
        if !missing.is_empty() {
            reasons.push(format!("no answer from {}", missing.join(", ")));
        }
        let (lost, stop) = match self.peers.is_empty() {
            true => ("If it is lost", "start this node"),
            false => ("If it is lost on all nodes", "stop all nodes, and start them"),
        };
        format!(
            "for the data of its cluster, without which none is founded anew: {}. {lost}, make a new cluster of a backup with `kvd restore`; \
             or, to begin with nothing, {stop} on empty directories and without --expect-data",
            reasons.join("; ")
        )
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
            remembers: None,
            expects_data: false,
            level: 1,
        }
    }

    fn formed(name: &str, node: u64, founders: &[Hello]) -> Hello {
        let founders: Vec<_> = founders.iter().map(Hello::as_founder).collect();
        let cluster = Some(ClusterId::of_founders(&founding_configuration(&founders)).0);
        Hello { cluster, founders, ..hello(name, node) }
    }

    fn forming(node: u64) -> Forming {
        Forming::new(hello("n1", node).as_founder(), ["n2".into(), "n3".into()], None)
    }

    /// This node is told by this one what it says, as often as it takes.
    fn meets(forming: &mut Forming, peers: &[Hello]) -> Option<Vec<Founder>> {
        let rounds = 0..=ASKED_AGAIN;
        rounds.flat_map(|_| peers).fold(None, |_, hello| forming.met(&hello.name.clone(), hello))
    }

    #[test]
    fn the_first_fixes_the_founders_and_the_others_take_them_from_it() {
        let hellos = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let mut first = forming(11);
        assert_eq!(first.met("n3", &hellos[2]), None);
        assert_eq!(first.to_ask_again(), Vec::<&str>::new());
        assert_eq!(first.met("n2", &hellos[1]), None);
        // Both are asked again, and the one that hangs is waited for.
        for left in [&["n2", "n3"][..], &["n2", "n3"], &["n2"], &["n2"]] {
            assert_eq!(first.to_ask_again(), left);
            assert_eq!(first.met("n3", &hellos[2]), None);
        }
        assert_eq!(first.met("n2", &hellos[1]), None);
        let founders = first.met("n2", &hellos[1]).expect("met everyone");
        assert_eq!(founders, hellos.each_ref().map(Hello::as_founder));

        let mut second = Forming::new(hellos[1].as_founder(), ["n1".into(), "n3".into()], None);
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
        let third = hello("n3", 33);
        assert_eq!(first.met("n3", &third), None);
        assert_eq!(first.met("n3", &third), None);
        // One that is another by then is asked again, and so are the others.
        let founders = meets(&mut first, &[Hello { node: 24, ..moved.clone() }, third.clone()]).expect("met everyone");
        assert_eq!(founders[1].node, 24);
    }

    #[test]
    fn who_is_gone_again_is_waited_for() {
        let mut first = forming(11);
        assert_eq!(first.met("n2", &hello("n2", 22)), None);
        first.missed("n2", "connection refused at http://n2".into());
        assert_eq!(first.met("n3", &hello("n3", 33)), None);
        let expected = "to form a cluster it has yet to hear from n2 (connection refused at http://n2)";
        assert_eq!(first.waiting_for(), expected);
        assert!(meets(&mut first, &[hello("n2", 23), hello("n3", 33)]).is_some());
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
    fn what_was_there_is_remembered_until_all_that_know_of_it_have_been_started_again() {
        let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let (member, cluster) = (formed("n2", 22, &founders), formed("n2", 22, &founders).cluster);
        let two_others = |n2, n3| [hello("n2", n2), hello("n3", n3)];
        // The last one that had data comes back without it, and this node has met it when it had.
        let mut knows = forming(99);
        assert_eq!(knows.met("n2", &member), None);
        assert_eq!(meets(&mut knows, &two_others(88, 77)), None);
        assert_eq!((knows.remembers(), knows.is_to_return(), knows.to_ask_again().len()), (cluster, false, 0));
        let why = format!("cluster {:016x} was there before, and no node that answers has its data", cluster.unwrap());
        assert!(knows.waiting_for().contains(&why), "{}", knows.waiting_for());
        knows.missed("n2", "connection refused".into());
        let why = format!("{why}; no answer from n2 (connection refused). If it is lost on all nodes, make");
        assert!(knows.waiting_for().contains(&why), "{}", knows.waiting_for());

        // It says so, and who hears it founds nothing either, be it first by name or not.
        let says = Hello { remembers: cluster, ..hello("n3", 77) };
        for own in ["n1", "n9"] {
            let mut hears = Forming::new(hello(own, 12).as_founder(), ["n2".into(), "n3".into()], None);
            assert_eq!(hears.met("n3", &hello("n3", 77)), None);
            assert!(!hears.has_met(&says), "so it is dialled at once");
            assert_eq!(meets(&mut hears, &[hello("n2", 88), says.clone()]), None);
            assert!(hears.has_met(&says));
            assert_eq!(hears.remembers(), cluster, "{own}");
        }

        // Even if it has learnt that since it was first met: it is asked again.
        let mut late = forming(12);
        assert_eq!(late.met("n3", &hello("n3", 77)), None);
        assert_eq!(late.met("n2", &hello("n2", 88)), None);
        assert_eq!(late.met("n2", &hello("n2", 88)), None);
        assert_eq!(late.met("n3", &hello("n3", 77)), None, "on its way when the last was met");
        assert_eq!(late.met("n2", &hello("n2", 88)), None);
        assert_eq!(late.met("n3", &says), None);

        // Who is a member again is one, and takes this node back.
        assert_eq!(knows.met("n2", &member), None);
        assert!(knows.is_to_return());
        // Nobody remembers.
        assert!(meets(&mut forming(98), &two_others(89, 79)).is_some());
    }

    #[test]
    fn nothing_is_founded_on_the_word_of_one_that_dials() {
        let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let mut forming = forming(99);
        // It may have been led here by mistake, from another cluster with nodes of these names.
        assert_eq!(forming.met_member(&formed("n2", 22, &founders)), None);
        assert!(forming.is_to_return());
        assert!(meets(&mut forming, &[hello("n2", 88), hello("n3", 77)]).is_some(), "that is who answers");
    }

    #[test]
    fn who_expects_data_founds_nothing_and_nobody_founds_anything_with_it() {
        let lacks = || Some("--expect-data is set, and --data-dir /data holds none".to_owned());
        let others = [hello("n2", 22), hello("n3", 33)];
        let names = || ["n2".into(), "n3".into()];
        let mut expects = Forming::new(hello("n1", 11).as_founder(), names(), lacks());
        assert_eq!(meets(&mut expects, &others), None);
        let waits = "for the data of its cluster, without which none is founded anew: --expect-data is set, and --data-dir /data \
                     holds none. If it is lost on all nodes, make a new cluster of a backup with `kvd restore`; or, to begin with \
                     nothing, stop all nodes, and start them on empty directories and without --expect-data";
        assert_eq!(expects.waiting_for(), waits);

        let mut first = forming(11);
        let expecting = Hello { expects_data: true, ..hello("n3", 33) };
        assert_eq!(meets(&mut first, &[hello("n2", 22), expecting.clone()]), None);
        assert!(
            first.waiting_for().contains("where there should be some (--expect-data): n3."),
            "{}",
            first.waiting_for()
        );
        // Started again without the flag, under the same id, it founds.
        assert!(!first.has_met(&others[1]), "so it is dialled at once");
        assert!(meets(&mut first, &others).is_some());

        let alone = Forming::new(hello("n1", 11).as_founder(), [], lacks());
        assert_eq!(alone.founders_if_alone(), None);
        assert!(alone.waiting_for().contains("If it is lost, make a new"), "{}", alone.waiting_for());

        // To a cluster that is there it belongs, or returns, all the same.
        let all = [hello("n1", 11), others[0].clone(), others[1].clone()];
        for (node, belongs) in [(11, true), (99, false)] {
            let mut expects = Forming::new(hello("n1", node).as_founder(), names(), lacks());
            assert_eq!(expects.met("n2", &formed("n2", 22, &all)).is_some(), belongs);
            assert_eq!(expects.is_to_return(), !belongs);
            assert!(belongs || expects.waiting_for().starts_with("to return to"), "{}", expects.waiting_for());
        }
    }

    #[test]
    fn who_finds_no_leader_is_told_what_to_do_if_the_majority_is_lost() {
        let founders = [hello("n1", 11), hello("n2", 22), hello("n3", 33)];
        let mut forming = forming(99);
        assert_eq!(forming.met("n2", &formed("n2", 22, &founders)), None);
        forming.found_no_leader("http://n2 says: no leader is known");
        let waits = forming.waiting_for();
        for said in
            ["no leader is known. If a majority", "`kvd recover`", "`kvctl snapshot save FILE --stale`", "`kvd restore"]
        {
            assert!(waits.contains(said), "{waits}");
        }
    }

    #[test]
    fn alone_there_is_nobody_to_wait_for() {
        let forming = Forming::new(hello("n1", 11).as_founder(), [], None);
        assert_eq!(forming.founders_if_alone(), Some(vec![hello("n1", 11).as_founder()]));
    }
}
