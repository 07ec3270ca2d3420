//! Stability: no node disturbs a leader that a quorum hears (PreVote, thesis §9.6; and voters that hear a leader do not
//! help to elect another, paper §6).
//!
//! Only the end of the leader itself is a reason for another leader; a node whose disk is damaged or full may end at
//! any time. A node may be in a later term from before, and its message may arrive late; so may a message in which that
//! leader tells a node to campaign.

use super::coverage::Kind;
use super::ending::ELECTION_TIMEOUTS_MAX;
use super::events::Micros;
use super::invariants::{Checked, Violation, ensure, is_quorum};
use super::node::Node;
use super::plan::Ending;
use super::world::World;
use kvd::raft::{NodeId, RoleName, Term};

const NAME: &str = "Stability";

/// Time that a write takes in addition to its value's time on a link. Microseconds.
const TURN_US: Micros = 100_000;

/// Divisor of the writes possible in the best case that gives those expected.
const FAIR_PART: u64 = 4;

/// Longest election timeouts after which followers that no longer hear their leader have noticed.
const SETTLED_ELECTION_TIMEOUTS: u64 = 2;

/// Further longest election timeouts for which no other node is elected then.
const STABLE_ELECTION_TIMEOUTS: u64 = 10;

/// Longest election timeouts beyond which a leader does not wait for a write to its disk.
const STUCK_ELECTION_TIMEOUTS: u64 = 8;

/// Times that a node in a later term may still be heard: where links stay dead, or through a message that was in flight
/// for long, even if its sender is dead by now.
const LATE_TERMS_MAX: usize = 2;

/// A node whose disk is full may be elected again after its end; the check ends after this many such ends.
const OWN_ENDS_MAX: usize = 5;

impl World {
    /// Checks that in a run without faults until `end`, the first leader that all nodes follow is the last: not even
    /// slow disks are a reason for another.
    pub(super) fn check_undisturbed(&mut self, end: Micros) -> Checked {
        self.coverage.count(Kind::QuietRun);
        let reign = self.wait_for_leader()?;
        let (acknowledged, since) = (self.coverage.of(Kind::Write), self.now);
        let change = self.watch(reign, self.now, end)?;
        let links = self
            .plan
            .network
            .bytes_per_s
            .map_or("nothing".into(), |rate| format!("nothing but links of {rate} bytes/s"));
        ensure!(NAME, change.is_none(), "{links} stands in the way, and {}", change.unwrap_or_default());
        self.check_goodput(acknowledged, since)
    }

    /// Checks that writes get through on links that work, however slow: a fair part of those that the links could carry
    /// since then, or that the clients request at most, was acknowledged.
    fn check_goodput(&self, acknowledged_before: u64, since: Micros) -> Checked {
        let clients = self.plan.clients;
        let (number, value_us) = (clients.number as u64, self.plan.value_ms() * 1_000);
        let turn_us = clients.pause_us + number * value_us + 8 * self.plan.disk_mean_us + TURN_US;
        let turns = number * (self.now - since) / turn_us;
        let writes = turns * u64::from(100 - clients.read_percent) / 100;
        let (wanted, acknowledged) = (writes / FAIR_PART, self.coverage.of(Kind::Write) - acknowledged_before);
        let shown = || format!("{} bytes/s", self.plan.network.bytes_per_s.unwrap_or_default());
        ensure!(
            "Goodput",
            self.plan.value_ms() == 0 || acknowledged >= wanted,
            "links of {} carry {acknowledged} writes of {} bytes in {} ms, and should at least {wanted}. {}",
            shown(),
            clients.value_bytes,
            (self.now - since) / 1_000,
            self.describe()
        );
        Ok(())
    }

    /// Checks that a leader lasts once faults have stopped.
    pub(super) fn check_stability(&mut self) -> Checked {
        let patience = self.plan.settings.election_timeout_max_ms * 1_000;
        let mut changes = Vec::new();
        let mut own_ends = 0;
        while changes.len() <= LATE_TERMS_MAX && own_ends < OWN_ENDS_MAX {
            let reign = self.wait_for_leader()?;
            let may_end = self.nodes[&reign.0].damaged || self.hindered.contains(&reign.0);
            let settled = self.now + SETTLED_ELECTION_TIMEOUTS * patience;
            match self.watch(reign, settled, settled + STABLE_ELECTION_TIMEOUTS * patience)? {
                None => return self.check_disk_of_leader(reign.0),
                Some(_) if may_end => own_ends += 1,
                Some(change) => changes.push(change),
            }
        }
        if own_ends == OWN_ENDS_MAX {
            return Ok(());
        }
        let what = format!("leaders change for no reason: {}. {}", changes.join("; "), self.describe());
        Err(Violation { invariant: NAME, what })
    }

