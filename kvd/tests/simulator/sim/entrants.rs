//! Nodes on their way into a cluster. They have no data yet: they found a cluster with their peers, return to the
//! cluster that an earlier incarnation belonged to, or join one.
//!
//! Their decisions are the daemon's own ([`kvd::bootstrap`]). This file stands in for the task that runs the daemon,
//! and for its disk before it has data. See [`super::introductions`] for how nodes introduce themselves to each other,
//! and [`super::admissions`] for how a cluster admits them.

use super::coverage::Kind;
use super::events::{Event, Life, Micros};
use super::introductions::{Dial, Dialling};
use super::invariants::Checked;
use super::node::State;
use super::world::World;
use kvd::bootstrap::{Answer, Beginning, Forming, Heard, ToWrite, Wish};
use kvd::peer::{Founder, Hello, founding_configuration};
use kvd::raft::{Configuration, NodeId, Payload, Record};
use kvd::storage::{ClusterIdentity, DirLock, Identity, Wal};
use std::collections::{BTreeMap, BTreeSet};

const MS: Micros = 1_000;

/// Delay after which an event for a paused process is looked at again. Microseconds.
const LOOKED_EVERY: Micros = 50 * MS;

/// Mean time after which a node that expects data and has none is restarted without the flag. Microseconds.
const CORRECTED_AFTER: Micros = 1_000 * MS;

/// Way to start a node that has no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WayIn {
    /// As one of the founders, which all nodes know from the start.
    Founds,
    /// With the names of its peers (`--peers`).
    Forms,
    /// With URLs of a cluster (`--join`).
    Joins { stays_learner: bool },
}

/// An event of such a node.
#[derive(Clone, Debug)]
pub(crate) enum EntrantEvent {
    /// A pause between two attempts to dial is over.
    Dials(Dial),
    /// An introduction reaches the process that runs there by now.
    Reaches(Dial, Box<Hello>),
    /// An answer arrives, or a notice that nothing listens there.
    Answered(Dial, Option<Box<Hello>>),
    /// An attempt may be given up for another one.
    Overtaken(Dial),
    /// A pause between two questions to a cluster is over.
    Asks(NodeId, u64),
    /// The answer to a question arrives.
    Told(NodeId, u64, Answer),
    /// The time that a write takes is over.
    Written(NodeId, Life),
    /// The operator restarts the node without the flag that was wrong.
    Corrected(NodeId, Life),
}

/// A process that does not belong to a cluster yet.
#[derive(Debug)]
pub(crate) struct Entrant {
    pub(crate) life: Life,
    pub(crate) paused: bool,
    pub(super) hello: Hello,
    pub(super) phase: Phase,
    pub(super) identity: Identity,
    pub(super) wal: Wal,
    pub(super) lock: DirLock,
}

#[derive(Debug)]
pub(super) enum Phase {
    Forming(Box<Meeting>),
    Joining,
    /// It is about to be a member.
    Beginning {
        beginning: Box<Beginning>,
        founders: BTreeSet<NodeId>,
        /// Other nodes told it of the cluster.
        is_told: bool,
        writing: Option<ToWrite>,
    },
}

/// A node that meets its peers.
#[derive(Debug)]
pub(super) struct Meeting {
    pub(super) forming: Forming,
    /// Attempts to dial the peers, by their names.
    pub(super) dials: BTreeMap<String, Dialling>,
    /// Last answer of each peer.
    pub(super) heard: BTreeMap<String, Hello>,
}

impl Entrant {
    pub(super) fn meeting(&mut self) -> Option<&mut Meeting> {
        match &mut self.phase {
            Phase::Forming(meeting) => Some(meeting),
            Phase::Joining | Phase::Beginning { .. } => None,
        }
    }

    /// Returns the nodes with which it founds a cluster, as far as it has met them.
    pub(super) fn founders(&self) -> BTreeSet<NodeId> {
        match &self.phase {
            Phase::Forming(meeting) => meeting.heard.values().map(Hello::node_id).collect(),
            Phase::Joining => BTreeSet::new(),
            Phase::Beginning { founders, .. } => founders.clone(),
        }
    }

