//! The language of the scripts, and its interpreter: a cluster in which nothing happens by itself.
//!
//! Each command drives nodes through the public calls of [`kvd::raft`]; its output is the effects, one per line.
//! Messages stay in flight until delivered. Writes complete at once, except on a node whose disk is on `hold`. Each
//! node has its own clock, which moves only when told to.
//!
//! A node's choice of its election timeout is random, so a script lets time pass either too short for
//! any timeout (149 ms) or long enough for all of them (300 ms), and never shows who won a race.

use super::machine::{Machine, info, voters};
use super::network::{Envelope, Network, Selection};
use bytes::Bytes;
use kvd::raft::{
    ClusterTime, Configuration, Effects, Entry, Goal, HardState, LogIndex, LogWrite, MembershipChange, NodeId, Payload,
    ProposalRefusal, Raft, ReadOutcome, ReadToken, Record, RoleName, Settings, Term, WriteId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use testkit::notation::{self, Name, Names, Terms};

/// Time between two ticks, in milliseconds.
const TICK_MS: u64 = 5;

/// `settle` gives up after this much time. Milliseconds.
const SETTLE_MS_MAX: u64 = 10_000;

/// `stabilize` gives up after this many messages: they would go on for ever.
const STABILIZE_MESSAGES_MAX: usize = 10_000;

/// A command. A command that can name nodes and names none applies to all of them.
#[derive(goldenscript::Command)]
pub(crate) enum Command {
    // --- The cluster -----------------------------------------------------------------------------
    /// `cluster nodes=3 leader=n1`: a new cluster, with n1 elected and everything quiet. With `spares=1` there is n4 as
    /// well, which is not a member yet.
    Cluster {
        #[arg(key)]
        nodes: u64,
        #[arg(key, optional)]
        spares: u64,
        #[arg(key)]
        leader: Option<Name>,
        #[arg(key)]
        window_messages: Option<usize>,
        #[arg(key)]
        window_bytes: Option<usize>,
        #[arg(key)]
        message_bytes: Option<usize>,
        #[arg(key)]
        write_bytes: Option<usize>,
        #[arg(key)]
        apply_bytes: Option<usize>,
        #[arg(key)]
        cache_bytes: Option<usize>,
    },
    /// `disk n1 term=3 vote=n2 log="1 1 3"`: restarts a node with this history.
    Disk {
        node: Name,
        #[arg(key)]
        term: u64,
        #[arg(key)]
        vote: Option<Name>,
        #[arg(key, optional)]
        log: Terms,
    },

    // --- Messages: those to these nodes, from one node, of one kind, the oldest `count` of them -----
    /// `deliver n2 from=n1 kind=AppendEntries count=1`
    Deliver {
        #[arg(optional)]
        to: Vec<Name>,
        #[arg(key)]
        from: Option<Name>,
        #[arg(key)]
        kind: Option<String>,
        #[arg(key)]
        count: Option<usize>,
    },
    /// Loses messages.
    Drop {
        #[arg(optional)]
        to: Vec<Name>,
        #[arg(key)]
        from: Option<Name>,
        #[arg(key)]
        kind: Option<String>,
        #[arg(key)]
        count: Option<usize>,
    },
    /// Adds a copy of messages, behind all messages in flight.
    Duplicate {
        #[arg(optional)]
        to: Vec<Name>,
        #[arg(key)]
        from: Option<Name>,
        #[arg(key)]
        kind: Option<String>,
        #[arg(key)]
        count: Option<usize>,
    },
    /// Delays messages until `put_back`, which puts them behind all others.
    SetAside {
        #[arg(optional)]
        to: Vec<Name>,
        #[arg(key)]
        from: Option<Name>,
        #[arg(key)]
        kind: Option<String>,
        #[arg(key)]
        count: Option<usize>,
    },
    PutBack,
    /// Lists the messages in flight.
    Network,
    /// `cut n3`: all messages between n3 and the other nodes are lost. `cut n3 to=n1`: n1 no longer hears n3, but n3
    /// still hears n1.
    Cut {
        node: Name,
        #[arg(key)]
        to: Option<Name>,
    },
    /// All links work again.
    Heal,

    // --- Disks -----------------------------------------------------------------------------------
    /// Writes of the node stay under way from now on, until `written`.
    Hold {
        node: Name,
    },
    /// The write under way is durable.
    Written {
        node: Name,
    },
    /// Writes complete at once again, the one under way first.
    Release {
        node: Name,
    },

    // --- Crashes ---------------------------------------------------------------------------------
    /// `crash n1`: n1 forgets everything but its completed writes. With `written=true` the write under way has reached
    /// the disk, but was never reported.
    Crash {
        node: Name,
        #[arg(key, optional)]
        written: bool,
    },
    /// Starts a crashed node with what is on its disk.
    Restart {
        node: Name,
    },
    /// `peer_lost n2 n1`: n2 finds that the process of n1 is gone.
    PeerLost {
        node: Name,
        peer: Name,
    },

    /// `bulk_stalled n1 n2`: n1 finds that nothing gets through to n2 on the bulk lane.
    BulkStalled {
        node: Name,
        peer: Name,
    },

    // --- Leadership transfer -----------------------------------------------------------------------
    /// `transfer_leadership n1 to=n2`: n1 transfers leadership to n2, or to a target of its choice.
    TransferLeadership {
        node: Name,
        #[arg(key)]
        to: Option<Name>,
    },

    // --- Snapshots -------------------------------------------------------------------------------
    /// Takes a snapshot of the state that the node has applied.
    Snapshot {
        node: Name,
    },
    /// `compact n1 3`: drops the entries up to 3, which the snapshot contains.
    Compact {
        node: Name,
        index: u64,
    },
    /// `transfer n1 n3`: the snapshot of n1 arrives at n3, and n1 learns the outcome. With `lost=true` it does not
    /// arrive; with `untold=true` n1 takes it for lost.
    Transfer {
        from: Name,
        to: Name,
        #[arg(key, optional)]
        lost: bool,
        #[arg(key, optional)]
        untold: bool,
    },

    // --- Members ---------------------------------------------------------------------------------
    /// `change n1 add=n4 goal=voter`, `change n1 promote="n4 n5" remove=n2`: asks n1 to change the members. Goals are
    /// `learner`, the default, `voter`, or the node to replace.
    Change {
        node: Name,
        #[arg(key, optional)]
        add: Names,
        #[arg(key)]
        goal: Option<String>,
        #[arg(key, optional)]
        promote: Names,
        #[arg(key, optional)]
        remove: Names,
        #[arg(key, optional)]
        force: bool,
    },
    /// The members in the node's log.
    Members {
        #[arg(optional)]
        nodes: Vec<Name>,
    },
    /// A member tells the node that it is no longer a member.
    TellRemoved {
        node: Name,
    },

    // --- Time ------------------------------------------------------------------------------------
    /// `advance n3 ms=300`: time passes at n3, and its timers expire.
    Advance {
        #[arg(optional)]
        nodes: Vec<Name>,
        #[arg(key)]
        ms: u64,
    },
    /// Time passes, but the node does not check its timers.
    Stall {
        #[arg(optional)]
        nodes: Vec<Name>,
        #[arg(key)]
        ms: u64,
    },
    /// The node is paused, and time passes all at once when it resumes.
    Pause {
        node: Name,
        #[arg(key)]
        ms: u64,
    },
    /// The node's election timeout expires.
    Campaign {
        node: Name,
    },

    // --- Clients ---------------------------------------------------------------------------------
    /// `propose n1 x y`: both at once, so that they may share messages and writes.
    Propose {
        node: Name,
        commands: Vec<String>,
    },
    /// `read n1 a b`: asks for a read index for the reads a and b.
    Read {
        node: Name,
        reads: Vec<String>,
    },

    // --- Many steps ------------------------------------------------------------------------------
    /// Delivers everything until no message is in flight. No time passes.
    Stabilize,
    /// `run ms=1000`: time passes equally at all nodes, and messages arrive at once.
    Run {
        #[arg(key)]
        ms: u64,
    },
    /// `elect n1`: no node has heard a leader for long, n1 campaigns first, and everything is stabilized. An error if
    /// n1 does not lead then.
    Elect {
        node: Name,
    },
    /// Lets time pass with a working network until one node leads, all running members follow it and have the same log,
    /// committed to its end. Shows nothing meanwhile, since the winner is left to chance.
    Settle,

    // --- State -----------------------------------------------------------------------------------
    /// Role, term, vote and log of nodes.
    State {
        #[arg(optional)]
        nodes: Vec<Name>,
    },
    /// A leader's view of its followers.
    Followers {
        node: Name,
    },
}

/// Runs one script.
#[derive(Default)]
pub(crate) struct Script {
    machines: BTreeMap<NodeId, Machine>,
    network: Network,
    on_hold: BTreeSet<NodeId>,
    /// Role and term of each node when last shown.
    shown: BTreeMap<NodeId, (Term, String)>,
    /// Names of reads; a token is an index into this list.
    reads: Vec<String>,
    output: String,
}

impl goldenscript::Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &goldenscript::Context) -> Result<String, Box<dyn Error>> {
        self.execute(command)?;
        Ok(std::mem::take(&mut self.output))
    }
}

