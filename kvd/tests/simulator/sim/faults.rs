//! Faults of a run, and how long each lasts.

use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::Checked;
use super::network::Link;
use super::streams::LaneOf;
use super::world::World;
use kvd::peer::Lane;
use kvd::raft::{NodeId, RoleName};
use std::collections::BTreeSet;
use testkit::faulty_disk::{Call, Fault as DiskFault};

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    // --- The network -----------------------------------------------------------------------------
    /// Two partitions: nodes reach each other within a partition, but not across.
    Split,
    /// One node can reach no other, and no other can reach it.
    Isolate,
    /// One node receives nothing, or nothing that it sends arrives, or one of its links is dead in one direction.
    OneWay,
    /// Two halves that reach each other only through one node.
    Bridge,
    /// Each node reaches only its two neighbours.
    Ring,
    /// A link that alternates between working and failing.
    Flap,
    /// A link on which everything takes seconds.
    Clog,
    /// Nothing moves on one of the lanes of a node, or both, on some links.
    KillLanes,
    /// Lanes break; they can be dialled again.
    BreakLanes,
    /// A lane with a long delay.
    SlowLane,
    /// A broken link is taken for a dead peer.
    FalsePeerLost,
    /// Clients do not reach a node.
    HideFromClients,
    // --- Processes -------------------------------------------------------------------------------
    /// A process is killed; the operating system keeps running.
    Kill,
    /// A machine loses its power.
    PowerCut,
    /// All machines lose their power.
    PowerCutAll,
    /// A process is paused, and resumes later.
    Pause,
    /// All processes are paused at once, as when the machine that they share is suspended.
    PauseAll,
    // --- Disks -----------------------------------------------------------------------------------
    /// A future call fails.
    DiskError,
    /// There is no space for a while.
    DiskFull,
    /// Writes take long for a while.
    SlowDisk,
    /// The write under way, and all later ones, wait until the disk answers again.
    StuckDisk,
    /// Data written long ago changes.
    Damage,
    // --- Clocks ----------------------------------------------------------------------------------
    /// The wall clock of a node jumps. No node may depend on it.
    WallClockJump,
}

impl Fault {
    pub(crate) const ALL: &[Self] = &[
        Self::Split,
        Self::Isolate,
        Self::OneWay,
        Self::Bridge,
        Self::Ring,
        Self::Flap,
        Self::Clog,
        Self::KillLanes,
        Self::BreakLanes,
        Self::SlowLane,
        Self::FalsePeerLost,
        Self::HideFromClients,
        Self::Kill,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Pause,
        Self::PauseAll,
        Self::DiskError,
        Self::DiskFull,
        Self::SlowDisk,
        Self::StuckDisk,
        Self::Damage,
        Self::WallClockJump,
    ];
}

const MS: Micros = 1_000;

/// While a snapshot is in flight, the percentage of pauses that hit its receiver.
const RECEIVER_PAUSED_PERCENT: u32 = 60;

const LANES: [Lane; 2] = [Lane::Prompt, Lane::Bulk];

impl Fault {
    /// Returns whether the fault ends no process.
    pub(crate) fn leaves_processes_alone(self) -> bool {
        match self {
            Self::Split | Self::Isolate | Self::OneWay | Self::Bridge | Self::Ring | Self::Flap | Self::Clog => true,
            Self::KillLanes | Self::BreakLanes | Self::SlowLane | Self::FalsePeerLost | Self::HideFromClients => true,
            Self::Pause | Self::PauseAll | Self::SlowDisk | Self::StuckDisk | Self::WallClockJump => true,
            Self::Kill | Self::PowerCut | Self::PowerCutAll => false,
            Self::DiskError | Self::DiskFull | Self::Damage => false,
        }
    }

    /// Key under which a fault replaces an earlier one: each new topology replaces the last.
    fn slot(self, victim: NodeId) -> (Self, NodeId) {
        match self {
            Self::Split | Self::Isolate | Self::OneWay | Self::Bridge | Self::Ring | Self::Flap => {
                (Self::Split, NodeId(0))
            }
            _ => (self, victim),
        }
    }
}

