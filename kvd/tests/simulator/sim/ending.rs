//! The end of a run: faults stop, and the cluster must serve again within a bound (liveness).
//!
//! In some runs everything works again. In others only a randomly drawn majority does, while the remaining nodes stay
//! dead. In others only the links within a majority are sure to work, while all other links work in both directions, in
//! one, or not at all. In the rest, the disks of a minority stay stuck or full, its processes stay paused, or its bulk
//! lanes stay dead. While members change, a minority is a set of nodes that every possible later configuration can do
//! without. Clients keep writing throughout, since that is when mistakes show.

use super::admissions::ANSWER_TIMEOUT;
use super::client::Client;
use super::coverage::Kind;
use super::entrants::{Entrant, WayIn};
use super::events::{Event, Life, Micros};
use super::invariants::{Checked, ensure};
use super::linearizability;
use super::network::Link;
use super::node::{Node, State};
use super::plan::Ending;
use super::snapshots::owes_snapshot;
use super::streams::LaneOf;
use super::world::World;
use kvd::peer::Lane;
use kvd::raft::{Configuration, Goal, InFlight, NodeId};
use std::collections::BTreeSet;

const NAME: &str = "Liveness";

/// Longest election timeouts within which a leader serves again.
pub(super) const ELECTION_TIMEOUTS_MAX: u64 = 20;

/// Factor by which a cluster that makes progress may exceed that limit.
const PROGRESS_TIMES: u64 = 8;

/// Clocks may be up to a fifth slow.
const SLOWEST_CLOCK: (u64, u64) = (5, 4);

/// Acknowledged writes that show that the cluster serves.
const WRITES_WANTED: u64 = 3;

/// Longest time that clients wait for an answer from now on. Milliseconds.
const CLIENT_PATIENCE_MS: u64 = 500;

/// They also wait for the time that this many values of every client take on a slow link: with less patience than the
/// whole queue takes, a client gives up before its turn.
const CLIENT_PATIENCE_VALUES: u64 = 2;

/// Largest number of values queued ahead of another on a slow link.
const VALUES_AHEAD_MAX: u64 = 40;

/// Mean pause of clients between two requests, at most. Microseconds.
const CLIENT_PAUSE_US_MAX: Micros = 10_000;

/// Largest share of reads among requests, since the run waits for writes.
const CLIENT_READ_PERCENT_MAX: u32 = 40;

/// Largest number of unresponsive nodes that a node waiting for admission asks in sequence.
const ASKED_IN_VAIN_MAX: u64 = 4;

/// Interval at which the operator checks that all waiting nodes can be admitted. Microseconds.
const CORRECTED_EVERY: Micros = 1_000_000;

/// Mean duration of a write to a healthy disk. Microseconds.
const CALM_DISK_US: Micros = 300;