    /// Returns whether it knows of a cluster that some node has on its disk.
    pub(super) fn remembers(&self) -> bool {
        match &self.phase {
            Phase::Forming(meeting) => meeting.forming.remembers().is_some(),
            Phase::Joining => false,
            Phase::Beginning { is_told, .. } => *is_told,
        }
    }

    /// Describes in a sentence what the node is waiting for.
    pub(super) fn waiting_for(&self) -> String {
        match &self.phase {
            Phase::Forming(meeting) => meeting.forming.waiting_for(),
            Phase::Joining => "to be let in".into(),
            Phase::Beginning { .. } => "until it has begun".into(),
        }
    }

    pub(super) fn is_to_return(&self) -> bool {
        matches!(&self.phase, Phase::Forming(meeting) if meeting.forming.is_to_return())
    }

    /// Returns whether it founds nothing because it knows of a cluster or expects data.
    pub(super) fn is_held(&self) -> bool {
        matches!(&self.phase, Phase::Forming(meeting) if meeting.forming.is_held() || meeting.forming.is_to_return())
    }
}

impl World {
    pub(super) fn entrant(&mut self, id: NodeId) -> Option<&mut Entrant> {
        self.node(id).entrant_mut()
    }

    /// Handles a process that has started on a disk without data.
    pub(super) fn entrant_started(&mut self, id: NodeId) -> Checked {
        self.nodes[&id].disk.keep_power();
        self.trace.note(|| format!("n{} starts without data", id.0));
        let node = self.node(id);
        // An unfinished beginning, if any, is not on the disk.
        node.unfinished = None;
        let Some(entrant) = node.entrant_mut() else { return Ok(()) };
        let (life, expects_data) = (entrant.life, entrant.hello.expects_data);
        if expects_data {
            self.coverage.count(Kind::ExpectsData);
            let at = self.now + self.chance.exponential(CORRECTED_AFTER);
            self.queue.schedule(at, Event::Entrant(EntrantEvent::Corrected(id, life)));
        }
        let Some(meeting) = self.entrant(id).and_then(Entrant::meeting) else {
            let urls = self.nodes[&id].join_urls.clone();
            return self.ask_cluster(id, urls, Wish::Join, false);
        };
        let alone = meeting.forming.founders_if_alone();
        for name in meeting.dials.keys().cloned().collect::<Vec<_>>() {
            self.dial_peer(id, &name);
        }
        match alone {
            Some(founders) => self.found(id, &founders, false),
            None => Ok(()),
        }
    }

    pub(super) fn entrant_event(&mut self, event: EntrantEvent) -> Checked {
        let of = match &event {
            EntrantEvent::Reaches(dial, hello) => return self.introduced(dial.clone(), hello.clone()),
            EntrantEvent::Dials(dial) | EntrantEvent::Answered(dial, _) | EntrantEvent::Overtaken(dial) => dial.from,
            EntrantEvent::Written(id, life) | EntrantEvent::Corrected(id, life) => (*id, *life),
            EntrantEvent::Asks(id, number) | EntrantEvent::Told(id, number, _) => match self.asker(*id, *number) {
                Some(life) => (*id, life),
                None => return Ok(()),
            },
        };
        let (id, life) = of;
        match self.nodes[&id].running() {
            Some((present, paused)) if present == life => {
                if paused {
                    self.queue.schedule(self.now + LOOKED_EVERY, Event::Entrant(event));
                    return Ok(());
                }
            }
            _ => return Ok(()),
        }
        match event {
            EntrantEvent::Dials(dial) => {
                self.dials(&dial);
                Ok(())
            }
            EntrantEvent::Reaches(..) => Ok(()),
            EntrantEvent::Answered(dial, answer) => self.dial_answered(dial, answer),
            EntrantEvent::Overtaken(dial) => {
                self.overtaken(&dial);
                Ok(())
            }
            EntrantEvent::Asks(..) => self.ask_on(id),
            EntrantEvent::Told(_, _, answer) => self.told_by_cluster(id, answer),
            EntrantEvent::Written(..) => self.begun(id),
            EntrantEvent::Corrected(..) => self.start_again(id),
        }
    }

