//! Snapshots that outlive their leaders. A snapshot is held back at its receiver's disk while leaders change, and is
//! installed in a later term and another role. The receiver's log may then hold more than the snapshot does.
//!
//! This takes a leader that can feed the receiver from its log, and does not know yet how far that log is committed. So
//! the node that will lead next is often restarted and is struck once it leads, and some nodes keep their whole logs.

use super::coverage::Kind;
use super::events::{Event, Micros};
use super::invariants::Checked;
use super::node::{Input, Node};
use super::snapshots::Transfer;
use super::world::World;
use kvd::raft::{NodeId, RoleName};

const MS: Micros = 1_000;

/// Longest time that a snapshot is held back, unless its receiver campaigns before. Microseconds.
const HELD_BACK_MAX: Micros = 6_000 * MS;

/// In runs with late snapshots, the mean time between followers that fall behind. Microseconds.
const FALLS_BEHIND_EVERY: Micros = 700 * MS;

/// Times that a leader is asked for a transfer before it is struck, and the interval. Microseconds.
const TRIES: u64 = 4;
const RETRY_AFTER: Micros = 200 * MS;

/// Percentage of snapshots that arrive when their receiver campaigns.
const ARRIVES_AT_CANDIDATE_PERCENT: u32 = 80;

impl World {
    /// Keeps a follower away until the leader drops the part of the log that it lacks. Repeats in runs with late
    /// snapshots.
    pub(super) fn fall_behind(&mut self) -> Checked {
        if self.is_calm || self.plan.late_snapshots_percent == 0 {
            return Ok(());
        }
        let pause = self.chance.exponential(FALLS_BEHIND_EVERY);
        self.queue.schedule(self.now + pause, Event::FallBehind);
        let [leader] = self.leaders()[..] else { return Ok(()) };
        if !self.transfers.is_empty() || self.nodes.values().any(|node| node.process().is_none_or(|it| it.paused)) {
            // There is enough going on.
            return Ok(());
        }
        let others: Vec<NodeId> = self.all_nodes().into_iter().filter(|id| *id != leader).collect();
        // The nodes that keep their whole logs will lead next.
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

    /// Draws the node that will lead while a snapshot is in flight, if this snapshot is to be late: its log reaches
    /// back to the end of the receiver's log.
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

    /// Draws the time until which a snapshot sent now is held back.
    pub(super) fn draw_holding_back(&mut self) -> Micros {
        self.now + self.chance.within(1_000 * MS..HELD_BACK_MAX)
    }

    /// Handles a snapshot that lies at its receiver, and is to outlive the leader that sent it.
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

    /// Kills all nodes but the receiver of a late snapshot and restarts them, the leader last. They then know only what
    /// their own logs show to be committed, and the next leader sends the receiver entries that it does not yet know to
    /// be committed.
    fn start_others_anew(&mut self, leader: NodeId, receiver: NodeId) -> Checked {
        for id in self.all_nodes().into_iter().filter(|id| *id != receiver) {
            self.kill(id)?;
            let after =
                if id == leader { self.chance.within(400 * MS..2_500 * MS) } else { self.chance.within(MS..20 * MS) };
            self.queue.schedule(self.now + after, Event::Start(id));
        }
        Ok(())
    }

    /// Makes a leader give way to another: it transfers leadership, or is killed.
    pub(super) fn succeed(&mut self, leader: NodeId, successor: NodeId, tries: u64) -> Checked {
        if self.is_calm || self.nodes[&leader].role() != Some(RoleName::Leader) {
            return Ok(());
        }
        if self.chance.percent(15) || tries == 0 {
            return self.strike(leader);
        }
        self.queue.schedule(self.now + RETRY_AFTER, Event::Succeed { leader, successor, tries: tries - 1 });
        self.input(leader, Input::LeadershipTransfer(Some(successor)))
    }

    /// Handles a node that campaigns: a snapshot that was held back may arrive now.
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

    /// Strikes the new leader once the receiver of a late snapshot has from it the entries that the snapshot holds, in
    /// memory only, and does not know that they are committed. The node that sent the snapshot is running again and can
    /// vote.
    pub(super) fn strike_successor(&mut self, receiver: NodeId) {
        if self.transfers.is_empty() || self.is_calm {
            return;
        }
        let Some(raft) = self.nodes[&receiver].raft() else { return };
        let (log, leader) = (raft.log(), raft.leader());
        let Some(leader) = leader.filter(|leader| *leader != receiver) else { return };
        let is_fed = |transfer: &Transfer| {
            let is_other = transfer.to == receiver && transfer.from.0 != leader && transfer.strikes;
            // With an entry of that leader, its log is more up to date than that of the node that sent the snapshot, so
            // it gets that node's vote.
            let is_all_there = log.last_index() > transfer.last && log.last_term() == raft.term();
            let is_in_memory = is_all_there && log.durable_index() < transfer.last;
            is_other && transfer.held_until > self.now && is_in_memory && log.commit_index() < transfer.last
        };
        if let Some(transfer) = self.transfers.values_mut().find(|transfer| is_fed(transfer)) {
            transfer.strikes = false;
            let sender = transfer.from.0;
            let mean = self.chance.one_of(&[1, 5 * MS, 50 * MS]);
            let at = self.now + self.chance.exponential(mean);
            // The other nodes notice a dead leader at once.
            let is_killed = self.chance.percent(60);
            self.queue.schedule(at, if is_killed { Event::Kill(leader) } else { Event::Strike(leader) });
            self.queue.schedule(at, Event::Start(sender));
        }
    }
}
