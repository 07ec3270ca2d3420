//! Members, voters and quorums (paper §6).
//!
//! A configuration is part of the log and in force from the moment it is appended. While it changes it is *joint*: it
//! names the voters of the old and of the new configuration, and every decision needs a majority of both, so that at no
//! moment two disjoint majorities could decide. Learners receive everything and do not count for quorums.

use super::types::NodeId;
use crate::mutants::{self, Mutant};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Number of removed nodes that are remembered, so that they are told of their removal and never added again. With a
/// node on `--storage memory` that restarts every ten seconds, this covers two days; each id takes eight bytes of every
/// configuration. A forgotten node has kept its promises on its disk, so adding it again would break none of them. This
/// is a second line of defence, against a disk that was put back to an earlier state.
const REMOVED_MAX: usize = 16 << 10;

/// The members of a cluster and their roles in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The voters, whose majority decides. Empty only before a node has joined any cluster.
    pub voters: BTreeSet<NodeId>,
    /// While joint: the voters of the configuration being left, whose majority is needed as well.
    pub outgoing: BTreeSet<NodeId>,
    /// The learners, each with its goal. They receive everything and do not count for quorums.
    pub learners: BTreeMap<NodeId, Goal>,
    /// Name and addresses of every voter, outgoing voter and learner.
    pub members: BTreeMap<NodeId, MemberInfo>,
    /// Former members, the latest last: they are told of their removal and never added again. While joint, members that
    /// are leaving are among them.
    pub removed: Vec<NodeId>,
}

/// The role that a learner is meant to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Stays a learner: a replica for reads.
    Learner,
    /// Becomes a voter as soon as it has caught up.
    Voter,
    /// Replaces this voter, which has the same name and whose disk is lost.
    Replace(NodeId),
}

/// A member's name and URLs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// Name of the node, unique among the members.
    pub name: String,
    /// URL for clients.
    pub client_url: String,
    /// URL for the other nodes.
    pub peer_url: String,
}

impl Configuration {
    /// Returns the first configuration of a cluster: all of these are voters.
    pub fn of_voters(members: impl IntoIterator<Item = (NodeId, MemberInfo)>) -> Self {
        let members: BTreeMap<_, _> = members.into_iter().collect();
        Self { voters: members.keys().copied().collect(), members, ..Self::default() }
    }

    /// No members: the configuration of a node before it is part of a cluster.
    pub const EMPTY: Self = Self {
        voters: BTreeSet::new(),
        outgoing: BTreeSet::new(),
        learners: BTreeMap::new(),
        members: BTreeMap::new(),
        removed: Vec::new(),
    };

    /// Returns true if `id` is the only voter.
    pub fn is_sole_voter(&self, id: NodeId) -> bool {
        self.is_quorum(|voter| voter == id)
    }

    /// Returns true if decisions need a majority of the old and of the new voters.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Returns true if `id` counts for quorums, of the new voters or of the outgoing ones.
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Returns every node to which the leader sends entries, in the order of the ids.
    pub fn everyone(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.keys().copied()
    }

    /// Returns true if the nodes for which `agrees` holds are a quorum: a majority of the voters and, while joint, of
    /// the outgoing voters too. Without voters there is no quorum.
    pub fn is_quorum(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        let incoming = majority(&self.voters, &agrees) || self.is_joint() && mutants::is_on(Mutant::OldQuorumOnly);
        incoming && (!self.is_joint() || majority(&self.outgoing, &agrees))
    }

    /// Returns true if a majority of the voters agrees, outgoing voters aside.
    pub(super) fn is_majority_of_voters(&self, agrees: impl Fn(NodeId) -> bool) -> bool {
        majority(&self.voters, agrees)
    }

    /// Remembers that this node was removed.
    pub(super) fn remember_removed(&mut self, id: NodeId) {
        self.removed.push(id);
        let forgotten = self.removed.len().saturating_sub(REMOVED_MAX);
        self.removed.drain(..forgotten);
    }

