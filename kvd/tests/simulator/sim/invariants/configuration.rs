//! Each node uses the last configuration in its log, committed or not (paper §6). Consecutive configurations never let
//! two disjoint majorities decide: any quorum of one meets any quorum of the next; a change begins only when the
//! previous one is committed, and only on a leader that has committed an entry of its own term. The id of a removed
//! member never becomes a member again: the node that bears it may have forgotten its promises.

use super::super::image::Image;
use super::super::node::Node;
use super::committed_on_quorum::Committed;
use super::presence::Presence;
use super::{Checked, Place, Violation, ensure};
use kvd::raft::{Configuration, LogIndex, NodeId, Raft, RoleName, Term};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "Configuration in the Log";
const STEPS: &str = "Configurations Intersect";
const REMOVED: &str = "Removed for Ever";

/// Every configuration that any node has ever had in its log.
#[derive(Debug, Default)]
pub(crate) struct Configurations {
    known: BTreeMap<Place, Configuration>,
}

impl Configurations {
    /// Checks a node that has changed. Returns whether it has a joint configuration in force that no node had before.
    pub(super) fn check(
        &mut self,
        raft: &Raft,
        committed: &[Committed],
        presence: &Presence,
        nodes: &BTreeMap<NodeId, Node>,
    ) -> Result<bool, Violation> {
        let (id, index, used) = (raft.id().0, raft.configuration_index(), raft.configuration());
        if *used == Configuration::EMPTY {
            let last = raft.log().last_index();
            ensure!(NAME, last == LogIndex(0), "n{id} has entries up to {last}, and no configuration");
            return Ok(false);
        }
        // At or before the base, it comes from a snapshot, hence it is committed.
        let term_of_committed = || committed.get(index.previous().0 as usize).map(|entry| entry.term);
        let term = raft.log().term_at(index).filter(|_| index > raft.log().base().index).or_else(term_of_committed);
        let Some(term) = term else { return Ok(false) };
        let known = self.known.get(&(index, term));
        let is_new = known.is_none();
        match known {
            Some(known) => ensure!(NAME, known == used, "n{id} uses another configuration {index}@{term} than others"),
            None => self.appended(raft, (index, term), committed, presence, nodes)?,
        }
        let is_in_log = |(index, term): &Place| raft.log().term_at(*index) == Some(*term);
        let later = self.known.range((index.next(), Term(0))..).find(|(place, _)| is_in_log(place));
        ensure!(NAME, later.is_none(), "n{id} uses the configuration of entry {index}, and has another at {later:?}");
        Ok(is_new && used.is_joint())
    }

    /// Checks a configuration that no node had appended before.
    fn appended(
        &mut self,
        raft: &Raft,
        place: Place,
        committed: &[Committed],
        presence: &Presence,
        nodes: &BTreeMap<NodeId, Node>,
    ) -> Checked {
        let (id, next) = (raft.id().0, raft.configuration());
        if let Some((before_place, before)) = self.before(raft, place, committed) {
            let is_committed = before_place.0.0 <= committed.len() as u64;
            let back = before.removed.iter().find(|removed| next.members.contains_key(removed));
            ensure!(REMOVED, back.is_none(), "{back:?} was removed, and n{id} makes it a member again");
            ensure!(STEPS, is_committed, "n{id} changes the members while the change at {before_place:?} is open");
            let disjoint = disjoint_quorums(before, next);
            ensure!(
                STEPS,
                disjoint.is_none(),
                "n{id} goes from {before:?} to {next:?}: {disjoint:?} could decide both"
            );
            if raft.role() == RoleName::Leader && place.1 == raft.term() {
                presence.check_change(raft, before, next, nodes)?;
            }
        }
        if raft.role() == RoleName::Leader && place.1 == raft.term() {
            let log = raft.log();
            let may = log.term_at(log.commit_index()) == Some(raft.term());
            ensure!(STEPS, may, "n{id} changes the members before it has committed in its term");
        }
        self.known.insert(place, next.clone());
        Ok(())
    }

    /// Returns the configuration before that place in a node's log.
    fn before(&self, raft: &Raft, (index, _): Place, committed: &[Committed]) -> Option<(Place, &Configuration)> {
        let log = raft.log();
        let is_in_log = |place: &Place| {
            let (index, term) = *place;
            if index > log.base().index { log.term_at(index) == Some(term) } else { is_committed(place, committed) }
        };
        let before = self.known.range(..(index, Term(0))).rev().find(|(place, _)| is_in_log(place));
        before.map(|(place, configuration)| (*place, configuration))
    }

    /// Returns the configuration before the last one in a node's log.
    pub(super) fn before_last(&self, raft: &Raft) -> Option<&Configuration> {
        self.at(raft.configuration_index().previous(), |index| raft.log().term_at(index))
    }

    /// Returns the configuration in force at an entry of a log with these terms.
    fn at(&self, index: LogIndex, term_at: impl Fn(LogIndex) -> Option<Term>) -> Option<&Configuration> {
        let mut up_to = self.known.range(..(index.next(), Term(0))).rev();
        up_to.find(|((index, term), _)| term_at(*index) == Some(*term)).map(|(_, configuration)| configuration)
    }

    /// Returns the last configuration on a disk.
    pub(super) fn of_image(&self, image: &Image) -> Option<&Configuration> {
        self.at(image.last_index(), |index| image.term_at(index))
    }

    /// Returns the last committed configuration, and all later ones that may yet be committed.
    pub(super) fn possible(&self, committed: &[Committed]) -> Vec<&Configuration> {
        let last = self.known.iter().rev().find(|(place, _)| is_committed(place, committed));
        let open = self.known.range((LogIndex(committed.len() as u64 + 1), Term(0))..);
        last.into_iter().chain(open).map(|(_, configuration)| configuration).collect()
    }
}

fn is_committed((index, term): &Place, committed: &[Committed]) -> bool {
    committed.get(index.previous().0 as usize).is_some_and(|entry| entry.term == *term)
}

/// Returns a quorum of one configuration whose complement is a quorum of the other, if there is any.
fn disjoint_quorums(one: &Configuration, other: &Configuration) -> Option<BTreeSet<NodeId>> {
    let all: Vec<NodeId> = [&one.voters, &one.outgoing, &other.voters, &other.outgoing]
        .into_iter()
        .flatten()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let is_quorum = |of: &Configuration, agrees: &dyn Fn(NodeId) -> bool| super::is_quorum(of, agrees);
    (0..1u32 << all.len()).find_map(|bits| {
        let chosen: BTreeSet<NodeId> =
            all.iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0).map(|(_, id)| *id).collect();
        let decide_both = is_quorum(one, &|id| chosen.contains(&id)) && is_quorum(other, &|id| !chosen.contains(&id));
        decide_both.then_some(chosen)
    })
}