impl World {
    /// Stops all faults, and checks what must then become true.
    pub(crate) fn end(&mut self) -> Checked {
        self.trace.note(|| "faults stop".into());
        self.stop_faults()?;
        let (slow, true_time) = SLOWEST_CLOCK;
        let patience_ms = ELECTION_TIMEOUTS_MAX * self.plan.settings.election_timeout_max_ms * slow / true_time
            + VALUES_AHEAD_MAX * self.plan.value_ms();
        if self.plan.bereaves() {
            self.wait_for("a cluster is founded", patience_ms, Self::is_founded)?;
            if self.is_bereft() {
                return self.check_held(patience_ms);
            }
        }
        let links_stay_dead = self.plan.ending == Ending::Partial;
        let clients = self.plan.clients.number as u64;
        let client_ms = CLIENT_PATIENCE_MS + CLIENT_PATIENCE_VALUES * clients * self.plan.value_ms();
        // A client may still wait for an answer that never comes.
        let clients = &mut self.plan.clients;
        let client_ms = std::mem::replace(&mut clients.patience_ms, client_ms);
        clients.pause_us = clients.pause_us.min(CLIENT_PAUSE_US_MAX);
        clients.read_percent = clients.read_percent.min(CLIENT_READ_PERCENT_MAX);
        self.clients.iter_mut().for_each(Client::lose_faith);
        self.wait_for("writes are acknowledged", patience_ms + client_ms, |world| world.served >= WRITES_WANTED)?;
        self.check_stability()?;
        self.check_divergence_is_found()?;
        self.clients_stop = true;
        // Clients eventually give up, and nodes answer within their own time limit.
        let clients_ms = 4 * client_ms + 2 * self.plan.request_timeout_ms;
        self.wait_for("every client has its answer or has given up", patience_ms + clients_ms, |world| {
            world.clients.iter().all(Client::is_idle)
        })?;
        if !links_stay_dead {
            // A waiting node may first ask nodes that stay paused for ever.
            let waits = self.nodes.values().any(|node| node.entrant().is_some());
            let admission_ms = if waits { ASKED_IN_VAIN_MAX * ANSWER_TIMEOUT / 1_000 } else { 0 };
            let limit = patience_ms + 2 * self.plan.request_timeout_ms + admission_ms;
            self.wait_for("the level is what all members know", limit, Self::is_level_raised)?;
            self.wait_for("all nodes have one leader and the same log, applied to its end", limit, Self::is_settled)?;
            self.check_states()?;
            if self.chance.percent(50) {
                self.check_leadership_transfer()?;
                self.wait_for("all nodes follow the new leader, and have its log", limit, Self::is_settled)?;
                self.check_states()?;
            }
            if self.chance.percent(30) {
                self.check_idle_time(limit)?;
            }
            self.check_refounding()?;
            if self.plan.members.is_none() && self.chance.percent(50) {
                self.check_unheard_leader()?;
            }
        }
        for node in self.nodes.values() {
            self.coverage.add(Kind::DiskError, node.disk.failures());
            self.coverage.add(Kind::DiskFull, node.disk.refusals_for_space());
        }
        self.coverage.add(Kind::AppliedAgain, self.invariants.model.applied_again());
        linearizability::check(std::mem::take(&mut self.history), &self.invariants.model)
    }

    fn stop_faults(&mut self) -> Checked {
        self.is_calm = true;
        self.calm_since = self.moment;
        self.network.calm_down();
        self.calm_streams();
        // Disks are mended to this speed from now on.
        self.plan.disk_mean_us = CALM_DISK_US;
        let all = self.all_nodes();
        let others = self.draw_others(&all);
        if self.plan.ending != Ending::All {
            self.left_out = others.clone();
        }
        for id in &all {
            let node = self.node(*id);
            node.disk.set_capacity_bytes(None);
            node.disk.forget_planned_faults();
            node.disk_mean_us = CALM_DISK_US;
            if self.plan.ending == Ending::Hindered && others.contains(id) {
                self.hinder(*id);
            } else {
                self.node(*id).disk_is_stuck = false;
                self.finish_soon(*id);
                if let Some((life, _)) = self.nodes[id].running() {
                    self.resume(*id, life)?;
                }
            }
        }
        match self.plan.ending {
            Ending::All => self.coverage.count(Kind::AllServe),
            Ending::Majority => {
                self.coverage.count(Kind::MajorityServes);
                for id in others {
                    self.cut_power(id)?;
                    self.dead.push(id);
                }
            }
            Ending::Hindered => self.coverage.count(Kind::HinderedServe),
            Ending::Partial => {
                self.coverage.count(Kind::PartialServes);
                let cut = self.draw_dead_links(&all, &others);
                self.network.cut(cut);
            }
        }
        for id in all {
            self.queue.schedule(self.now, Event::Start(id));
        }
        self.correct_flags()
    }

