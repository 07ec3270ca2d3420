//! Forming a cluster: how nodes agree on its founders without a leader.
//!
//! A node with an empty data directory and configured peers waits until it knows the founders: their names, ids and
//! addresses. One node fixes them: the first by name, once it has met every other founder. The other nodes take the
//! founders from it, or from another node that has them. So there is one founding configuration, even if nodes were
//! restarted meanwhile, under another id or at another address.
//!
//! The first node counts only nodes that it has dialled itself and that answered its last call: then it spoke to the
//! current process. Until it has written down the founders, no node acts on them, so it may itself be restarted and fix
//! different founders.
//!
//! A node may find that its peers have formed a cluster without its id among the founders. Then it has no data of that
//! cluster: it lost its disk, or had none. It must not pretend to be its earlier incarnation, which has voted and
//! acknowledged entries. It is another node, with a new id, and returns: it asks to replace the earlier incarnation of
//! its name among the members.
//!
//! No cluster is founded if any node remembers one. A node remembers a cluster, for as long as it runs and is not part
//! of one, once it has met a member of it or was dialled by a node that considers it a member. It says so when it
//! introduces itself, and nodes that hear this from it remember the cluster too. Hence even if the last node that has
//! data is restarted without it, it finds no cluster to found with its peers. If all nodes that remember have been
//! restarted as well, no node can know; but a node that was told to expect data (`--expect-data`) does, and no cluster
//! is founded with it. Neither rule keeps a node from returning to an existing cluster.
//!
//! When the first by name has met every other founder, it asks each of them twice more. By then the last one met has no
//! earlier incarnation that any node could still meet. The second answer is to a question sent since, so it contains
//! everything that a node has learnt of earlier incarnations. It must come from the process that answered before the
//! last one was met: a process started since may have forgotten what it knew then, and a third node may have learnt it
//! from its predecessor. So all are asked again whenever one of them is another process. Then there was a moment at
//! which all of them ran, and none knew of a cluster.
//!
//! A node that is told of the founders remembers their cluster at once. Its peers may ask it while it is still writing
//! that down, and it must not pass for a node that knows of no cluster.

use super::asking::JoinNews;
use crate::mutants::{self, Mutant};
use crate::peer::{ClusterId, Founder, Hello, founding_configuration};
use crate::storage::ClusterIdentity;
use std::collections::{BTreeMap, BTreeSet};

/// Answers that the first node needs from each founder after it has met the last of them: one may be in flight by then.
const ASKED_AGAIN: u8 = 2;

fn asked_again() -> u8 {
    if mutants::is_on(Mutant::FoundersFixedAtOnce) { 0 } else { ASKED_AGAIN }
}

/// Advice for an operator whose node cannot return because there is no leader.
const NO_MAJORITY: &str = "If a majority of its voters is permanently lost, no node can join it. Make a new cluster \
     from the data of a remaining node: run `kvd recover` on its data directory or, with --storage memory, `kvctl snapshot \
     save FILE --stale` while it still runs and then `kvd restore FILE`. The other nodes then --join the new cluster";

/// State of a forming node, with its knowledge of its peers.
#[derive(Debug)]
pub struct Forming {
    own: Founder,
    /// Set if this node expects data and has none: the reason, as a part of a sentence.
    lacks: Option<String>,
    peers: BTreeMap<String, Peer>,
    /// The cluster of a node that was met at one of the configured URLs.
    remembers: Option<u64>,
    /// A member of that cluster that has dialled this node and is not in `--peers`.
    stranger: Option<Founder>,
    /// Reason why this node has not returned yet.
    not_returned: Option<String>,
}

#[derive(Debug)]
enum Peer {
    /// Not met, or gone again; with the reason, once known.
    Missing(Option<String>),
    /// Forming too.
    Met(Met),
    /// Belongs to a cluster that does not have this node's id among its founders.
    Elsewhere,
    /// Belongs to a cluster whose founders differ from the configured ones.
    OtherFounders(String),
    /// Answers with another name.
    Misnamed(String),
    /// Asks to join a cluster, and founds none.
    Joins,
}

/// Consequence of the introduction of a node that has dialled this one. Its process may be gone by now, so nothing is
/// founded on it, and no founders are taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The node at the URL of that name must be asked at once.
    News,
    /// Nothing.
    Nothing,
}