    /// Returns the highest value that a quorum has reached, with `reached` returning the value of each voter. For match
    /// indexes this is the commit index. Without voters, returns the default.
    pub fn quorum_reached<T: Ord + Default>(&self, reached: impl Fn(NodeId) -> T) -> T {
        let majority_reached = |voters: &BTreeSet<NodeId>| {
            let mut values: Vec<T> = voters.iter().map(|id| reached(*id)).collect();
            values.sort_unstable();
            // Of n sorted ascending, the one at (n - 1) / 2 has n - (n - 1) / 2 > n / 2 at or above it.
            let half = usize::from(mutants::is_on(Mutant::QuorumOfHalf));
            let middle = values.len().saturating_sub(1) / 2 + half;
            values.into_iter().nth(middle).unwrap_or_default()
        };
        let incoming = majority_reached(&self.voters);
        if !self.is_joint() {
            return incoming;
        }
        let outgoing = majority_reached(&self.outgoing);
        if mutants::is_on(Mutant::OldQuorumOnly) { outgoing } else { incoming.min(outgoing) }
    }

    /// Approximate size of the configuration in bytes; see [`super::Entry::size_bytes`].
    pub fn size_bytes(&self) -> usize {
        let parts = self.voters.len() + self.outgoing.len() + 2 * self.learners.len();
        let ids = parts + self.members.len() + self.removed.len();
        let text = |info: &MemberInfo| info.name.len() + info.client_url.len() + info.peer_url.len();
        ids * size_of::<NodeId>() + self.members.values().map(text).sum::<usize>()
    }
}

fn majority(voters: &BTreeSet<NodeId>, agrees: impl Fn(NodeId) -> bool) -> bool {
    let agreeing = voters.iter().filter(|id| agrees(**id)).count();
    agreeing > voters.len() / 2 || mutants::is_on(Mutant::QuorumOfHalf) && agreeing == voters.len() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(bits: u32, first: u64) -> BTreeSet<NodeId> {
        (0..7).filter(|bit| bits & (1 << bit) != 0).map(|bit| NodeId(first + bit)).collect()
    }

    /// A majority, counted in the most naive way.
    fn naive_majority(voters: &BTreeSet<NodeId>, agreeing: &BTreeSet<NodeId>) -> bool {
        2 * voters.intersection(agreeing).count() > voters.len()
    }

    #[test]
    fn a_quorum_is_a_majority_of_both_halves_for_every_size_up_to_seven() {
        for voters in 1..8u32 {
            for outgoing in 0..8u32 {
                // Voters 1..=n and outgoing voters that overlap them by all but two.
                let voters = ids((1 << voters) - 1, 1);
                let outgoing = ids((1 << outgoing) - 1, 3);
                let configuration =
                    Configuration { voters: voters.clone(), outgoing: outgoing.clone(), ..Configuration::default() };
                for agreeing in 0..1u32 << 9 {
                    let agreeing: BTreeSet<NodeId> =
                        (0..9).filter(|bit| agreeing & (1 << bit) != 0).map(|bit| NodeId(1 + bit)).collect();
                    let expected = naive_majority(&voters, &agreeing)
                        && (outgoing.is_empty() || naive_majority(&outgoing, &agreeing));
                    assert_eq!(configuration.is_quorum(|id| agreeing.contains(&id)), expected, "{configuration:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_quorum_reached_is_the_highest_value_a_quorum_agrees_on() {
        for voters in 1..8u64 {
            for outgoing in [0u64, 1, 2, 3, 4] {
                let configuration = Configuration {
                    voters: (1..=voters).map(NodeId).collect(),
                    outgoing: (3..3 + outgoing).map(NodeId).collect(),
                    ..Configuration::default()
                };
                for pattern in 0..4u64.pow(5) {
                    let reached = |id: NodeId| (pattern >> (2 * (id.0 % 5))) & 3;
                    let expected =
                        (0..4).rev().find(|value| configuration.is_quorum(|id| reached(id) >= *value)).unwrap_or(0);
                    assert_eq!(configuration.quorum_reached(reached), expected, "{configuration:?}");
                }
            }
        }
    }

    #[test]
    fn without_voters_there_is_no_quorum() {
        assert!(!Configuration::default().is_quorum(|_| true));
    }
}