    /// Acts as the operator who makes sure that all waiting nodes can be admitted: each is given the URL of a healthy
    /// member, and none expects data that is not there.
    pub(super) fn correct_flags(&mut self) -> Checked {
        self.queue.schedule(self.now + CORRECTED_EVERY, Event::CorrectFlags);
        if self.is_bereft() {
            // Restarting them would lose what they know.
            return Ok(());
        }
        let configuration = self.last_configuration().cloned().unwrap_or_default();
        let lost = self.lost();
        let is_well = |id: &NodeId| self.nodes[id].has_data && !lost.contains(id) && !self.hindered.contains(id);
        let well: BTreeSet<NodeId> = configuration.members.keys().copied().filter(is_well).collect();
        let urls = self.urls_of(&configuration, |id| well.contains(&id));
        for id in self.all_nodes() {
            let node = &self.nodes[&id];
            if node.has_data || lost.contains(&id) || node.way_in == WayIn::Founds {
                continue;
            }
            let is_wrong = !configuration.members.is_empty() && !self.finds_its_way(node, &configuration, &well);
            if is_wrong {
                let node = self.node(id);
                node.way_in = WayIn::Joins { stays_learner: node.stays_learner() };
                node.join_urls.clone_from(&urls);
            }
            if is_wrong || self.nodes[&id].expects_data {
                self.start_again(id)?;
            }
        }
        Ok(())
    }

    /// Returns whether a node without data can be admitted with the flags it was started with.
    fn finds_its_way(&self, node: &Node, configuration: &Configuration, well: &BTreeSet<NodeId>) -> bool {
        if node.way_in != WayIn::Forms {
            return node.join_urls.iter().any(|url| well.contains(&self.node_at(url)));
        }
        let names = &mut configuration.members.values().map(|info| &info.name);
        let may_return = names.any(|name| *name == node.info.name);
        may_return && self.founder_names().iter().any(|name| well.contains(&self.node_at(&format!("http://{name}"))))
    }

    /// Returns whether a node can serve again: its data has no damage that it would notice on start.
    fn is_usable(&self, id: NodeId) -> bool {
        !matches!(self.nodes[&id].state, State::Refused) && !self.nodes[&id].damaged
    }

    /// Draws nodes that the cluster can do without, in addition to those that cannot serve again. Leaders are drawn
    /// more often than other nodes, since their absence must be noticed.
    fn draw_others(&mut self, all: &[NodeId]) -> Vec<NodeId> {
        let (mut usable, mut others): (Vec<NodeId>, Vec<NodeId>) = all.iter().partition(|id| self.is_usable(**id));
        self.chance.shuffle(&mut usable);
        if self.chance.percent(50) {
            let leaders = self.leaders();
            usable.sort_by_key(|id| !leaders.contains(id));
        }
        if self.plan.members.is_none() && self.plan.forming.is_none() {
            others.extend(usable.iter().take(usable.len().saturating_sub(all.len() / 2 + 1)));
            return others;
        }
        let is_member = |world: &Self, id| {
            let configuration = world.last_configuration();
            configuration.is_some_and(|configuration| configuration.members.contains_key(&id))
        };
        // A node that joins under the name of another may still have to take its place.
        for id in usable {
            let lost = self.lost().into_iter().chain(others.iter().copied()).collect();
            if is_member(self, id) && self.may_lose_beside(id, lost) && self.chance.percent(70) {
                others.push(id);
            }
        }
        others
    }

    /// Inflicts a permanent fault on a node: its disk no longer answers or has no space left, its process stays paused,
    /// or its bulk lanes are dead.
    fn hinder(&mut self, id: NodeId) {
        self.hindered.push(id);
        let ways = if self.network.is_loose() { 3 } else { 4 };
        match self.chance.within(0..ways) {
            3 => {
                let links = self.links_of(id).map(|link| LaneOf { link, lane: Lane::Bulk });
                for lane in links.collect::<Vec<_>>() {
                    self.network.kill_lane_for_ever(lane, self.now);
                }
                self.coverage.count(Kind::LanesDeadForEver);
            }
            0 => {
                self.node(id).disk_is_stuck = true;
                self.coverage.count(Kind::StuckForEver);
            }
            1 => {
                self.unstick(id);
                self.node(id).fill_disk(0);
                self.coverage.count(Kind::FullForEver);
            }
            _ => {
                if let Some(process) = self.process(id) {
                    process.paused = true;
                    // No event resumes it any more.
                    process.life = Life::MAX;
                }
                self.coverage.count(Kind::PausedForEver);
            }
        }
    }