/// A peer that is forming too.
#[derive(Debug)]
struct Met {
    founder: Founder,
    /// Incarnation of its process; see [`Hello::incarnation`].
    incarnation: u64,
    /// The peer expects data and has none.
    expects_data: bool,
    /// Number of times that the peer was met again since the last of all peers was met.
    times: u8,
    /// The peer is being asked once more.
    is_asked: bool,
}

impl Forming {
    /// Creates the state of this node, with the names of its peers. `lacks` says why it has no data, if it expects
    /// some.
    pub fn new(own: Founder, peers: impl IntoIterator<Item = String>, lacks: Option<String>) -> Self {
        let peers = peers.into_iter().map(|name| (name, Peer::Missing(None))).collect();
        Self { own, lacks, peers, remembers: None, stranger: None, not_returned: None }
    }

    /// Returns the founders, if this node is the only one.
    pub fn founders_if_alone(&self) -> Option<Vec<Founder>> {
        (self.peers.is_empty() && !self.is_held()).then(|| vec![self.own.clone()])
    }

    /// Takes the introduction of the node that was dialled as `name`. Returns the founders, in the order of their
    /// names, once they are known.
    pub fn met(&mut self, name: &str, hello: &Hello) -> Option<Vec<Founder>> {
        if hello.name != name {
            *self.peers.get_mut(name)? = Peer::Misnamed(hello.name.clone());
            return None;
        }
        let is_ignored = mutants::is_on(Mutant::ReturningFounds) && !self.is_founder_with(hello);
        if hello.cluster.is_some() && !is_ignored {
            self.remember(hello);
            return self.met_member(hello);
        }
        let peer = self.peers.get_mut(name)?;
        self.remembers = self.remembers.or(hello.remembers);
        if hello.joins {
            *peer = Peer::Joins;
            return None;
        }
        let (founder, expects_data) = (hello.as_founder(), hello.expects_data);
        match peer {
            Peer::Met(met) if met.founder == founder && is_same_process(met.incarnation, hello.incarnation) => {
                met.expects_data = expects_data;
                met.times = met.times.saturating_add(1);
                met.is_asked = false;
            }
            _ => {
                *peer =
                    Peer::Met(Met { founder, incarnation: hello.incarnation, expects_data, times: 0, is_asked: false });
                self.peers.values_mut().for_each(|peer| {
                    if let Peer::Met(met) = peer {
                        (met.times, met.is_asked) = (0, false);
                    }
                });
            }
        }
        if self.first() != self.own.info.name || self.is_held() {
            return None;
        }
        let met = self.all_met()?;
        if met.iter().any(|met| met.times < asked_again()) {
            return None;
        }
        let mut founders: Vec<Founder> = met.iter().map(|met| met.founder.clone()).chain([self.own.clone()]).collect();
        founders.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        Some(founders)
    }

    /// Returns the names of the peers that this node must dial again, without a pause, before it fixes the founders.
    /// Each is named once until it has answered: dialling it again would only delay its answer.
    pub fn to_ask_again(&mut self) -> Vec<String> {
        if self.first() != self.own.info.name || self.is_held() || self.all_met().is_none() {
            return Vec::new();
        }
        let mut names = Vec::new();
        for (name, peer) in &mut self.peers {
            if let Peer::Met(met) = peer
                && met.times < asked_again()
                && !std::mem::replace(&mut met.is_asked, true)
            {
                names.push(name.clone());
            }
        }
        names
    }

    /// Returns all peers, if all are forming.
    fn all_met(&self) -> Option<Vec<&Met>> {
        let met = self.peers.values().map(|peer| match peer {
            Peer::Met(met) => Some(met),
            Peer::Missing(_) | Peer::Elsewhere | Peer::OtherFounders(_) | Peer::Misnamed(_) | Peer::Joins => None,
        });
        met.collect()
    }

    /// Takes the introduction of a node that has dialled this one.
    ///
    /// A member that dials this node has its URL in the configuration. So there is a cluster that this node, or another
    /// one at its URL, was part of. That member may be all that is left of the cluster, such as a node that has joined
    /// and is not in `--peers`.
    pub fn dialled_by(&mut self, hello: &Hello) -> Heard {
        let is_peer = self.peers.contains_key(&hello.name);
        if hello.cluster.is_some() && !is_peer && !mutants::is_on(Mutant::StrangersUnheard) {
            self.remember(hello);
            self.stranger = Some(hello.as_founder());
        }
        if is_peer && (hello.cluster.is_some() || !self.has_met(hello)) { Heard::News } else { Heard::Nothing }
    }

