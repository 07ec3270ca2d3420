//! Snapshots that outlive their leaders: one is held back at its receiver's disk while leaders change, and becomes its
//! state in another term and another role, when its log may be more than what the snapshot holds.
//!
//! That takes a leader that can feed the receiver from its log, and does not know yet how far that is committed. So the
//! node that is to lead next often starts anew, is struck once it leads, and some nodes keep their logs whole.

use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::Checked;
use super::node::{Input, Node};
use super::snapshots::Transfer;
use super::world::World;
use kvd::raft::{NodeId, RoleName};

const MS: Micros = 1_000;

/// How long a snapshot is held back at most, if its receiver does not stand for election before. Microseconds.
const HELD_BACK_MAX: Micros = 6_000 * MS;

/// In runs with late snapshots a follower falls behind so often, at the mean. Microseconds.
const FALLS_BEHIND_EVERY: Micros = 700 * MS;

/// How often a leader is asked to hand over, before it is struck, and at which distance. Microseconds.
const TRIES: u64 = 4;
const RETRY_AFTER: Micros = 200 * MS;

/// Of snapshots whose receiver stands for election: those that arrive then.
const ARRIVES_AT_CANDIDATE_PERCENT: u32 = 80;

impl World {
    /// A follower is away for so long that the leader lets go of the log that it lacks; this happens again and again in
    /// runs with late snapshots.
    pub(super) fn fall_behind(&mut self) -> Checked {
        if self.is_calm || self.plan.late_snapshots_percent == 0 {
            return Ok(());
        }
        let pause = self.chance.exponential(FALLS_BEHIND_EVERY);
        self.queue.schedule(self.now + pause, Event::FallBehind);
        let [leader] = self.leaders()[..] else { return Ok(()) };
        if !self.transfers.is_empty() || self.nodes.values().any(|node| node.process().is_none_or(|it| it.paused)) {
            // Enough is going on.
            return Ok(());
        }
        let others: Vec<NodeId> = self.all_nodes().into_iter().filter(|id| *id != leader).collect();
        // Those that keep their logs whole are to lead next.
        let takes_snapshots: Vec<NodeId> =
            others.iter().copied().filter(|id| self.plan.snapshot_log_bytes_of(*id).is_some()).collect();
        let Some(one) = self.chance.any_of(&takes_snapshots).or_else(|| self.chance.any_of(&others)) else {
            return Ok(());
        };
        self.crash(one)?;
        self.nodes[&one].disk.kill();
        self.peers_notice(one);
        let away = self.chance.within(500 * MS..1_500 * MS);
        self.queue.schedule(self.now + away, Event::Start(one));
        Ok(())
    }

    /// The node that is to lead while a snapshot is on its way, if this one is to be late: its log reaches back to that
    /// of the receiver.
    pub(super) fn draw_successor(&mut self, leader: NodeId, receiver: NodeId) -> Option<NodeId> {
        if self.is_calm || !self.chance.percent(self.plan.late_snapshots_percent) {
            return None;
        }
        let last = self.nodes[&receiver].raft()?.log().last_index();
        let can_feed = |node: &Node| {
            let process = node.process().filter(|process| !process.paused);
            process.is_some_and(|process| process.replica.raft().log().base().index <= last)
        };
        let fit = |node: &&Node| ![leader, receiver].contains(&node.id) && can_feed(node);
        let fitting: Vec<NodeId> = self.nodes.values().filter(fit).map(|node| node.id).collect();
        self.chance.any_of(&fitting)
    }

    /// Until when a snapshot that is sent now is held back.
    pub(super) fn draw_holding_back(&mut self) -> Micros {
        self.now + self.chance.within(1_000 * MS..HELD_BACK_MAX)
    }