    fn draw_dead_links(&mut self, all: &[NodeId], others: &[NodeId]) -> Vec<Link> {
        let mut dead = Vec::new();
        for from in all {
            for to in all.iter().filter(|to| *to != from) {
                let within = !others.contains(from) && !others.contains(to);
                if !within && self.chance.percent(60) {
                    dead.push((*from, *to));
                }
            }
        }
        dead
    }

    /// Returns the nodes that should work by now.
    pub(super) fn living(&self) -> impl Iterator<Item = &Node> {
        let configuration = self.last_configuration();
        let is_member = move |id| configuration.is_none_or(|configuration| configuration.members.contains_key(&id));
        let is_up = |node: &&Node| !matches!(node.state, State::Refused) && !self.dead.contains(&node.id);
        self.nodes.values().filter(is_up).filter(move |node| is_member(node.id))
    }

    /// Returns those of them that have no fault.
    pub(super) fn healthy(&self) -> impl Iterator<Item = &Node> {
        self.living().filter(|node| !self.hindered.contains(&node.id))
    }

    pub(super) fn is_settled(&self) -> bool {
        let Some((id, term)) = self.followed_leader() else { return false };
        if !self.have_members_settled() {
            return false;
        }
        let last = self.nodes[&id].raft().map(|raft| raft.log().last_index());
        let views: Option<Vec<_>> = self.healthy().map(|node| node.raft().map(|raft| (raft, raft.log()))).collect();
        let (Some(last), Some(views)) = (last, views) else { return false };
        let is_idle = |node: &Node| {
            let process = node.process().expect("a running node");
            process.writing.is_none()
                && process.taking.is_none()
                && !owes_snapshot(process, self.plan.snapshot_log_bytes_of(node.id))
                && process.replica.waiting_writes() == 0
                && process.replica.waiting_reads() == 0
                && process.replica.raft().followers().iter().all(|follower| {
                    self.is_beyond_reach(follower.follower) || follower.in_flight == Some(InFlight::default())
                })
        };
        views.iter().all(|(raft, log)| {
            let same = (raft.term(), raft.leader(), log.last_index()) == (term, Some(id), last);
            same && log.applied_index() == last && log.durable_index() == last
        }) && self.healthy().all(is_idle)
    }

    /// Returns whether all nodes that can be members have their intended roles.
    fn have_members_settled(&self) -> bool {
        let possible = self.invariants.possible_configurations();
        let [configuration] = possible[..] else { return false };
        // A node with a permanent fault may be heard or not.
        let lives = |id: NodeId| self.nodes[&id].process().is_some();
        // It may only take the place of a member with its name, and there is none.
        let is_turned_away = |node: &Node| {
            let names = &mut configuration.members.values().map(|info| &info.name);
            node.entrant().is_some_and(Entrant::is_to_return) && !names.any(|name| *name == node.info.name)
        };
        let is_done = |(id, goal): (&NodeId, &Goal)| match goal {
            Goal::Learner => true,
            Goal::Voter => self.is_beyond_reach(*id),
            Goal::Replace(old) => self.is_beyond_reach(*id) || lives(*old),
        };
        // A live member has its name, so it waits for ever.
        let is_taken = |node: &Node| {
            let mut members = configuration.members.iter();
            members.any(|(id, info)| *id != node.id && info.name == node.info.name && lives(*id))
        };
        let has_come = |node: &Node| {
            let is_in = configuration.members.contains_key(&node.id) || configuration.removed.contains(&node.id);
            let is_out = self.dead.contains(&node.id) || matches!(node.state, State::Refused);
            is_in || is_out || is_taken(node) || is_turned_away(node)
        };
        !configuration.is_joint() && configuration.learners.iter().all(is_done) && self.nodes.values().all(has_come)
    }