    /// Handles the introduction of a peer that a forming node has dialled.
    pub(super) fn meets(&mut self, id: NodeId, name: &str, hello: &Hello) -> Checked {
        let Some(meeting) = self.entrant(id).and_then(Entrant::meeting) else { return Ok(()) };
        meeting.heard.insert(name.to_owned(), hello.clone());
        match meeting.forming.met(name, hello) {
            Some(founders) => self.found(id, &founders, hello.cluster.is_some()),
            None => self.follow_forming(id),
        }
    }

    /// Handles the introduction of a node that has dialled a forming node.
    pub(super) fn dialled_by(&mut self, id: NodeId, hello: &Hello) -> Checked {
        let Some(meeting) = self.entrant(id).and_then(Entrant::meeting) else { return Ok(()) };
        if meeting.forming.dialled_by(hello) == Heard::News {
            self.redial(id, &hello.name);
        }
        self.follow_forming(id)
    }

    /// Acts on what a node now knows of its peers.
    pub(super) fn follow_forming(&mut self, id: NodeId) -> Checked {
        let Some(entrant) = self.entrant(id) else { return Ok(()) };
        let Phase::Forming(meeting) = &mut entrant.phase else { return Ok(()) };
        let is_news = meeting.forming.introduce(&mut entrant.hello);
        let again = meeting.forming.to_ask_again();
        let returns = meeting.forming.is_to_return();
        if is_news {
            self.coverage.count(Kind::ClusterRemembered);
            self.trace.note(|| format!("n{} remembers a cluster", id.0));
            self.pass_memory_on(id);
        }
        for name in again {
            self.redial(id, &name);
        }
        if !returns {
            self.stop_asking(id);
            return Ok(());
        }
        if self.is_asking(id) {
            return Ok(());
        }
        self.coverage.count(Kind::AsksToReturn);
        let urls = self.founder_names().into_iter().filter(|name| *name != self.nodes[&id].info.name);
        let urls = urls.map(|name| format!("http://{name}")).collect();
        self.ask_cluster(id, urls, Wish::Return, false)
    }

    /// Handles a node that knows the founders: it has fixed them itself, or was told of them.
    fn found(&mut self, id: NodeId, founders: &[Founder], is_told: bool) -> Checked {
        let founding = founding_configuration(founders);
        self.trace.note(|| format!("n{} founds, told by another: {is_told}, with {founding:?}", id.0));
        let Some(entrant) = self.nodes.get_mut(&id).and_then(|node| node.entrant_mut()) else { return Ok(()) };
        if let Phase::Forming(meeting) = &entrant.phase {
            meeting.forming.introduce(&mut entrant.hello);
            let mut said = meeting.heard.values().chain([&entrant.hello]);
            self.invariants.founding.decides(id, &founding, is_told, &mut said)?;
        }
        self.coverage.count(if is_told { Kind::FoundersTaken } else { Kind::FoundersFixed });
        self.begin_log(id, Beginning::of_founders(founders), is_told)
    }

    /// Handles the admission of a node to a cluster.
    pub(super) fn let_in(&mut self, id: NodeId, cluster: ClusterIdentity) -> Checked {
        let returns = self.entrant(id).is_some_and(|entrant| entrant.meeting().is_some());
        self.coverage.count(if returns { Kind::Returned } else { Kind::Joined });
        self.begin_log(id, Beginning::as_joined(cluster), true)
    }

    fn begin_log(&mut self, id: NodeId, beginning: Beginning, is_told: bool) -> Checked {
        self.stop_asking(id);
        let Some(entrant) = self.entrant(id) else { return Ok(()) };
        let founders = entrant.founders();
        entrant.phase = Phase::Beginning { founders, beginning: Box::new(beginning), is_told, writing: None };
        self.write_next(id)
    }

    fn write_next(&mut self, id: NodeId) -> Checked {
        let Some(entrant) = self.entrant(id) else { return Ok(()) };
        let Phase::Beginning { beginning, writing, .. } = &mut entrant.phase else { return Ok(()) };
        *writing = beginning.next_write();
        let is_over = writing.is_none();
        beginning.introduce(&mut entrant.hello);
        if is_over {
            return self.become_member(id);
        }
        if !self.nodes[&id].disk_is_stuck {
            self.write_soon(id);
        }
        Ok(())
    }