impl Script {
    fn execute(&mut self, command: &Command) -> Result<(), Box<dyn Error>> {
        match command {
            Command::Cluster {
                nodes,
                spares,
                leader,
                window_messages,
                window_bytes,
                message_bytes,
                write_bytes,
                apply_bytes,
                cache_bytes,
            } => {
                let usual = Settings::default();
                let settings = Settings {
                    window_messages_max: window_messages.unwrap_or(usual.window_messages_max),
                    window_bytes_max: window_bytes.unwrap_or(usual.window_bytes_max),
                    message_bytes_max: message_bytes.unwrap_or(usual.message_bytes_max),
                    write_bytes_max: write_bytes.unwrap_or(usual.write_bytes_max),
                    apply_bytes_max: apply_bytes.unwrap_or(usual.apply_bytes_max),
                    cache_bytes_max: cache_bytes.unwrap_or(usual.cache_bytes_max),
                    ..usual
                };
                self.form(*nodes, *spares, &settings);
                if let Some(leader) = leader {
                    self.elect(leader.0)?;
                    self.output.clear();
                }
            }
            Command::Disk { node, term, vote, log } => self.rewrite_disk(node.0, Term(*term), *vote, log),

            Command::Deliver { to, from, kind, count } => {
                for envelope in self.network.take(&select(to, *from, kind.as_deref(), *count)) {
                    self.deliver(envelope);
                }
            }
            Command::Drop { to, from, kind, count } => {
                self.network.take(&select(to, *from, kind.as_deref(), *count));
            }
            Command::Duplicate { to, from, kind, count } => {
                self.network.duplicate(&select(to, *from, kind.as_deref(), *count));
            }
            Command::SetAside { to, from, kind, count } => {
                self.network.set_aside(&select(to, *from, kind.as_deref(), *count));
            }
            Command::PutBack => self.network.put_back(),
            Command::Network => {
                for Envelope { from, to, message } in self.network.on_their_way() {
                    writeln!(self.output, "{}", notation::envelope(*from, *to, message))?;
                }
            }
            Command::Cut { node, to: Some(to) } => self.network.cut(node.0, to.0),
            Command::Cut { node, to: None } => {
                for other in self.machines.keys() {
                    self.network.cut(node.0, *other);
                    self.network.cut(*other, node.0);
                }
            }
            Command::Heal => self.network.heal(),

            Command::Hold { node } => {
                self.on_hold.insert(node.0);
            }
            Command::Written { node } => {
                if !self.machine(*node)?.finish_write() {
                    return Err(format!("{node} has no write under way").into());
                }
                self.perform(node.0);
            }
            Command::Release { node } => {
                self.on_hold.remove(&node.0);
                self.machine(*node)?.finish_write();
                self.drive(node.0, |_| ());
            }

            Command::Crash { node, written } => {
                let writing = self.machine(*node)?.crash(*written);
                if *written && !writing {
                    return Err(format!("{node} has no write under way").into());
                }
                self.shown.remove(&node.0);
            }
            Command::Restart { node } => {
                self.machine(*node)?.start();
                self.perform(node.0);
            }
            Command::PeerLost { node, peer } => self.drive(node.0, |raft| raft.peer_lost(peer.0)),

            Command::TransferLeadership { node, to } => self.transfer_leadership(*node, *to),

            Command::Snapshot { node } => {
                let last = self.machine(*node)?.take_snapshot();
                self.line(format_args!("{node} has a snapshot up to {}@{}", last.index, last.term));
            }
            Command::Compact { node, index } => {
                let gone = self.machine(*node)?.compact(LogIndex(*index));
                self.line(format_args!("{node} has no entries up to {gone}"));
                self.perform(node.0);
            }
            Command::Transfer { from, to, lost, untold } => self.transfer(*from, *to, *lost, *untold)?,

            Command::Change { node, add, goal, promote, remove, force } => {
                let goal = goal.as_deref().map_or(Ok(Goal::Learner), parse_goal)?;
                let change = MembershipChange {
                    add: add.0.iter().map(|id| (*id, (info(*id), goal))).collect(),
                    promote: promote.0.iter().copied().collect(),
                    remove: remove.0.iter().copied().collect(),
                    force: *force,
                    ..MembershipChange::default()
                };
                self.change(*node, &change);
            }
            Command::Members { nodes } => {
                for node in self.named(nodes).into_iter().filter(|node| self.machines[node].is_running()) {
                    let raft = self.machines[&node].raft();
                    let known =
                        if raft.is_configuration_committed() { "committed" } else { "not known to be committed" };
                    let members = notation::configuration(raft.configuration());
                    let removed = if raft.is_removed() { "; it is removed" } else { "" };
                    writeln!(
                        self.output,
                        "{} {members}, by entry {}, {known}{removed}",
                        Name(node),
                        raft.configuration_index()
                    )?;
                }
            }
            Command::TellRemoved { node } => self.drive(node.0, Raft::told_removed),

            Command::Advance { nodes, ms } => self.advance(&self.named(nodes), *ms),
            Command::Stall { nodes, ms } => self.stall(&self.named(nodes), *ms),
            Command::Pause { node, ms } => self.pass(node.0, *ms),
            Command::BulkStalled { node, peer } => self.drive(node.0, |raft| raft.bulk_stalled(peer.0)),
            Command::Campaign { node } => self.campaign(node.0),

            Command::Propose { node, commands } => self.propose(node.0, commands),
            Command::Read { node, reads } => {
                let first = self.reads.len() as u64;
                self.reads.extend(reads.iter().cloned());
                let tokens = first..self.reads.len() as u64;
                self.drive(node.0, |raft| tokens.for_each(|token| raft.read_index(ReadToken(token))));
            }

            Command::Stabilize => self.stabilize()?,
            Command::Run { ms } => self.run(*ms)?,
            Command::Elect { node } => self.elect(node.0)?,
            Command::Settle => self.settle()?,

            Command::State { nodes } => {
                for node in self.named(nodes) {
                    let machine = &self.machines[&node];
                    let state = if machine.is_running() { notation::state(machine.raft()) } else { down(machine) };
                    writeln!(self.output, "{state}")?;
                }
            }
            Command::Followers { node } => {
                for line in notation::followers(self.machine(*node)?.raft()) {
                    writeln!(self.output, "{line}")?;
                }
            }
        }
        Ok(())
    }

