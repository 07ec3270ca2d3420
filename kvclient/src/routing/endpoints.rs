//! The known nodes of the cluster, which of them leads, and which did not answer lately.
//!
//! Nodes come from two sources. The *members* are those that the cluster names (`/health`), and come first. The
//! endpoints that the user gave are kept permanently, as a fallback when all members have moved. A node that did not
//! answer is put aside for a time that doubles with each failure, so that a dead node costs an occasional request, not
//! one each time.
//!
//! Everything here is pure: the caller passes in the time and does the I/O.

use super::retry::Backoff;
use crate::api::Member;
use crate::endpoint::Endpoint;
use crate::transport::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Maximum number of nodes that are remembered. No cluster has more, and a malformed reply cannot make the list grow.
const NODES_MAX: usize = 64;

/// Time for which a node is put aside, by the number of its failures in a row.
const DOWN: Backoff = Backoff { min: Duration::from_millis(250), max: Duration::from_secs(16) };

/// A node that was named as the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Its URL.
    pub(crate) endpoint: Endpoint,
    /// The term it leads in, if known: a redirect does not carry it, the answer to the write does.
    pub(crate) term: Option<u64>,
    /// True for a node that forwards writes to the leader, because the leader itself cannot be reached from here.
    pub(crate) relays: bool,
}

impl Leader {
    /// Returns whether this is a better guess than `failed`, which did not take a write.
    ///
    /// If both terms are known, they decide: a node that has not noticed a change yet names the old leader with the old
    /// term, and believing it would send the write in a circle. A term has only one leader, so another address in the
    /// same term is another way to reach it.
    pub(crate) fn supersedes(&self, failed: &Self) -> bool {
        match (self.term, failed.term) {
            (Some(new), Some(old)) => new > old || (new == old && self.endpoint != failed.endpoint),
            _ => self.endpoint != failed.endpoint,
        }
    }
}

/// A node that did not answer.
#[derive(Debug)]
struct Down {
    until: Instant,
    failures: u32,
    /// The last failure.
    failure: Failure,
}

/// The nodes of the cluster that this client knows.
#[derive(Debug)]
pub(crate) struct Endpoints {
    /// The endpoints that the user gave; never empty.
    given: Vec<Endpoint>,
    /// The members that the cluster named; empty until it did.
    members: Vec<Endpoint>,
    leader: Option<Leader>,
    down: BTreeMap<Endpoint, Down>,
    /// Nodes that belong to another cluster.
    strangers: BTreeSet<Endpoint>,
}

impl Endpoints {
    /// Creates a list with only the endpoints that the user gave.
    pub(crate) fn new(given: Vec<Endpoint>) -> Self {
        Self { given, members: Vec::new(), leader: None, down: BTreeMap::new(), strangers: BTreeSet::new() }
    }