    /// A snapshot lies at its receiver, and is to outlive the leader that sent it.
    pub(super) fn outlive_leader(&mut self, leader: NodeId, receiver: NodeId, successor: NodeId) -> Checked {
        self.coverage.count(Kind::LateSnapshot);
        self.trace.note(|| format!("n{}'s snapshot for n{} is to outlive it", leader.0, receiver.0));
        let disk_mean = self.chance.one_of(&[50 * MS, 100 * MS, 300 * MS]);
        self.slow_disk(receiver, disk_mean);
        if self.chance.percent(70) {
            return self.start_others_anew(leader, receiver);
        }
        let after = self.chance.one_of(&[20 * MS, 100 * MS, 400 * MS]);
        let at = self.now + self.chance.exponential(after);
        self.queue.schedule(at, Event::Succeed { leader, successor, tries: TRIES });
        Ok(())
    }

    /// All but the receiver of a late snapshot are killed, and start again, the leader last: of what is committed they know
    /// only what their logs say, and who leads next feeds the receiver what it does not yet know to be committed.
    fn start_others_anew(&mut self, leader: NodeId, receiver: NodeId) -> Checked {
        for id in self.all_nodes().into_iter().filter(|id| *id != receiver) {
            self.kill(id)?;
            let after =
                if id == leader { self.chance.within(400 * MS..2_500 * MS) } else { self.chance.within(MS..20 * MS) };
            self.queue.schedule(self.now + after, Event::Start(id));
        }
        Ok(())
    }

    /// A leader makes room for another: it hands over, or is gone.
    pub(super) fn succeed(&mut self, leader: NodeId, successor: NodeId, tries: u64) -> Checked {
        if self.is_calm || self.nodes[&leader].role() != Some(RoleName::Leader) {
            return Ok(());
        }
        if self.chance.percent(15) || tries == 0 {
            return self.strike(leader);
        }
        self.queue.schedule(self.now + RETRY_AFTER, Event::Succeed { leader, successor, tries: tries - 1 });
        self.input(leader, Input::HandOver(Some(successor)))
    }

    /// A node stands for election: what was held back may arrive now.
    pub(super) fn stands_for_election(&mut self, id: NodeId) {
        let Self { transfers, chance, queue, now, .. } = self;
        let is_held = |transfer: &Transfer| transfer.to == id && transfer.has_come() && transfer.held_until > *now;
        for (number, transfer) in transfers.iter_mut().filter(|(_, transfer)| is_held(transfer)) {
            if chance.percent(ARRIVES_AT_CANDIDATE_PERCENT) {
                transfer.held_until = *now;
                let after = chance.one_of(&[1, MS, 20 * MS]);
                queue.schedule(*now + chance.within(0..after), Event::TransferPiece(*number));
            }
        }
    }

    /// The receiver of a late snapshot has from another leader what the snapshot holds, in memory alone, and does not know
    /// it to be committed: that leader is struck, and who sent the snapshot is there again to vote.
    pub(super) fn strike_successor(&mut self, receiver: NodeId) {
        if self.transfers.is_empty() || self.is_calm {
            return;
        }
        let Some(raft) = self.nodes[&receiver].raft() else { return };
        let (log, leader) = (raft.log(), raft.leader());
        let Some(leader) = leader.filter(|leader| *leader != receiver) else { return };
        let is_fed = |transfer: &Transfer| {
            let is_other = transfer.to == receiver && transfer.from.0 != leader && transfer.strikes;
            // With an entry of that leader it has more than who sent the snapshot, so that it gets its vote.
            let is_all_there = log.last_index() > transfer.last && log.last_term() == raft.term();
            let is_in_memory = is_all_there && log.durable_index() < transfer.last;
            is_other && transfer.held_until > self.now && is_in_memory && log.commit_index() < transfer.last
        };
        if let Some(transfer) = self.transfers.values_mut().find(|transfer| is_fed(transfer)) {
            transfer.strikes = false;
            let sender = transfer.from.0;
            let mean = self.chance.one_of(&[1, 5 * MS, 50 * MS]);
            let at = self.now + self.chance.exponential(mean);
            // One that is dead is missed at once.
            let is_killed = self.chance.percent(60);
            self.queue.schedule(at, if is_killed { Event::Kill(leader) } else { Event::Strike(leader) });
            self.queue.schedule(at, Event::Start(sender));
        }
    }
}