    /// Checks that a leader that lasts while clients write has a disk that completes writes: otherwise it would have
    /// transferred leadership, since all other working nodes are a quorum and hear each other. Over slow links
    /// acknowledgements come late, however good the disks are: there it transfers leadership once it takes no more
    /// writes and the other nodes have all entries.
    fn check_disk_of_leader(&self, leader: NodeId) -> Checked {
        if self.plan.network.bytes_per_s.is_some() {
            return Ok(());
        }
        let node = &self.nodes[&leader];
        let patience = STUCK_ELECTION_TIMEOUTS * self.plan.settings.election_timeout_max_ms * 1_000;
        let waits =
            node.process().filter(|process| process.writing.is_some()).map(|process| self.now - process.writing_since);
        let is_stuck = node.disk_is_stuck && waits.is_some_and(|waits| waits > patience);
        ensure!(NAME, !is_stuck, "n{} leads on although its disk is stuck. {}", leader.0, self.describe());
        Ok(())
    }

    /// Lets a few followers no longer hear a leader that is idle, so that their logs are as good as the leader's. The
    /// other followers still hear it, and no node may be elected.
    pub(super) fn check_unheard_leader(&mut self) -> Checked {
        let Some((leader, term)) = self.followed_leader() else { return Ok(()) };
        let mut others: Vec<NodeId> = self.healthy().map(|node| node.id).filter(|id| *id != leader).collect();
        // With the leader, the followers that still hear it are more than half of all nodes.
        let few = (others.len() + 1).saturating_sub(self.nodes.len() / 2 + 1);
        // A leader with a fault may still have to transfer leadership, late over slow links.
        if few == 0 || self.transferred.contains(&term) || self.hindered.contains(&leader) {
            return Ok(());
        }
        self.coverage.count(Kind::LeaderUnheard);
        self.chance.shuffle(&mut others);
        let deaf = self.chance.within(1..few as u64 + 1) as usize;
        self.network.cut(others[..deaf].iter().map(|id| (leader, *id)));
        let end = self.now + STABLE_ELECTION_TIMEOUTS * self.plan.settings.election_timeout_max_ms * 1_000;
        let change = self.watch((leader, term), self.now, end)?;
        ensure!(NAME, change.is_none(), "a few do not hear the leader, and {}", change.unwrap_or_default());
        Ok(())
    }

    /// Waits for a leader that is followed. Returns its id and term.
    fn wait_for_leader(&mut self) -> Result<(NodeId, Term), Violation> {
        let limit = ELECTION_TIMEOUTS_MAX * self.plan.settings.election_timeout_max_ms;
        self.wait_for("one leader is followed", limit, |world| world.followed_leader().is_some())?;
        Ok(self.followed_leader().expect("it has just been waited for"))
    }

    /// Watches until the end, and returns any event that ended the leadership. Once the cluster has settled, no node
    /// causes a later term while the leader leads.
    fn watch(
        &mut self,
        (leader, term): (NodeId, Term),
        settled: Micros,
        end: Micros,
    ) -> Result<Option<String>, Violation> {
        let mut latest = None;
        while self.now < end {
            self.step()?;
            let node = &self.nodes[&leader];
            if node.role() != Some(RoleName::Leader) || node.term() != term {
                return Ok(Some(format!("n{} no longer leads term {term}", leader.0)));
            }
            if self.now >= settled {
                let latest = *latest.get_or_insert_with(|| self.latest_term());
                let disturber = self.healthy().find(|node| node.term() > latest);
                if let Some(Node { id, .. }) = disturber {
                    let entered = self.nodes[id].term();
                    let what = format!("n{} leads term {term}, and n{} enters term {entered}", leader.0, id.0);
                    if self.transferred.contains(&term) || !self.is_voter(leader) {
                        // This leader told it to campaign, long ago; or the leader is being removed, and leads until
                        // all know of its removal.
                        return Ok(Some(what));
                    }
                    return Err(Violation { invariant: NAME, what });
                }
            }
        }
        Ok(None)
    }

    /// Returns whether a node is a voter in the last committed configuration.
    fn is_voter(&self, id: NodeId) -> bool {
        self.last_configuration().is_none_or(|configuration| configuration.voters.contains(&id))
    }

    /// Returns the latest term that any node has reason to be in, since some node was in it before, dead or alive.
    fn latest_term(&self) -> Term {
        self.nodes.values().map(Node::term).max().unwrap_or_default()
    }

    /// Returns the leader that all healthy nodes follow, with its term; a majority is enough where links are dead.
    pub(super) fn followed_leader(&self) -> Option<(NodeId, Term)> {
        let leads = |node: &&Node| node.role() == Some(RoleName::Leader);
        let leader = self.living().filter(leads).max_by_key(|node| node.term())?;
        let view = (Some(leader.id), leader.term());
        let follows = |node: &Node| node.raft().is_some_and(|raft| (raft.leader(), raft.term()) == view);
        let is_followed = if self.is_calm && self.plan.ending == Ending::Partial {
            let configuration = self.last_configuration();
            configuration.is_some_and(|configuration| is_quorum(configuration, |id| follows(&self.nodes[&id])))
        } else {
            self.healthy().all(follows)
        };
        is_followed.then_some((leader.id, leader.term()))
    }
}