    /// Returns every node once, members first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.members.iter().chain(self.given.iter().filter(|given| !self.members.contains(given)))
    }

    /// Returns whether the cluster has named its members yet.
    pub(crate) fn members_known(&self) -> bool {
        !self.members.is_empty()
    }

    /// Takes over the members of a reply. Invalid addresses are left out.
    pub(crate) fn learn_members(&mut self, members: &[Member]) {
        let mut learned: Vec<Endpoint> = Vec::new();
        for endpoint in members.iter().filter_map(|member| Endpoint::parse(&member.client_url).ok()) {
            if learned.len() < NODES_MAX && !learned.contains(&endpoint) {
                learned.push(endpoint);
            }
        }
        // A node that is still forming names no members, which is no reason to forget them.
        if !learned.is_empty() {
            self.members = learned;
            let (members, given) = (&self.members, &self.given);
            let is_known = |endpoint: &Endpoint| members.contains(endpoint) || given.contains(endpoint);
            self.down.retain(|endpoint, _| is_known(endpoint));
            self.strangers.retain(is_known);
        }
    }

    /// Returns the node that took the last write, or was last named as leader.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        self.leader.as_ref()
    }

    /// Remembers the target of writes.
    pub(crate) fn set_leader(&mut self, leader: Leader) {
        self.leader = Some(leader);
    }

    /// Forgets the leader if it is still the one that `failed`, not one that another thread has found since.
    pub(crate) fn forget_leader(&mut self, failed: &Leader) {
        if self.leader.as_ref().is_some_and(|leader| !leader.supersedes(failed)) {
            self.leader = None;
        }
    }

    /// Returns the node to ask next, other than those in `tried`. `None` if all were tried.
    ///
    /// Nodes of another cluster come last. Nodes that answered lately come before nodes put aside, and members before
    /// other endpoints. Among equals the order starts at the `start`-th, so that callers with different numbers spread
    /// over the cluster.
    pub(crate) fn next(&self, start: usize, tried: &[Endpoint], now: Instant) -> Option<&Endpoint> {
        let group = if self.members.is_empty() { self.given.len() } else { self.members.len() }.max(1);
        let turn = |index: usize| (index % group + group - start % group) % group;
        self.all()
            .enumerate()
            .filter(|(_, endpoint)| !tried.contains(endpoint))
            .min_by_key(|(index, endpoint)| {
                (self.is_stranger(endpoint), self.down_until(endpoint, now), *index >= group, turn(*index))
            })
            .map(|(_, endpoint)| endpoint)
    }

    /// Returns a node other than those in `tried` that may forward a write to the leader. It prefers endpoints that the
    /// user gave, since the user can reach those.
    pub(crate) fn relay(&self, start: usize, tried: &[Endpoint], now: Instant) -> Option<&Endpoint> {
        let fit = |endpoint: &&Endpoint| {
            !tried.contains(endpoint) && !self.is_stranger(endpoint) && self.down_until(endpoint, now).is_none()
        };
        let start = start % self.given.len();
        let given = self.given[start..].iter().chain(&self.given[..start]);
        given.chain(&self.members).find(fit)
    }

    /// Returns true for a node that the user gave.
    pub(crate) fn was_given(&self, endpoint: &Endpoint) -> bool {
        self.given.contains(endpoint)
    }

    /// Returns true if the last attempt at every node failed to connect.
    pub(crate) fn nobody_connects(&self) -> bool {
        let connects = |endpoint: &Endpoint| {
            self.down.get(endpoint).is_none_or(|down| !matches!(down.failure, Failure::NotSent(_)))
        };
        !self.all().any(connects)
    }

    /// If no node answered when it was last asked, returns all of them with the reasons: `why: URL, URL; why: URL`.
    pub(crate) fn silence(&self) -> Option<String> {
        let mut silent: Vec<(String, Vec<&Endpoint>)> = Vec::new();
        for endpoint in self.all() {
            let Some(down) = self.down.get(endpoint) else {
                // A node that was not asked proves nothing.
                continue;
            };
            let why = down.failure.to_string();
            match silent.iter_mut().find(|(other, _)| *other == why) {
                Some((_, endpoints)) => endpoints.push(endpoint),
                None => silent.push((why, vec![endpoint])),
            }
        }
        let list = |endpoints: &[&Endpoint]| {
            endpoints.iter().map(|endpoint| endpoint.to_string()).collect::<Vec<_>>().join(", ")
        };
        let parts: Vec<_> = silent.iter().map(|(why, endpoints)| format!("{why}: {}", list(endpoints))).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Returns the time until which a node is put aside; `None` for a node that may be asked.
    pub(crate) fn down_until(&self, endpoint: &Endpoint, now: Instant) -> Option<Instant> {
        self.down.get(endpoint).map(|down| down.until).filter(|until| *until > now)
    }

    /// Returns true for a node that failed or belonged to another cluster when last asked.
    pub(crate) fn is_suspect(&self, endpoint: &Endpoint) -> bool {
        self.down.contains_key(endpoint) || self.is_stranger(endpoint)
    }

    /// Returns true for a node that was given or named by the cluster.
    pub(crate) fn knows(&self, endpoint: &Endpoint) -> bool {
        self.all().any(|known| known == endpoint)
    }

    /// Returns true for a node that belonged to another cluster when it last answered.
    pub(crate) fn is_stranger(&self, endpoint: &Endpoint) -> bool {
        self.strangers.contains(endpoint)
    }

    /// Returns true if every known node belongs to another cluster, so that waiting is pointless.
    pub(crate) fn are_all_strangers(&self) -> bool {
        self.all().all(|endpoint| self.is_stranger(endpoint))
    }

    /// Records that a node belongs to another cluster.
    pub(crate) fn mark_stranger(&mut self, endpoint: &Endpoint) {
        if self.knows(endpoint) {
            self.strangers.insert(endpoint.clone());
        }
    }

    /// Forgets that a node belonged to another cluster, since it has now named ours.
    pub(crate) fn unmark_stranger(&mut self, endpoint: &Endpoint) {
        self.strangers.remove(endpoint);
    }

    /// Puts aside a node that did not answer.
    pub(crate) fn mark_down(&mut self, endpoint: &Endpoint, failure: &Failure, now: Instant) {
        if !self.knows(endpoint) {
            return;
        }
        let failure = failure.clone();
        let down =
            self.down.entry(endpoint.clone()).or_insert(Down { until: now, failures: 0, failure: failure.clone() });
        down.failure = failure;
        // Threads that fail together report one failure, not many.
        if down.until <= now {
            down.until = now + DOWN.ceiling(down.failures);
            down.failures += 1;
        }
    }

    /// Takes back a node that answered.
    pub(crate) fn mark_up(&mut self, endpoint: &Endpoint) {
        self.down.remove(endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::parse(&format!("http://127.0.0.1:{port}")).unwrap()
    }

    fn member(port: u16) -> Member {
        let url = format!("http://127.0.0.1:{port}");
        let id = format!("node{port}");
        Member { id, client_url: url.clone(), peer_url: url, voter: true, goal: None, node: String::new() }
    }

    fn leader(port: u16, term: Option<u64>) -> Leader {
        Leader { endpoint: endpoint(port), term, relays: false }
    }

    fn refused() -> Failure {
        Failure::NotSent("refused".into())
    }

    fn order(endpoints: &Endpoints, start: usize, now: Instant) -> Vec<u16> {
        let mut tried = Vec::new();
        while let Some(next) = endpoints.next(start, &tried, now) {
            tried.push(next.clone());
        }
        tried.iter().map(|endpoint| endpoint.to_string().rsplit(':').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn callers_spread_over_members_and_fall_back_to_given_endpoints() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(vec![endpoint(9), endpoint(1)]);
        assert_eq!(order(&endpoints, 0, now), [9, 1]);
        assert_eq!(order(&endpoints, 1, now), [1, 9]);

        endpoints.learn_members(&[member(1), member(2), member(3)]);
        assert_eq!(order(&endpoints, 0, now), [1, 2, 3, 9]);
        assert_eq!(order(&endpoints, 1, now), [2, 3, 1, 9]);
        assert_eq!(order(&endpoints, 5, now), [3, 1, 2, 9]);

        endpoints.learn_members(&[]);
        assert!(endpoints.members_known(), "a forming node has nothing to teach");
    }

    #[test]
    fn a_node_that_fails_comes_last_for_longer_each_time() {
        let start = Instant::now();
        let mut endpoints = Endpoints::new(vec![endpoint(1), endpoint(2), endpoint(3)]);
        endpoints.mark_down(&endpoint(1), &refused(), start);
        endpoints.mark_down(&endpoint(1), &refused(), start);
        assert_eq!(order(&endpoints, 0, start), [2, 3, 1]);
        assert_eq!(order(&endpoints, 0, start + DOWN.min), [1, 2, 3], "failures at one time count once");

        let again = start + DOWN.min;
        endpoints.mark_down(&endpoint(1), &refused(), again);
        assert_eq!(order(&endpoints, 0, again + DOWN.min), [2, 3, 1]);
        assert_eq!(order(&endpoints, 0, again + DOWN.min * 2), [1, 2, 3]);

        endpoints.mark_down(&endpoint(1), &refused(), again + DOWN.min * 2);
        endpoints.mark_up(&endpoint(1));
        assert!(!endpoints.is_suspect(&endpoint(1)));
        assert_eq!(order(&endpoints, 0, again + DOWN.min * 2), [1, 2, 3]);

        let mut now = start;
        for _ in 0..40 {
            endpoints.mark_down(&endpoint(2), &refused(), now);
            now += DOWN.max;
        }
        assert_eq!(endpoints.down_until(&endpoint(2), now), None, "never longer than the greatest wait");
        endpoints.mark_down(&endpoint(77), &refused(), now);
        assert!(!endpoints.is_suspect(&endpoint(77)), "only known nodes are kept");
    }

    #[test]
    fn a_node_of_another_cluster_comes_last_until_it_names_ours() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(vec![endpoint(1), endpoint(2), endpoint(3)]);
        endpoints.mark_stranger(&endpoint(1));
        endpoints.mark_down(&endpoint(2), &refused(), now);
        assert_eq!(order(&endpoints, 0, now), [3, 2, 1]);
        assert!(endpoints.is_suspect(&endpoint(1)) && !endpoints.are_all_strangers());
        endpoints.unmark_stranger(&endpoint(1));
        assert_eq!(order(&endpoints, 0, now), [1, 3, 2]);

        for port in [1, 2, 3, 77] {
            endpoints.mark_stranger(&endpoint(port));
        }
        assert!(endpoints.are_all_strangers());
        endpoints.learn_members(&[member(4)]);
        assert!(!endpoints.are_all_strangers());
        assert!(!endpoints.is_stranger(&endpoint(77)), "only known nodes are kept");
    }

    #[test]
    fn a_leader_is_replaced_by_a_newer_term_or_another_way_to_it() {
        for (new, failed, better) in [
            (leader(1, Some(6)), leader(1, Some(5)), true),
            (leader(2, Some(6)), leader(1, Some(5)), true),
            (leader(1, Some(5)), leader(1, Some(5)), false),
            (leader(2, Some(4)), leader(1, Some(5)), false),
            (leader(2, Some(5)), leader(1, Some(5)), true),
            (leader(2, None), leader(1, Some(5)), true),
            (leader(1, None), leader(1, Some(5)), false),
            (leader(1, Some(5)), leader(1, None), false),
        ] {
            assert_eq!(new.supersedes(&failed), better, "{new:?} after {failed:?}");
        }

        let mut endpoints = Endpoints::new(vec![endpoint(1)]);
        endpoints.set_leader(leader(2, Some(6)));
        endpoints.forget_leader(&leader(1, Some(5)));
        assert_eq!(endpoints.leader(), Some(&leader(2, Some(6))), "another thread has found it meanwhile");
        endpoints.forget_leader(&leader(2, Some(6)));
        assert_eq!(endpoints.leader(), None);
    }

    #[test]
    fn a_relay_is_a_given_node_before_it_is_any_other() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(vec![endpoint(1), endpoint(2), endpoint(3)]);
        endpoints.learn_members(&[member(7), member(3)]);
        let relay = |endpoints: &Endpoints, start, tried: &[Endpoint]| endpoints.relay(start, tried, now).cloned();
        assert_eq!(relay(&endpoints, 1, &[]), Some(endpoint(2)));
        assert_eq!(relay(&endpoints, 4, &[endpoint(2)]), Some(endpoint(3)));
        endpoints.mark_down(&endpoint(1), &refused(), now);
        endpoints.mark_stranger(&endpoint(2));
        assert_eq!(relay(&endpoints, 0, &[]), Some(endpoint(3)));
        assert_eq!(relay(&endpoints, 0, &[endpoint(3)]), Some(endpoint(7)));
        assert_eq!(relay(&endpoints, 0, &[endpoint(3), endpoint(7)]), None);
    }

    #[test]
    fn the_nodes_that_are_silent_are_named_by_their_reason() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(vec![endpoint(1), endpoint(2), endpoint(3)]);
        assert_eq!((endpoints.silence(), endpoints.nobody_connects()), (None, false));
        endpoints.mark_down(&endpoint(1), &refused(), now);
        endpoints.mark_down(&endpoint(3), &refused(), now);
        assert!(!endpoints.nobody_connects(), "one was not tried");
        endpoints.mark_down(&endpoint(2), &Failure::Silent(Duration::from_secs(2)), now);
        assert!(!endpoints.nobody_connects(), "one has taken the connection");
        let silence = "refused: http://127.0.0.1:1, http://127.0.0.1:3; no answer within 2.0s: http://127.0.0.1:2";
        assert_eq!(endpoints.silence().as_deref(), Some(silence));
        endpoints.mark_down(&endpoint(2), &refused(), now);
        assert!(endpoints.nobody_connects());
    }

    #[test]
    fn members_are_bounded_and_bad_addresses_left_out() {
        let mut endpoints = Endpoints::new(vec![endpoint(1)]);
        let mut members: Vec<_> = (1..200).map(member).collect();
        members.push(Member { client_url: "nonsense".into(), ..member(1) });
        endpoints.learn_members(&members);
        assert_eq!(endpoints.all().count(), NODES_MAX);
    }
}