impl World {
    /// Inflicts a fault on a random node.
    pub(crate) fn inflict(&mut self, fault: Fault) -> Checked {
        let victim = self.any_victim();
        self.inflict_on(fault, victim)
    }

    /// Strikes a leader that has just been elected. Much depends on how much it has done by then.
    pub(crate) fn strike(&mut self, leader: NodeId) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        self.coverage.count(Kind::NewLeaderStruck);
        let fault = self.chance.one_of(&[Fault::Kill, Fault::PowerCut, Fault::Isolate, Fault::OneWay, Fault::Pause]);
        self.inflict_on(fault, leader)
    }

    /// Inflicts a fault on a node. A fault of the topology replaces the last one.
    fn inflict_on(&mut self, fault: Fault, victim: NodeId) -> Checked {
        match self.any_other_than(victim) {
            Some(other) => self.inflict_with(fault, victim, other),
            None => self.inflict_on_one(fault, victim),
        }
    }

    fn inflict_with(&mut self, fault: Fault, victim: NodeId, other: NodeId) -> Checked {
        self.trace.note(|| format!("fault: {fault:?} at n{}", victim.0));
        let breaks_links =
            matches!(fault, Fault::Split | Fault::Isolate | Fault::OneWay | Fault::Bridge | Fault::Ring | Fault::Flap);
        if breaks_links {
            let mean_ms = self.plan.links_broken_ms;
            self.mend_later(fault, victim, other, mean_ms);
        }
        match fault {
            Fault::Split => self.split(victim),
            Fault::Isolate => {
                self.network.heal_cuts();
                let links: Vec<Link> = self.links_of(victim).collect();
                self.network.cut(links);
                self.hear_nobody_else(BTreeSet::from([victim]));
                self.coverage.count(Kind::Isolation);
            }
            Fault::OneWay => self.cut_one_way(victim, other),
            Fault::Bridge => self.bridge(victim),
            Fault::Ring => self.ring(),
            Fault::Flap => {
                let period = self.chance.within(5 * MS..400 * MS);
                self.network.flap((victim, other), period);
                if self.chance.percent(50) {
                    self.network.flap((other, victim), period);
                }
                self.coverage.count(Kind::FlappingLink);
            }
            Fault::Clog => {
                let by = self.chance.within(100 * MS..5_000 * MS);
                self.network.clog((victim, other), by);
                self.mend_later(fault, victim, other, 3_000);
                self.coverage.count(Kind::ClogLink);
            }
            Fault::KillLanes => self.kill_lanes(victim, other),
            Fault::BreakLanes => {
                for lane in self.draw_lanes(victim, other) {
                    self.coverage.count(Kind::LaneBroken);
                    self.break_lane(lane)?;
                }
            }
            Fault::SlowLane => {
                let by = self.chance.one_of(&[50 * MS, 300 * MS, 2_000 * MS]);
                let lane = LaneOf { link: (victim, other), lane: self.chance.one_of(&[Lane::Prompt, Lane::Bulk]) };
                self.network.slow_lane(lane, by);
                self.mend_later(fault, victim, other, 3_000);
                self.coverage.count(Kind::LaneSlow);
            }
            Fault::FalsePeerLost => {
                self.coverage.count(Kind::FalsePeerLost);
                self.queue.schedule(self.now, Event::PeerLost { at: other, peer: victim });
            }
            Fault::HideFromClients => {
                self.network.hide(victim);
                self.mend_later(fault, victim, other, 2_000);
                self.coverage.count(Kind::ClientsCutOff);
            }
            Fault::Kill => self.kill(victim)?,
            Fault::PowerCut => self.cut_power(victim)?,
            Fault::PowerCutAll => {
                self.coverage.count(Kind::PowerCutOfAll);
                for id in self.all_nodes() {
                    self.cut_power(id)?;
                }
            }
            Fault::Pause => {
                let receivers = self.receivers();
                let receiver = self.chance.any_of(&receivers).filter(|_| self.chance.percent(RECEIVER_PAUSED_PERCENT));
                self.pause(receiver.unwrap_or(victim));
            }
            Fault::PauseAll => {
                self.coverage.count(Kind::PauseOfAll);
                let length = self.draw_pause();
                for id in self.all_nodes() {
                    let later = self.chance.within(0..50 * MS);
                    self.pause_for(id, length + later);
                }
            }
            Fault::DiskError => {
                let call = self.chance.one_of(&[Call::Write, Call::Sync, Call::Sync, Call::Create, Call::Rename]);
                let call = if self.chance.percent(30) {
                    self.chance.one_of(&[Call::Open, Call::Read, Call::List, Call::Remove, Call::SyncDir])
                } else {
                    call
                };
                let what = self.chance.one_of(&[DiskFault::Io, DiskFault::NoSpace]);
                let calls = self.chance.within(0..4);
                self.node(victim).disk.fail_after(call, calls, what);
            }
            Fault::DiskFull => {
                let room = self.chance.within(0..20_000);
                self.node(victim).fill_disk(room);
                self.mend_later(fault, victim, other, 2_000);
            }
            Fault::SlowDisk => {
                let mean = self.chance.one_of(&[50 * MS, 300 * MS, 1_000 * MS]);
                self.slow_disk(victim, mean);
            }
            Fault::StuckDisk => {
                self.node(victim).disk_is_stuck = true;
                let mean_ms = self.chance.one_of(&[2_000, 6_000]);
                self.mend_later(fault, victim, other, mean_ms);
            }
            Fault::Damage => self.damage(victim),
            Fault::WallClockJump => {
                let by = self.chance.one_of(&[-3_600_000, -2_000, -300, 300, 2_000, 3_600_000]);
                self.node(victim).wall_clock_jumps(by);
                self.coverage.count(Kind::WallClockJump);
            }
        }
        Ok(())
    }

    /// Makes writes of a node take this long for a while, on average. Microseconds.
    pub(super) fn slow_disk(&mut self, id: NodeId, mean: Micros) {
        self.node(id).disk_mean_us = mean;
        self.mend_later(Fault::SlowDisk, id, id, 2_000);
    }

    /// Ends a temporary fault.
    pub(crate) fn mend(&mut self, fault: Fault, victim: NodeId, other: NodeId, number: u64) {
        if self.present_faults.get(&fault.slot(victim)) != Some(&number) {
            return;
        }
        match fault {
            Fault::Split | Fault::Isolate | Fault::OneWay | Fault::Bridge | Fault::Ring | Fault::Flap => {
                self.network.heal_cuts();
            }
            Fault::Clog => self.network.unclog((victim, other)),
            Fault::KillLanes => {
                let links: Vec<Link> = self.links_of(victim).collect();
                for (link, lane) in links.into_iter().flat_map(|link| LANES.map(|lane| (link, lane))) {
                    self.network.revive_lane(LaneOf { link, lane });
                }
            }
            Fault::SlowLane => {
                for lane in LANES {
                    self.network.speed_up_lane(LaneOf { link: (victim, other), lane });
                }
            }
            Fault::HideFromClients => self.network.unhide(victim),
            Fault::DiskFull => self.node(victim).disk.set_capacity_bytes(None),
            Fault::SlowDisk => self.node(victim).disk_mean_us = self.plan.disk_mean_us,
            Fault::StuckDisk => self.unstick(victim),
            Fault::FalsePeerLost
            | Fault::BreakLanes
            | Fault::Kill
            | Fault::PowerCut
            | Fault::PowerCutAll
            | Fault::Pause
            | Fault::PauseAll
            | Fault::DiskError
            | Fault::Damage
            | Fault::WallClockJump => unreachable!("{fault:?} is not mended"),
        }
    }

    fn mend_later(&mut self, fault: Fault, victim: NodeId, other: NodeId, mean_ms: u64) {
        let at = self.now + 20 * MS + self.chance.exponential(mean_ms * MS);
        self.faults_inflicted += 1;
        let number = self.faults_inflicted;
        self.present_faults.insert(fault.slot(victim), number);
        self.queue.schedule(at, Event::Mend { fault, victim, other, number });
    }

    /// Inflicts a fault on the only node of a cluster.
    fn inflict_on_one(&mut self, fault: Fault, victim: NodeId) -> Checked {
        match fault {
            Fault::Split
            | Fault::Isolate
            | Fault::OneWay
            | Fault::Bridge
            | Fault::Ring
            | Fault::Flap
            | Fault::Clog
            | Fault::KillLanes
            | Fault::BreakLanes
            | Fault::SlowLane
            | Fault::FalsePeerLost => Ok(()),
            _ => self.inflict_with(fault, victim, victim),
        }
    }

    /// Stops all traffic on lanes of `one`, for a while or for as long as faults occur.
    fn kill_lanes(&mut self, one: NodeId, other: NodeId) {
        let lanes = self.draw_lanes(one, other);
        let has = |wanted| lanes.iter().any(|of| of.lane == wanted);
        self.coverage.count(match (has(Lane::Prompt), has(Lane::Bulk)) {
            (true, true) => Kind::BothLanesDead,
            (true, false) => Kind::PromptLaneDead,
            (false, _) => Kind::BulkLaneDead,
        });
        for lane in lanes {
            self.network.kill_lane(lane, self.now);
        }
        let mean_ms = self.chance.one_of(&[300, 2_000, 8_000, 60_000]);
        self.mend_later(Fault::KillLanes, one, other, mean_ms);
    }

    /// Draws one lane or both, of one link, of all links from `one`, or of all links to it.
    fn draw_lanes(&mut self, one: NodeId, other: NodeId) -> Vec<LaneOf> {
        let lanes: &[Lane] = self.chance.one_of(&[&LANES[..], &[Lane::Prompt], &[Lane::Bulk], &[Lane::Bulk]]);
        let links: Vec<Link> = match self.chance.within(0..4) {
            0 => vec![(one, other)],
            1 => self.links_of(one).filter(|(_, to)| *to == one).collect(),
            _ => self.links_of(one).filter(|(from, _)| *from == one).collect(),
        };
        links.into_iter().flat_map(|link| lanes.iter().map(move |lane| LaneOf { link, lane: *lane })).collect()
    }

    fn any_other_than(&mut self, one: NodeId) -> Option<NodeId> {
        let others: Vec<NodeId> = self.all_nodes().into_iter().filter(|id| *id != one).collect();
        self.chance.any_of(&others)
    }

    /// Draws the victim of a fault: leaders more often than other nodes.
    pub(crate) fn any_victim(&mut self) -> NodeId {
        let leaders = self.leaders();
        match self.chance.any_of(&leaders) {
            Some(leader) if self.chance.percent(50) => leader,
            _ => self.any_node(),
        }
    }

    /// Returns all nodes that believe that they lead.
    pub(crate) fn leaders(&self) -> Vec<NodeId> {
        self.nodes.values().filter(|node| node.role() == Some(RoleName::Leader)).map(|node| node.id).collect()
    }

    /// Returns a node that believes that it leads while another leads a later term.
    pub(crate) fn deposed_leader(&self) -> Option<NodeId> {
        let leaders = self.leaders();
        let oldest = leaders.iter().min_by_key(|id| self.nodes[id].term());
        oldest.filter(|_| leaders.len() > 1).copied()
    }

    pub(super) fn links_of(&self, one: NodeId) -> impl Iterator<Item = Link> {
        self.all_nodes()
            .into_iter()
            .filter(move |other| *other != one)
            .flat_map(move |other| [(one, other), (other, one)])
    }

    /// Splits the cluster in two, with `one` in the smaller partition.
    fn split(&mut self, one: NodeId) {
        let mut others: Vec<NodeId> = self.all_nodes().into_iter().filter(|id| *id != one).collect();
        self.chance.shuffle(&mut others);
        let with_one = self.chance.within(0..(others.len() as u64).div_ceil(2).max(1)) as usize;
        let (mut minority, majority) = (others[..with_one].to_vec(), &others[with_one..]);
        minority.push(one);
        self.network.heal_cuts();
        let across = minority.iter().flat_map(|a| majority.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
        self.network.cut(across);
        self.hear_nobody_else(minority.into_iter().collect());
        self.coverage.count(Kind::Split);
    }

    fn cut_one_way(&mut self, one: NodeId, other: NodeId) {
        let how = self.chance.within(0..3);
        let outward = self.chance.percent(50);
        if how > 0 {
            self.network.heal_cuts();
        }
        let links: Vec<Link> = match how {
            // One more dead link.
            0 => vec![(one, other)],
            _ => self.links_of(one).filter(|(from, _)| (*from == one) == outward).collect(),
        };
        self.network.cut(links);
        if how > 0 && !outward {
            self.hear_nobody_else(BTreeSet::from([one]));
        }
        self.coverage.count(Kind::OneWayCut);
    }

    /// Two halves that reach each other only through `one`.
    fn bridge(&mut self, one: NodeId) {
        let mut others: Vec<NodeId> = self.all_nodes().into_iter().filter(|id| *id != one).collect();
        self.chance.shuffle(&mut others);
        let (left, right) = others.split_at(others.len() / 2);
        self.network.heal_cuts();
        self.network.cut(left.iter().flat_map(|a| right.iter().flat_map(|b| [(*a, *b), (*b, *a)])));
        self.coverage.count(Kind::Bridge);
    }

    /// Lets the nodes of a minority hear only each other from now on.
    fn hear_nobody_else(&mut self, minority: BTreeSet<NodeId>) {
        let raft_of = |id: &NodeId| self.nodes[id].raft();
        if self.plan.members.is_some()
            && minority.iter().any(|id| raft_of(id).is_none_or(|raft| self.invariants.may_decide(raft, &minority)))
        {
            // They are a majority of a smaller set of voters, or may become one.
            return;
        }
        if self.plan.members.is_some() {
            self.coverage.count(Kind::MinorityOfMembers);
        }
        let latest = minority.iter().map(|id| self.nodes[id].term()).max().unwrap_or_default();
        self.invariants.bounds.cut_off(minority, latest);
    }

    fn ring(&mut self) {
        let mut nodes = self.all_nodes();
        self.chance.shuffle(&mut nodes);
        let length = nodes.len();
        if length <= 3 {
            // All nodes are neighbours.
            return;
        }
        let adjoin = |a: usize, b: usize| (a + 1) % length == b || (b + 1) % length == a;
        let apart = |a: usize| (0..length).filter(move |b| *b != a && !adjoin(a, *b)).map(move |b| (a, b));
        let cut: Vec<Link> = (0..length).flat_map(apart).map(|(a, b)| (nodes[a], nodes[b])).collect();
        self.network.heal_cuts();
        self.network.cut(cut);
        self.coverage.count(Kind::Ring);
    }

    /// Damages data that a node wrote long ago, unless so many nodes are damaged that they could be a majority. A node
    /// that is not a member yet may become one that counts.
    fn damage(&mut self, victim: NodeId) {
        let is_member =
            self.last_configuration().is_some_and(|configuration| configuration.members.contains_key(&victim));
        // A member that has yet to begin its log has nothing to lose, and still has to be let in.
        let has_data = self.nodes[&victim].has_data;
        if self.dead.contains(&victim) || !is_member || !has_data || !self.may_lose(victim) {
            return;
        }
        let Self { nodes, chance, .. } = self;
        if let Some(kind) = nodes.get_mut(&victim).expect("a node").damage(chance) {
            self.coverage.count(kind);
        }
    }
}
