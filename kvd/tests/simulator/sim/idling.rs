//! Idle clusters: while nobody writes, cluster time goes on, and neither a change of leader nor a restart of all nodes
//! gives much of it back. So the next leader does not keep alive what should have ended.
//!
//! A leader that ends or stands still is succeeded by a follower that has heard its heartbeats. After a restart of all
//! nodes nobody has heard anything, and the next leader finds the last entry, which an idle leader logs every second
//! while anything can end.

use super::coverage::Kind;
use super::events::Micros;
use super::invariants::{Checked, ensure};
use super::plan::Ending;
use super::world::World;
use kvd::peer::PROTOCOL_VERSION;
use kvd::raft::{NodeId, Term};

const NAME: &str = "Cluster Time";

/// Speed of the slowest and the fastest clock, in thousandths.
const PERMILLE: (u64, u64) = (800, 1_200);

/// Cluster time after which an idle leader logs an entry. Milliseconds.
const MARKED_MS: u64 = 1_000;

/// Time for an entry, or a heartbeat, to be sent and to become durable, and for a check of the timers. Milliseconds.
const TURN_MS: u64 = 150;

/// An event that ends the reign of an idle leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Leader,
    Pause,
    All,
}

impl World {
    /// Lets the cluster be idle, then changes its leader, and checks that cluster time goes on: while it is idle, with
    /// the speed of its leader's clock; and afterwards from no more than a heartbeat before, or a second before if the
    /// next leader was restarted.
    pub(super) fn check_idle_time(&mut self, limit_ms: u64) -> Checked {
        // A node that may not come back, or that is not told the time, is no fair successor.
        let is_fair = self.plan.ending == Ending::All
            && self.nodes.values().all(|node| !node.damaged && node.protocol() == PROTOCOL_VERSION);
        let Some((leader, term)) = self.followed_leader().filter(|_| is_fair) else { return Ok(()) };
        let Some(began_at) = self.time_of(leader, term) else { return Ok(()) };
        let began = self.now;
        let idle_ms = self.chance.one_of(&[700, 3_000, 10_000]);
        self.run_until(began + idle_ms * 1_000)?;
        let Some(before) = self.time_of(leader, term) else { return Ok(()) };
        let (slow, fast) = PERMILLE;
        let (idle_ms, by_ms) = ((self.now - began) / 1_000, before - began_at);
        let (least_ms, most_ms) = (idle_ms * slow / 1_000 - TURN_MS, idle_ms * fast / 1_000 + TURN_MS);
        ensure!(
            NAME,
            (least_ms..=most_ms).contains(&by_ms),
            "n{} leads an idle cluster for {idle_ms} ms, which counts for {by_ms} ms",
            leader.0
        );

        let end = self.chance.one_of(&[End::Leader, End::Pause, End::All]);
        let has_leases = self.nodes[&leader].process().is_some_and(|process| {
            process.replica.store().read().expect("nothing panics while it holds the store").has_leases()
        });
        let ended = self.now;
        self.end_reign(leader, end)?;
        self.wait_for("another leader is followed", limit_ms, |world| {
            // A sole voter that stands still leads on.
            world.followed_leader().is_some_and(|(_, next)| next > term || end == End::Pause)
        })?;
        let Some((next, next_term)) = self.followed_leader() else { return Ok(()) };
        let Some(after) = self.time_of(next, next_term) else { return Ok(()) };
        // Where a follower has heard nothing for an election timeout, it is about to succeed the leader anyway.
        let heard_ms = self.plan.settings.election_timeout_max_ms * fast / slow + TURN_MS;
        // A node that has been restarted has forgotten what it heard.
        let is_restarted = end == End::All || end == End::Leader && next == leader;
        let given_back_ms = if is_restarted { MARKED_MS + heard_ms } else { heard_ms };
        let is_bounded = has_leases || !is_restarted;
        let passed_ms = (self.now - ended) * fast / 1_000_000 + TURN_MS;
        ensure!(
            NAME,
            after + given_back_ms >= before || !is_bounded,
            "n{} leads an idle cluster until {before}, and after the end of {end:?} n{} starts from {after}",
            leader.0,
            next.0
        );
        ensure!(
            NAME,
            after <= before + passed_ms,
            "n{} leads an idle cluster until {before}, and at most {passed_ms} ms later n{} leads it at {after}",
            leader.0,
            next.0
        );
        self.wait_for("all nodes have one leader and the same log after an idle time", limit_ms, Self::is_settled)
    }

    /// Returns the present cluster time in milliseconds, if this node leads this term.
    fn time_of(&self, id: NodeId, term: Term) -> Option<u64> {
        let replica = &self.nodes[&id].process()?.replica;
        replica.cluster_time().filter(|_| replica.raft().term() == term).map(|time| time.0)
    }

    fn end_reign(&mut self, leader: NodeId, end: End) -> Checked {
        match end {
            End::Leader => {
                self.coverage.count(Kind::IdleLeaderGone);
                self.kill(leader)
            }
            End::Pause => {
                self.coverage.count(Kind::IdleLeaderPaused);
                let length: Micros = self.chance.one_of(&[1_000_000, 4_000_000]);
                self.pause_for(leader, length);
                self.run_until(self.now + length)
            }
            End::All => {
                self.coverage.count(Kind::IdleAllGone);
                for id in self.all_nodes() {
                    self.cut_power(id)?;
                }
                Ok(())
            }
        }
    }
}