    fn form(&mut self, nodes: u64, spares: u64, settings: &Settings) {
        let machine = |id: u64| {
            let configuration = if id <= nodes { voters(nodes) } else { Configuration::EMPTY };
            (NodeId(id), Machine::new(NodeId(id), settings.clone(), configuration, 0))
        };
        *self = Self { machines: (1..=nodes + spares).map(machine).collect(), ..Self::default() };
        self.machines.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.perform(id));
        self.output.clear();
    }

    /// Gives a node another history. The script must choose one that the node could have had.
    fn rewrite_disk(&mut self, id: NodeId, term: Term, vote: Option<Name>, Terms(log): &Terms) {
        let entry = |(place, term): (usize, &Term)| Entry {
            index: LogIndex(place as u64 + 1),
            term: *term,
            time: ClusterTime(0),
            payload: Payload::Noop,
        };
        let hard_state = HardState { term, vote: vote.map(|Name(vote)| vote) };
        let entries = log.iter().enumerate().map(entry).map(Record::Entry);
        let records: Vec<Record> = std::iter::once(Record::HardState(hard_state)).chain(entries).collect();
        let machine = self.machines.get_mut(&id).expect("a node of the cluster");
        machine.crash(false);
        machine.disk = Default::default();
        machine.disk.write(&LogWrite { id: WriteId(0), restart: None, records });
        machine.start();
        self.shown.remove(&id);
        self.perform(id);
        self.output.clear();
    }

    fn machine(&mut self, node: Name) -> Result<&mut Machine, String> {
        self.machines.get_mut(&node.0).ok_or_else(|| format!("there is no {node}"))
    }

    /// Returns these nodes, or all if none are named.
    fn named(&self, nodes: &[Name]) -> Vec<NodeId> {
        if nodes.is_empty() {
            self.machines.keys().copied().collect()
        } else {
            nodes.iter().map(|node| node.0).collect()
        }
    }

    /// Calls the core of a running node and performs the effects. A crashed node hears nothing.
    fn drive(&mut self, id: NodeId, call: impl FnOnce(&mut Raft)) {
        let machine = self.machines.get_mut(&id).expect("a node of the cluster");
        if machine.is_running() {
            call(machine.raft_mut());
            self.perform(id);
        }
    }

    /// Performs the effects of a node until there are no more, and writes them down.
    fn perform(&mut self, id: NodeId) {
        loop {
            let effects = self.machines.get_mut(&id).expect("a node of the cluster").effects();
            self.show_role(id);
            let more = !effects.fetch.is_empty();
            self.write_down(id, effects);
            let machine = self.machines.get_mut(&id).expect("a node of the cluster");
            let wrote = !self.on_hold.contains(&id) && machine.finish_write();
            if !wrote && !more && !machine.raft().has_unapplied() {
                break;
            }
        }
        self.show_role(id);
    }

    /// Writes down role, term and leader of a node if they have changed.
    fn show_role(&mut self, id: NodeId) {
        let raft = self.machines[&id].raft();
        let now = (raft.term(), notation::role(raft));
        if self.shown.get(&id) != Some(&now) {
            self.line(format_args!("{} term {}: {}", Name(id), now.0, now.1));
            self.shown.insert(id, now);
        }
    }

    fn write_down(&mut self, id: NodeId, effects: Effects) {
        let Effects { send, bulk, write, apply, reads, fetch, snapshots } = effects;
        let node = Name(id);
        for (to, message) in bulk.into_iter().chain(send) {
            let line = notation::envelope(id, to, &message);
            let lost = if self.network.send(Envelope { from: id, to, message }) { "" } else { " (lost)" };
            self.line(format_args!("{line}{lost}"));
        }
        if let Some(write) = write.filter(|_| self.on_hold.contains(&id)) {
            self.line(format_args!("{node} writes {}", notation::write(&write)));
        }
        if !apply.is_empty() {
            self.line(format_args!("{node} applies {}", notation::list(&apply)));
        }
        for ReadOutcome { token, read_index, time: _ } in reads {
            let name = self.reads[token.0 as usize].clone();
            match read_index {
                Some(index) => self.line(format_args!("{node} may serve {name} once it has applied {index}")),
                None => self.line(format_args!("{node} cannot serve {name}: ask again")),
            }
        }
        for fetch in fetch {
            self.line(format_args!("{node} reads entries from {} on from its disk for {}", fetch.from, Name(fetch.to)));
            self.machines.get_mut(&id).expect("a node of the cluster").fetch(&fetch);
        }
        for snapshot in snapshots {
            self.line(format_args!("{node} is to send its snapshot to {}", Name(snapshot.to)));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.output, "{line}").expect("a string takes all that is written");
    }

    fn deliver(&mut self, Envelope { from, to, message }: Envelope) {
        self.drive(to, |raft| raft.step(from, message));
    }

    fn transfer(&mut self, from: Name, to: Name, lost: bool, untold: bool) -> Result<(), Box<dyn Error>> {
        let sender = self.machine(from)?;
        let term = sender.raft().term();
        let place = sender.disk.snapshot.clone().ok_or_else(|| format!("{from} has no snapshot"))?;
        let last = place.last.index;
        if !lost {
            let installed = self.machine(to)?.install(place);
            let what = if installed { "installs" } else { "has everything in" };
            self.line(format_args!("{to} {what} the snapshot up to {last}"));
            self.perform(to.0);
        }
        let told = (!lost && !untold).then_some(last);
        self.drive(from.0, |raft| raft.snapshot_sent(to.0, term, told));
        Ok(())
    }

    fn transfer_leadership(&mut self, node: Name, to: Option<Name>) {
        let mut begun = Ok(node.0);
        self.drive(node.0, |raft| begun = raft.transfer_leadership(to.map(|Name(to)| to)));
        if let Err(refusal) = begun {
            self.line(format_args!("{node} refuses: {refusal}"));
        }
    }

    fn propose(&mut self, id: NodeId, commands: &[String]) {
        let mut lines = Vec::new();
        self.drive(id, |raft| {
            for command in commands {
                lines.push(match raft.propose(Bytes::copy_from_slice(command.as_bytes())) {
                    Ok(index) => format!("{} appends {index}@{} {command}", Name(id), raft.term()),
                    Err(refusal) => {
                        let why = match refusal {
                            ProposalRefusal::NotLeader { leader: Some(leader) } => Name(leader).to_string(),
                            ProposalRefusal::NotLeader { leader: None } => "no leader known".to_string(),
                            ProposalRefusal::TransferringLeadership => "it transfers leadership".to_string(),
                        };
                        format!("{} refuses {command}: {why}", Name(id))
                    }
                });
            }
        });
        let effects = std::mem::take(&mut self.output);
        lines.iter().for_each(|line| self.line(format_args!("{line}")));
        self.output.push_str(&effects);
    }

    fn change(&mut self, node: Name, change: &MembershipChange) {
        let mut line = String::new();
        self.drive(node.0, |raft| {
            line = match raft.change_membership(change) {
                Ok(index) => format!("{node} begins the change with entry {index}"),
                Err(refusal) => format!("{node} refuses: {refusal}"),
            };
        });
        let effects = std::mem::take(&mut self.output);
        self.line(format_args!("{line}"));
        self.output.push_str(&effects);
    }

    /// Lets time pass on these nodes in parallel.
    fn advance(&mut self, nodes: &[NodeId], ms: u64) {
        for passed in (0..ms).step_by(TICK_MS as usize) {
            for id in nodes {
                self.tick(*id, TICK_MS.min(ms - passed));
            }
        }
    }

    fn tick(&mut self, id: NodeId, ms: u64) {
        self.pass(id, ms);
        let now = self.machines[&id].now;
        self.drive(id, |raft| raft.tick(now));
    }

    fn stall(&mut self, nodes: &[NodeId], ms: u64) {
        for id in nodes {
            for passed in (0..ms).step_by(TICK_MS as usize) {
                self.pass(*id, TICK_MS.min(ms - passed));
            }
        }
    }

    /// Lets this much time pass at once.
    fn pass(&mut self, id: NodeId, ms: u64) {
        let machine = self.machines.get_mut(&id).expect("a node of the cluster");
        machine.now = machine.now.plus_ms(ms);
        if machine.is_running() {
            let now = machine.now;
            machine.raft_mut().set_time(now);
        }
    }

    /// Ticks once after the longest possible election timeout.
    fn campaign(&mut self, id: NodeId) {
        self.stall(&[id], Settings::default().election_timeout_max_ms);
        self.tick(id, 0);
    }

    fn elect(&mut self, id: NodeId) -> Result<(), Box<dyn Error>> {
        let others: Vec<NodeId> = self.machines.keys().copied().filter(|other| *other != id).collect();
        self.stall(&others, Settings::default().election_timeout_max_ms);
        self.campaign(id);
        self.stabilize()?;
        let elected = self.machines[&id].raft().role() == RoleName::Leader;
        if elected { Ok(()) } else { Err(format!("{} was not elected:\n{}", Name(id), self.output).into()) }
    }

    fn stabilize(&mut self) -> Result<(), Box<dyn Error>> {
        let mut delivered = 0;
        while let Some(envelope) = self.network.take(&Selection { count: Some(1), ..Selection::default() }).pop() {
            self.deliver(envelope);
            delivered += 1;
            if delivered > STABILIZE_MESSAGES_MAX {
                return Err("the nodes never stop talking".into());
            }
        }
        Ok(())
    }

    fn run(&mut self, ms: u64) -> Result<(), Box<dyn Error>> {
        let all = self.named(&[]);
        for passed in (0..ms).step_by(TICK_MS as usize) {
            self.advance(&all, TICK_MS.min(ms - passed));
            self.stabilize()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        let before = std::mem::take(&mut self.output);
        for _ in 0..SETTLE_MS_MAX / TICK_MS {
            self.run(TICK_MS)?;
            if self.is_settled() {
                self.output = before + "one leader, equal logs, all of them committed and applied";
                return Ok(());
            }
        }
        self.output.clear();
        self.execute(&Command::State { nodes: Vec::new() })?;
        Err(format!("after {SETTLE_MS_MAX} ms:\n{}", self.output).into())
    }

    fn is_settled(&self) -> bool {
        let running = || self.machines.values().filter(|machine| machine.is_running()).map(Machine::raft);
        // A node that is no longer a member is told nothing more.
        let Some(leader) = running().find(|raft| raft.role() == RoleName::Leader) else { return false };
        let members = &leader.configuration().members;
        let rafts: Vec<&Raft> = running().filter(|raft| members.contains_key(&raft.id())).collect();
        let view = |raft: &Raft| {
            let log = raft.log();
            (raft.term(), raft.leader(), log.last_index(), log.last_term(), log.commit_index(), log.applied_index())
        };
        let leaders = rafts.iter().filter(|raft| raft.role() == RoleName::Leader).count();
        let alike = rafts.windows(2).all(|pair| view(pair[0]) == view(pair[1]));
        leaders == 1 && alike && rafts.iter().all(|raft| raft.log().applied_index() == raft.log().last_index())
    }
}

fn parse_goal(text: &str) -> Result<Goal, String> {
    match text {
        "learner" => Ok(Goal::Learner),
        "voter" => Ok(Goal::Voter),
        old => old.parse().map(|Name(old)| Goal::Replace(old)),
    }
}

fn select<'a>(to: &'a [Name], from: Option<Name>, kind: Option<&'a str>, count: Option<usize>) -> Selection<'a> {
    Selection { to, from, kind, count }
}

fn down(machine: &Machine) -> String {
    let terms = machine.disk.entries.iter().map(|entry| entry.term).collect();
    format!(
        "{} down            {}  log {}",
        Name(machine.id()),
        notation::hard_state(machine.disk.hard_state),
        Terms(terms)
    )
}