    /// Makes the write under way take no longer than one that begins now.
    pub(super) fn write_soon(&mut self, id: NodeId) {
        let at = self.now + self.disk_time(id);
        let Some(entrant) = self.entrant(id) else { return };
        if let Phase::Beginning { .. } = entrant.phase {
            let life = entrant.life;
            self.queue.schedule(at, Event::Entrant(EntrantEvent::Written(id, life)));
        }
    }

    /// Handles the end of a write of a new member's first data.
    fn begun(&mut self, id: NodeId) -> Checked {
        if self.nodes[&id].disk_is_stuck {
            return Ok(());
        }
        let Some(entrant) = self.entrant(id) else { return Ok(()) };
        let Phase::Beginning { writing, .. } = &mut entrant.phase else { return Ok(()) };
        let Some(to_write) = writing.take() else { return Ok(()) };
        match self.node(id).begin_with(&to_write) {
            Ok(()) => {
                if let ToWrite::Log(records) = &to_write
                    && let Some(founders) = founders_in(records)
                {
                    self.log_begins(id, founders)?;
                }
                self.write_next(id)
            }
            Err(why) => self.end_process(id, &format!("{why:?}")),
        }
    }

    /// Handles a node whose log begins with these founders.
    pub(super) fn log_begins(&mut self, id: NodeId, founders: &Configuration) -> Checked {
        if self.invariants.founding.log_begins(id, founders)? {
            self.coverage.count(Kind::ClusterFounded);
            self.trace.note(|| format!("a cluster is founded, by n{}", id.0));
        }
        Ok(())
    }

    fn become_member(&mut self, id: NodeId) -> Checked {
        let Self { nodes, plan, chance, now, .. } = self;
        let node = nodes.get_mut(&id).expect("a node");
        match node.become_member(plan, *now, chance) {
            Ok(Some(started)) => self.started(id, &started),
            Ok(None) => Ok(()),
            Err(failure) => self.end_process(id, &format!("{failure:?}")),
        }
    }

    /// Ends a process that does not belong to a cluster yet in the middle of its work, after this many changes to its
    /// disk.
    pub(super) fn crash_entrant(&mut self, id: NodeId, changes: u64) {
        self.coverage.count(Kind::EntrantCrashed);
        self.stop_asking(id);
        let node = self.node(id);
        let disk = node.disk.clone();
        disk.cut_power_after(changes);
        let writing = node.entrant_mut().and_then(|entrant| match &mut entrant.phase {
            Phase::Beginning { writing, .. } => writing.take(),
            Phase::Forming(_) | Phase::Joining => None,
        });
        if let Some(to_write) = writing {
            // No one is told the result.
            let _ = node.begin_with(&to_write);
            if !disk.has_power() {
                self.coverage.count(Kind::CrashWhileBeginning);
            }
        }
        self.node(id).state = State::Down;
    }

    /// Names of the nodes that the run starts with.
    pub(super) fn founder_names(&self) -> Vec<String> {
        (1..=self.plan.nodes).map(|number| format!("n{number}")).collect()
    }

    /// Ends a process that does not belong to a cluster yet, and restarts it at once with other flags.
    pub(super) fn start_again(&mut self, id: NodeId) -> Checked {
        if self.entrant(id).is_none() {
            return Ok(());
        }
        self.node(id).expects_data = false;
        self.crash(id)?;
        self.nodes[&id].disk.kill();
        self.queue.schedule(self.now + MS, Event::Start(id));
        Ok(())
    }
}

/// Returns the founders from the first records of a log.
pub(super) fn founders_in(records: &[Record]) -> Option<&Configuration> {
    records.iter().find_map(|record| match record {
        Record::Entry(entry) => match &entry.payload {
            Payload::Configuration(founders) => Some(founders),
            Payload::Noop | Payload::Command(_) => None,
        },
        Record::HardState(_) | Record::Truncate { .. } | Record::Commit(_) => None,
    })
}