    /// Takes the answer of a peer that is part of a cluster. Returns the founders, if this node is one of them.
    fn met_member(&mut self, hello: &Hello) -> Option<Vec<Founder>> {
        let is_founder = self.is_founder_with(hello);
        let peer = self.peers.get_mut(&hello.name)?;
        if !is_founder {
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

    /// Returns true if a member names this node among the founders of its cluster.
    fn is_founder_with(&self, member: &Hello) -> bool {
        let own = (self.own.node, &self.own.info.name);
        member.founders.iter().any(|founder| (founder.node, &founder.info.name) == own)
    }

    /// Remembers the cluster of a member. A founder remembers it until it is a member itself: it may be asked to found
    /// another cluster while it is still writing down the founders.
    fn remember(&mut self, member: &Hello) {
        if !(mutants::is_on(Mutant::FoundersForgotten) && self.is_founder_with(member)) {
            self.remembers = member.cluster;
        }
    }

    /// Records that dialling the node configured as `name` failed.
    pub fn missed(&mut self, name: &str, why: String) {
        if let Some(peer) = self.peers.get_mut(name) {
            *peer = Peer::Missing(Some(why));
        }
    }

    /// Returns the cluster that this node remembers without being part of it.
    pub fn remembers(&self) -> Option<u64> {
        self.remembers
    }

    /// Adds this node's memory of a cluster and its expectation of data to its introduction. Returns true if that is
    /// news.
    pub fn introduce(&self, hello: &mut Hello) -> bool {
        let remembers = self.remembers.filter(|_| !mutants::is_on(Mutant::MemoryNotPassedOn));
        let says = (remembers, self.lacks.is_some());
        let is_news = (hello.remembers, hello.expects_data) != says;
        (hello.remembers, hello.expects_data) = says;
        is_news
    }

    /// Returns true if no cluster may be founded with this node, whichever nodes it meets.
    pub fn is_held(&self) -> bool {
        let lacks_data = self.lacks.is_some() && !mutants::is_on(Mutant::DataNotExpected);
        lacks_data || self.remembers.is_some() || self.expecting().next().is_some()
    }

    /// Returns the names of the peers that expect data and have none.
    fn expecting(&self) -> impl Iterator<Item = &str> {
        self.peers.values().filter_map(|peer| match peer {
            Peer::Met(met) if met.expects_data => Some(met.founder.info.name.as_str()),
            _ => None,
        })
    }

    /// Returns true if a cluster exists that this node did not found, so that it should ask to replace its earlier
    /// incarnation.
    pub fn is_to_return(&self) -> bool {
        self.peers.values().any(|peer| matches!(peer, Peer::Elsewhere))
    }

    /// Takes the cluster's answer to the request to return. Returns the cluster once this node is a member of it.
    pub fn answered(&mut self, news: JoinNews) -> Option<ClusterIdentity> {
        match news {
            JoinNews::Joined(cluster) => return Some(cluster).filter(|cluster| self.returned(cluster)),
            JoinNews::Leaderless(why) => self.not_returned = Some(format!("{why}. {NO_MAJORITY}")),
            JoinNews::Waits(why) | JoinNews::Silent(why) | JoinNews::Removed(why) | JoinNews::Unknown(why) => {
                self.not_returned = Some(why)
            }
        }
        None
    }

    /// Takes the news that this node has replaced its earlier incarnation in this cluster. Returns true if the cluster
    /// is the configured one: at the next start, a cluster of other founders than configured would be refused.
    fn returned(&mut self, cluster: &ClusterIdentity) -> bool {
        let founders: BTreeSet<&str> = cluster.first_members.iter().map(String::as_str).collect();
        let is_expected = self.names().collect::<BTreeSet<_>>() == founders;
        if !is_expected {
            self.not_returned = Some(format!(
                "the cluster was formed by {}, but --peers lists other nodes: check --peers, or use --join instead",
                cluster.first_members.join(", ")
            ));
        }
        is_expected
    }

    /// Returns true if the node said the same when it was dialled.
    fn has_met(&self, hello: &Hello) -> bool {
        let Some(Peer::Met(met)) = self.peers.get(&hello.name) else { return false };
        let is_news = hello.remembers.is_some() && self.remembers.is_none();
        let is_same = met.founder == hello.as_founder() && is_same_process(met.incarnation, hello.incarnation);
        !is_news && is_same && met.expects_data == hello.expects_data
    }

    /// Returns the names of all configured founders.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.peers.keys().map(String::as_str).chain([self.own.info.name.as_str()])
    }

    /// Returns the name of the node that fixes the founders.
    fn first(&self) -> &str {
        self.names().min().unwrap_or_default()
    }

    /// Returns what the node waits for, as a sentence.
    pub fn waiting_for(&self) -> String {
        let (mut missing, mut reasons) = (Vec::new(), Vec::new());
        let mut elsewhere = Vec::new();
        let mut is_misled = false;
        let mut sentences = Vec::new();
        for (name, peer) in &self.peers {
            match peer {
                Peer::Missing(why) => {
                    missing.push(name.as_str());
                    reasons.extend(why.as_deref());
                }
                Peer::Met(_) => {}
                Peer::Joins => sentences.push(format!(
                    "{name} was started with --join, so it does not form a cluster: start it without --join, or start \
                     this node with --join as well"
                )),
                Peer::Elsewhere => elsewhere.push(name.as_str()),
                Peer::OtherFounders(founders) => {
                    is_misled = true;
                    sentences.push(format!(
                        "{name} belongs to a cluster formed by {founders}, but --peers lists other nodes: check --peers"
                    ));
                }
                Peer::Misnamed(actual) => {
                    sentences.push(format!("--peers lists {name}, but the node at its URL is named {actual}"));
                }
            }
        }
        if !elsewhere.is_empty() {
            let own = &self.own.info.name;
            let why = self.not_returned.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            sentences.push(format!(
                "waiting to rejoin the cluster of {}: this node has an empty data directory, so it asks to replace the \
                 member {own} and will be sent all data{why}",
                elsewhere.join(", ")
            ));
        } else if self.is_held() && !is_misled {
            sentences.insert(0, self.held_by(&missing, &reasons));
        } else if !missing.is_empty() {
            let missing = missing.join(", ");
            sentences.insert(0, format!("waiting for {missing} before forming the cluster{}", in_brackets(&reasons)));
        }
        if sentences.is_empty() {
            sentences.push(format!("waiting for {} to form the cluster", self.first()));
        }
        sentences.join("; ")
    }

    /// Returns why no cluster is founded, and what to do; `missing` are the nodes that may know better, and
    /// `why_missing` the reasons why they do not answer.
    fn held_by(&self, missing: &[&str], why_missing: &[&str]) -> String {
        let mut reasons = Vec::from_iter(self.lacks.clone());
        if let Some(cluster) = self.remembers {
            reasons.push(format!("cluster {} existed before, and no reachable node has its data", ClusterId(cluster)));
        }
        if let Some(Founder { info, .. }) = &self.stranger {
            reasons.push(format!(
                "{} at {} is a member of that cluster: recover its data into a new cluster with `kvd recover`, or stop \
                 it if you no longer need that cluster",
                info.name, info.peer_url
            ));
        }
        let expecting = self.expecting().collect::<Vec<_>>().join(", ");
        if !expecting.is_empty() {
            reasons.push(format!("no data, though --expect-data is set: {expecting}"));
        }
        if !missing.is_empty() {
            reasons.push(format!("no answer from {}{}", missing.join(", "), in_brackets(why_missing)));
        }
        let (lost, stop) = match self.peers.is_empty() {
            true => ("If the data is lost", "start this node"),
            false => ("If the data is lost on all nodes", "stop all nodes and start them"),
        };
        format!(
            "waiting for the data of its cluster; no new cluster is formed without it: {}. {lost}, restore a backup \
             with `kvd restore`; to start with an empty cluster, {stop} on empty directories and without --expect-data",
            reasons.join("; ")
        )
    }
}

/// Returns the reasons in brackets, to follow a sentence; an empty string if there are none.
fn in_brackets(reasons: &[&str]) -> String {
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) }
}

/// Returns true if two introductions of a node come from one process.
fn is_same_process(one: u64, other: u64) -> bool {
    one == other || mutants::is_on(Mutant::RestartUnnoticed)
}

#[cfg(test)]
mod tests;