    /// Returns whether a node may never answer again.
    fn is_beyond_reach(&self, id: NodeId) -> bool {
        self.nodes[&id].process().is_none() || self.hindered.contains(&id)
    }

    /// Checks that every live node has the same state as the model, key by key, and no other keys.
    fn check_states(&self) -> Checked {
        for node in self.healthy() {
            let replica = &node.process().expect("a settled node runs").replica;
            self.invariants.bounds.check_idle(node.id, replica, |id| !self.is_beyond_reach(id))?;
            let store = replica.store().read().expect("nothing panics while it holds the store");
            let items = store.range_from(std::ops::Bound::Unbounded).map(|(key, item)| (key.to_vec(), item.to_item()));
            let found: Vec<_> = items.collect();
            let expected = self.invariants.model.items();
            ensure!(
                "State Machine Safety",
                found == expected,
                "n{} has {found:?}, and should have {expected:?}",
                node.id.0
            );
            let leases: Vec<_> = store.leases(None).map(|(lease, _)| lease).collect();
            let expected = self.invariants.model.present_leases();
            ensure!(
                "State Machine Safety",
                leases.iter().eq(expected.keys()),
                "n{} has the leases {leases:?}, and should have {expected:?}",
                node.id.0
            );
            let (kept, computed) = (store.state_hash(), store.recompute_state_hash());
            ensure!(
                "State Machine Safety",
                kept == computed,
                "n{} has hash {kept}, and should have {computed}",
                node.id.0
            );
        }
        Ok(())
    }

    /// Returns a number that grows with every entry committed or applied on any node.
    fn progress(&self) -> u64 {
        let applied = self.living().filter_map(Node::raft).map(|raft| raft.log().applied_index().0);
        self.invariants.committed_index().0 + applied.sum::<u64>()
    }

    /// Describes the state of every node.
    pub(super) fn describe(&self) -> String {
        let hindered: Vec<u64> = self.hindered.iter().map(|id| id.0).collect();
        let nodes: Vec<String> = self.nodes.values().map(describe).collect();
        format!("{:?}, hindered {hindered:?}; {}", self.plan.ending, nodes.join("; "))
    }

    /// Waits until `reached` holds. The limit restarts with each sign of progress: a cluster that works off a backlog,
    /// one entry per message, is alive. The total wait is limited as well.
    pub(super) fn wait_for(&mut self, what: &str, limit_ms: u64, reached: impl Fn(&Self) -> bool) -> Checked {
        let limit = limit_ms * 1_000;
        let last_end = self.now + PROGRESS_TIMES * limit;
        let (mut end, mut progress) = (self.now + limit, self.progress());
        while !reached(self) {
            if self.progress() > progress {
                (end, progress) = ((self.now + limit).min(last_end), self.progress());
            }
            ensure!(NAME, self.now < end, "not within {limit_ms} ms: {what}. {}", self.describe());
            self.step()?;
        }
        Ok(())
    }
}

fn describe(node: &Node) -> String {
    let damaged = if node.damaged { " (damaged)" } else { "" };
    match (&node.state, node.raft()) {
        (State::Entering(entrant), _) => format!("n{} waits {}", node.id.0, entrant.waiting_for()),
        (State::Running(process), Some(raft)) => {
            let log = raft.log();
            let leader = raft.leader().map_or_else(String::new, |leader| format!(" of n{}", leader.0));
            let (writes, reads) = (process.replica.waiting_writes(), process.replica.waiting_reads());
            format!(
                "n{}{damaged} {:?}{leader} term {} last {} durable {} commit {} applied {}, level {} of {}, {writes} writes and {reads} reads wait",
                node.id.0,
                raft.role(),
                raft.term(),
                log.last_index(),
                log.durable_index(),
                log.commit_index(),
                log.applied_index(),
                process.replica.level(),
                node.level_max
            )
        }
        (State::Refused, _) => format!("n{} refused to start", node.id.0),
        (_, _) => format!("n{} is down", node.id.0),
    }
}
