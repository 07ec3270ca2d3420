//! Member changes that are overtaken. A leader begins to remove a node, and is cut off before any other node hears of
//! it. Another leader removes that node, and a new node takes its name. Then the first leader leads again, and resumes
//! the change that it was asked for.
//!
//! Chance alone hardly ever produces this order, so runs drawn for it produce it step by step. The first leader takes a
//! while to learn that its entry is lost, because the other nodes commit fewer entries meanwhile than the writes that
//! precede it. So clients rest meanwhile.

use super::coverage::Kind;
use super::entrants::WayIn;
use super::events::{Event, Micros};
use super::invariants::Checked;
use super::members::{after, info_of, survives};
use super::node::Input;
use super::world::World;
use kvd::node::MemberChange;
use kvd::raft::{MemberInfo, NodeId, RoleName};
use std::collections::BTreeSet;

const MS: Micros = 1_000;

/// Mean time between two such changes. Microseconds.
const BEGUN_EVERY: Micros = 700 * MS;

/// Interval at which the outcome of the last step is checked. Microseconds.
const LOOKED_EVERY: Micros = 10 * MS;

/// Interval at which a request is repeated. Microseconds.
const ASKED_EVERY: Micros = 200 * MS;

/// Time for which a leader that is cut off takes writes before it is asked for a change. Microseconds.
const WRITES_PILE_UP: Micros = 60 * MS;

/// Time after which the first leader has no time left. Microseconds.
const GIVEN_UP_AFTER: Micros = 4_500 * MS;

/// A change that will be overtaken.
#[derive(Clone, Debug)]
pub(crate) struct Overtaken {
    first_leader: NodeId,
    /// The node to remove.
    meant: NodeId,
    name: String,
    step: Step,
    begun: Micros,
    asked: Micros,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Another leader has to remove the node.
    Remove,
    /// A new node has to take its name.
    Rename(NodeId),
    /// The first leader has to lead again.
    LeadAgain,
}

impl World {
    /// Returns whether clients start and repeat no requests.
    pub(super) fn do_clients_rest(&self) -> bool {
        self.overtaken.as_ref().is_some_and(|it| self.now >= it.begun + WRITES_PILE_UP)
    }

    /// Follows up on a change that will be overtaken, or begins one.
    pub(super) fn overtake(&mut self) -> Checked {
        if self.is_calm || !self.plan.overtakes_changes {
            self.overtaken = None;
            return Ok(());
        }
        self.queue.schedule(self.now + LOOKED_EVERY, Event::Overtake);
        match self.overtaken.take() {
            None if self.chance.exponential(BEGUN_EVERY) < LOOKED_EVERY => self.cut_leader_off(),
            None => Ok(()),
            Some(overtaken) if self.now > overtaken.begun + GIVEN_UP_AFTER => {
                self.network.heal_cuts();
                Ok(())
            }
            Some(overtaken) => self.overtake_on(overtaken),
        }
    }

    /// Cuts a leader off from all other nodes, lets it take writes, and then asks it to remove one of them.
    fn cut_leader_off(&mut self) -> Checked {
        let [first_leader] = self.leaders()[..] else { return Ok(()) };
        let Some(configuration) = self.last_configuration().filter(|it| !it.is_joint()).cloned() else {
            return Ok(());
        };
        let lost: BTreeSet<NodeId> = self.lost().into_iter().chain([first_leader]).collect();
        let do_without = |id: &NodeId| {
            let removed = after(&configuration, &BTreeSet::new(), &BTreeSet::from([*id]));
            *id != first_leader && survives(&configuration, &lost) && survives(&removed, &lost)
        };
        let members: Vec<NodeId> = configuration.members.keys().copied().filter(do_without).collect();
        let Some(meant) = self.chance.any_of(&members) else { return Ok(()) };
        let name = configuration.members[&meant].name.clone();
        self.trace.note(|| format!("n{} is cut off, and to remove {name}", first_leader.0));
        self.network.heal_cuts();
        let links: Vec<_> = self.links_of(first_leader).collect();
        self.network.cut(links);
        self.ask_patiently(first_leader, MemberChange::Remove { name: name.clone(), force: false }, WRITES_PILE_UP);
        let (begun, step) = (self.now, Step::Remove);
        self.overtaken = Some(Overtaken { first_leader, meant, name, step, begun, asked: 0 });
        Ok(())
    }

    fn overtake_on(&mut self, mut overtaken: Overtaken) -> Checked {
        let Overtaken { first_leader, meant, asked, .. } = overtaken;
        let is_member = |id| self.last_configuration().is_some_and(|it| it.members.contains_key(&id));
        let term = self.nodes[&first_leader].term();
        let is_other = |id: &NodeId| *id != first_leader && self.nodes[id].term() > term;
        let other_leader = self.leaders().into_iter().find(is_other);
        let is_time = self.now >= asked + ASKED_EVERY;
        let mut asks = None;
        match overtaken.step {
            Step::Remove if !is_member(meant) => {
                let info = info_of(self.nodes.len() as u64 + 1);
                let info = MemberInfo { name: overtaken.name.clone(), ..info };
                let newcomer = self.start_newcomer(info, WayIn::Joins { stays_learner: false });
                self.queue.schedule(self.now, Event::Start(newcomer));
                overtaken.step = Step::Rename(newcomer);
            }
            Step::Remove => asks = other_leader.filter(|_| is_time),
            Step::Rename(newcomer) if is_member(newcomer) => {
                self.network.heal_cuts();
                overtaken.step = Step::LeadAgain;
            }
            Step::Rename(_) => {}
            Step::LeadAgain if self.nodes[&first_leader].role() == Some(RoleName::Leader) => {
                self.coverage.count(Kind::ChangeOvertaken);
                return Ok(());
            }
            Step::LeadAgain => {
                let leader = self.leaders().into_iter().max_by_key(|id| self.nodes[id].term());
                if let Some(leader) = leader.filter(|_| is_time) {
                    overtaken.asked = self.now;
                    self.overtaken = Some(overtaken);
                    return self.input(leader, Input::LeadershipTransfer(Some(first_leader)));
                }
            }
        }
        if let Some(leader) = asks {
            overtaken.asked = self.now;
            self.ask_patiently(leader, MemberChange::Remove { name: overtaken.name.clone(), force: false }, MS);
        }
        self.overtaken = Some(overtaken);
        Ok(())
    }
}
