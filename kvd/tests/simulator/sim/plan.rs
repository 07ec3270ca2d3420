//! The plan of a run, drawn from its seed: number of nodes, limits, quality of the network, kinds and frequency of
//! faults.
//!
//! Each run has its own mix (swarm testing): a mix that is always the same misses defects that only show when some
//! fault is absent, or overwhelming.

use super::chance::Chance;
use super::events::Micros;
use super::faults::Fault;
use super::members::MembersPlan;
use kvd::kv::SessionLimits;
use kvd::raft::{NodeId, Settings};

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: u64,
    pub(crate) settings: Settings,
    pub(crate) request_timeout_ms: u64,
    pub(crate) segment_bytes: u64,
    /// Growth of the log since the last snapshot that leads to the next; `None`: never.
    pub(crate) snapshot_log_bytes: Option<u64>,
    /// For each of the first nodes: true if it never takes a snapshot, and keeps its whole log.
    pub(crate) takes_no_snapshots: Vec<bool>,
    /// Percentage of snapshots that are held back in flight while leaders change.
    pub(crate) late_snapshots_percent: u32,
    /// Bytes of log that are kept behind a snapshot.
    pub(crate) keep_log_bytes: u64,
    /// Keep more log for followers that are behind, in proportion to the snapshot, as in the server.
    pub(crate) keeps_log_for_snapshots: bool,
    /// Approximate size of the pieces in which a snapshot is written and sent. Bytes.
    pub(crate) snapshot_piece_bytes: usize,
    /// Writes to disk are often shorter than requested, or interrupted.
    pub(crate) short_writes: bool,
    /// Mean duration of a write to a healthy disk. Microseconds.
    pub(crate) disk_mean_us: Micros,
    /// Speed of each node's clock, in thousandths.
    pub(crate) clock_permille: Vec<u64>,
    /// Interval at which timers are checked. Milliseconds.
    pub(crate) tick_ms: u64,
    /// Percentage of inputs whose effects are deferred, so that several inputs are handled together.
    pub(crate) batched_percent: u32,
    pub(crate) network: NetworkPlan,
    pub(crate) clients: ClientPlan,
    /// Bounds on client sessions.
    pub(crate) session_limits: SessionLimits,
    /// Member changes; `None`: the members stay as they are.
    pub(crate) members: Option<MembersPlan>,
    /// Member changes that one leader begins are overtaken by those of another.
    pub(crate) overtakes_changes: bool,
    /// The nodes first form the cluster, on empty disks; `None`: all start as its members.
    pub(crate) forming: Option<FormingPlan>,
    /// Mean time between two faults. Milliseconds.
    pub(crate) fault_every_ms: u64,
    /// Kinds of faults, with their weights. Empty if no faults occur.
    pub(crate) faults: Vec<(Fault, u32)>,
    /// Mean time between two requests for a transfer of leadership, if there are any. Milliseconds.
    pub(crate) leadership_transfer_every_ms: Option<u64>,
    /// Mean time until cut links work again. Milliseconds.
    pub(crate) links_broken_ms: u64,
    /// Percentage of new leaders that are struck.
    pub(crate) struck_percent: u32,
    /// Mean delay of that after the election. Microseconds.
    pub(crate) struck_after_us: Micros,
    /// Time for which faults occur. Milliseconds.
    pub(crate) chaos_ms: u64,
    pub(crate) ending: Ending,
}

/// Formation of a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormingPlan {
    /// Mean delay of a node's first start relative to other nodes. Milliseconds.
    pub(crate) late_ms: u64,
    /// Percentage of starts without data with a flag that says that there should be data.
    pub(crate) expects_percent: u32,
    /// Percentage of starts at a new address.
    pub(crate) moves_percent: u32,
    /// The run loses more data than the cluster survives, as long as some node remembers it.
    pub(crate) bereaves: bool,
}

/// Quality of the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkPlan {
    pub(crate) delay_min_us: Micros,
    /// Mean of the exponential part of the delay. Microseconds.
    pub(crate) delay_mean_us: Micros,
    /// Thousandths of messages that take up to five seconds.
    pub(crate) spike_permille: u32,
    pub(crate) lost_permille: u32,
    pub(crate) doubled_permille: u32,
    pub(crate) garbled_permille: u32,
    /// Messages of one link never overtake each other.
    pub(crate) in_order: bool,
    /// Messages travel on streams instead of one by one.
    pub(crate) streams: bool,
    /// Bytes that a link carries per second; `None`: unlimited.
    pub(crate) bytes_per_s: Option<u64>,
    /// Bytes that the sockets of one stream hold for a paused process.
    pub(crate) socket_bytes: usize,
}

impl NetworkPlan {
    /// Delay that hardly any message exceeds. Microseconds.
    pub(crate) fn delay_max_us(&self) -> Micros {
        let spike_us = if self.spike_permille > 0 { 5_000_000 } else { 0 };
        spike_us + self.delay_min_us + 30 * self.delay_mean_us
    }

    /// A good network.
    pub(crate) const CALM: Self = Self {
        delay_min_us: 100,
        delay_mean_us: 500,
        spike_permille: 0,
        lost_permille: 0,
        doubled_permille: 0,
        garbled_permille: 0,
        in_order: true,
        streams: true,
        bytes_per_s: None,
        socket_bytes: 100_000,
    };
}

/// The clients and their requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) number: usize,
    /// Keys in use. The last one only gets reads and conditional writes, so that a write of unknown outcome cannot
    /// explain every value that it shows.
    pub(crate) keys: u64,
    /// Mean pause between two requests. Microseconds.
    pub(crate) pause_us: Micros,
    /// Length of values: a number, padded to this length.
    pub(crate) value_bytes: usize,
    /// Time for which a client waits for an answer. Milliseconds.
    pub(crate) patience_ms: u64,
    pub(crate) read_percent: u32,
    /// Percentage of clients that read from one node only, whatever happens to it.
    pub(crate) faithful_percent: u32,
    /// Percentage of writes that are conditional.
    pub(crate) conditional_percent: u32,
    /// Percentage of requests that are about more than one key and the present: transactions, ranges, the past, leases,
    /// locks.
    pub(crate) rich_percent: u32,
    /// Percentage of requests sent to two nodes at once.
    pub(crate) hedged_percent: u32,
}

/// The parts of the cluster that work at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything, except for nodes with damaged data.
    All,
    /// A randomly drawn majority. The other nodes are dead for ever. While members change, only nodes that no possible
    /// later configuration needs are dead.
    Majority,
    /// The links within a majority. The other nodes run, and each of their links works in both directions, in one, or
    /// not at all.
    Partial,
    /// All links. The disks of a minority are stuck or full, or its processes are paused, for ever.
    Hindered,
}

/// Percentage of all runs that lose more data than the cluster survives.
const BEREAVED_PERCENT: u64 = 8;

/// The same plus the percentage of runs in which member changes are overtaken.
const OVERTAKEN_PERCENT: u64 = BEREAVED_PERCENT + 4;

impl Plan {
    /// Returns the growth of the log after which this node takes a snapshot, if it does.
    pub(crate) fn snapshot_log_bytes_of(&self, id: NodeId) -> Option<u64> {
        let takes_none = self.takes_no_snapshots.get(id.0 as usize - 1).copied().unwrap_or(false);
        self.snapshot_log_bytes.filter(|_| !takes_none)
    }

    /// Returns whether sessions have all the room and time that they may need.
    pub(crate) fn remembers_all_sessions(&self) -> bool {
        let usual = SessionLimits::default();
        self.session_limits.idle_ms_max == usual.idle_ms_max && self.session_limits.sessions_max == usual.sessions_max
    }

    /// Returns whether no fault occurs until the end.
    pub(crate) fn is_quiet(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let nodes = chance.weighted(&[(1, 2), (3, 9), (5, 6), (7, 3)]);
        let is_quiet = chance.percent(6);
        let members = if is_quiet { None } else { draw_members(chance) };
        let disk_mean_us = chance.one_of(&[100, 300, 1_000, 20_000, 100_000]);
        let network = if is_quiet { NetworkPlan::CALM } else { draw_network(chance) };
        let faults = if is_quiet { Vec::new() } else { draw_faults(chance, network.streams) };
        let plan = Self {
            nodes,
            settings: draw_settings(chance),
            request_timeout_ms: chance.one_of(&[300, 1_000, 5_000]),
            segment_bytes: chance.one_of(&[1 << 10, 4 << 10, 16 << 10]),
            snapshot_log_bytes: chance.one_of(&[None, Some(500), Some(3_000), Some(20_000)]),
            takes_no_snapshots: Vec::new(),
            late_snapshots_percent: if is_quiet { 0 } else { chance.one_of(&[0, 0, 80]) },
            keep_log_bytes: chance.one_of(&[0, 500, 4_000]),
            keeps_log_for_snapshots: chance.percent(25),
            snapshot_piece_bytes: chance.one_of(&[64, 500, 4_000]),
            short_writes: chance.percent(20),
            disk_mean_us,
            clock_permille: (0..nodes).map(|_| if is_quiet { 1000 } else { draw_clock(chance) }).collect(),
            tick_ms: chance.one_of(&[5, 5, 10, 20]),
            batched_percent: chance.one_of(&[0, 30, 80]),
            network,
            clients: draw_clients(chance),
            session_limits: if is_quiet { SessionLimits::default() } else { draw_session_limits(chance) },
            members,
            overtakes_changes: false,
            forming: None,
            fault_every_ms: chance.one_of(&[100, 400, 1_000, 2_500]),
            faults,
            leadership_transfer_every_ms: if is_quiet { None } else { chance.one_of(&[None, Some(200), Some(1_000)]) },
            links_broken_ms: chance.one_of(&[200, 800, 2_500]),
            struck_percent: if is_quiet { 0 } else { chance.one_of(&[0, 0, 40, 90]) },
            struck_after_us: chance.one_of(&[1_000, 5_000, 25_000]),
            chaos_ms: chance.one_of(&[3_000, 8_000, 20_000]),
            ending: chance.one_of(&[Ending::All, Ending::Majority, Ending::Partial, Ending::Hindered]),
        };
        let plan = if plan.late_snapshots_percent > 0 { plan.with_late_snapshots(chance) } else { plan };
        let is_drawn = network.streams && chance.percent(if is_quiet { 60 } else { 20 });
        // A single node has no link that holds it back, and would write large values without limit.
        let is_slow = is_drawn && nodes > 1 && plan.late_snapshots_percent == 0;
        let plan = if is_slow { plan.over_slow_links(chance) } else { plan };
        let plan = Self { forming: draw_forming(chance, is_quiet), ..plan };
        match chance.within(0..100) {
            _ if is_quiet => plan,
            0..BEREAVED_PERCENT => plan.bereaved(chance),
            BEREAVED_PERCENT..OVERTAKEN_PERCENT => plan.where_changes_are_overtaken(chance),
            _ => plan,
        }
    }

    /// Returns the plan for a cluster that is healthy except for leaders that are cut off when they have begun to
    /// change the members. Clients write much, one write after the other.
    fn where_changes_are_overtaken(mut self, chance: &mut Chance) -> Self {
        (self.nodes, self.forming, self.overtakes_changes) = (5, None, true);
        self.clock_permille.resize(5, 1_000);
        self.members = Some(MembersPlan { every_ms: 5_000, wipes_percent: 0 });
        self.network = NetworkPlan { streams: self.network.streams, ..NetworkPlan::CALM };
        (self.fault_every_ms, self.struck_percent, self.leadership_transfer_every_ms) = (20_000, 0, None);
        (self.late_snapshots_percent, self.takes_no_snapshots) = (0, Vec::new());
        (self.disk_mean_us, self.request_timeout_ms, self.chaos_ms) = (chance.one_of(&[100, 1_000]), 5_000, 20_000);
        (self.clients.number, self.clients.pause_us, self.clients.read_percent) = (16, 10_000, 10);
        (self.clients.patience_ms, self.clients.value_bytes) = (6_000, 8);
        self
    }

    /// Returns the plan for a cluster that loses more data than it survives, and has few other faults: what matters is
    /// which node knows of it at what time.
    fn bereaved(mut self, chance: &mut Chance) -> Self {
        self.nodes = chance.one_of(&[2, 3, 3, 3, 5]);
        self.clock_permille.resize(self.nodes as usize, 1_000);
        self.members = Some(MembersPlan { every_ms: chance.one_of(&[50, 150, 400]), wipes_percent: 0 });
        self.forming = Some(FormingPlan { late_ms: 0, expects_percent: 0, moves_percent: 0, bereaves: true });
        self.faults.retain(|(fault, _)| fault.leaves_processes_alone());
        self.faults.push((Fault::Isolate, 1));
        (self.struck_percent, self.leadership_transfer_every_ms, self.late_snapshots_percent) = (0, None, 0);
        self.disk_mean_us = chance.one_of(&[300, 20_000, 100_000]);
        (self.clients.number, self.clients.pause_us) = (1, 150_000);
        self.ending = Ending::All;
        self
    }

    /// Returns whether the run loses more data than the cluster survives.
    pub(crate) fn bereaves(&self) -> bool {
        self.forming.is_some_and(|forming| forming.bereaves)
    }

    /// Returns the plan with frequent snapshots, and some nodes that keep their whole logs, so that a leader that has
    /// compacted its log is followed by one that has not.
    fn with_late_snapshots(mut self, chance: &mut Chance) -> Self {
        self.snapshot_log_bytes = Some(chance.one_of(&[500, 500, 3_000]));
        self.keep_log_bytes = chance.one_of(&[0, 0, 500]);
        // Many small writes, which queue for the disk.
        self.clients.number = chance.one_of(&[4, 8, 16]);
        self.clients.pause_us = chance.one_of(&[1_000, 10_000]);
        self.clients.value_bytes = 8;
        self.disk_mean_us = chance.one_of(&[1_000, 20_000, 100_000]);
        self.settings.write_bytes_max = chance.one_of(&[1, 1, 300]);
        if chance.percent(70) {
            return self.where_they_meet_candidates(chance);
        }
        self.takes_no_snapshots = (0..self.nodes).map(|_| chance.percent(50)).collect();
        self
    }

    /// Returns the plan for a cluster of three with few other faults, so that the next leader needs the receiver's
    /// disk, and commits nothing while that disk is slow.
    fn where_they_meet_candidates(mut self, chance: &mut Chance) -> Self {
        (self.nodes, self.members, self.ending) = (3, None, Ending::All);
        self.clock_permille.resize(3, 1_000);
        (self.fault_every_ms, self.struck_percent, self.leadership_transfer_every_ms) = (20_000, 0, None);
        self.network = NetworkPlan { streams: self.network.streams, ..NetworkPlan::CALM };
        self.disk_mean_us = chance.one_of(&[300, 1_000, 20_000]);
        self.snapshot_piece_bytes = 4_000;
        // The snapshot ends with the last entry or nearly so, which means that the next leader does not know that entry
        // to be committed; and it sends the receiver everything that it lacks at once.
        (self.snapshot_log_bytes, self.keep_log_bytes, self.late_snapshots_percent) = (Some(1), 0, 100);
        (self.clients.number, self.clients.pause_us, self.clients.read_percent) = (4, 300_000, 10);
        let usual = Settings::default();
        self.settings.message_bytes_max = usual.message_bytes_max;
        self.settings.window_messages_max = usual.window_messages_max;
        self.settings.window_bytes_max = usual.window_bytes_max;
        self.request_timeout_ms = 1_000;
        let whole = chance.within(0..3);
        self.takes_no_snapshots = (0..3).map(|node| node == whole).collect();
        self
    }

    /// Returns the plan for slow links, on which large values take long. The limits have the same proportion to the
    /// rate as by default at 20 Mbit/s, or smaller.
    fn over_slow_links(mut self, chance: &mut Chance) -> Self {
        let (bytes_per_s, value_bytes) = chance.weighted(&[
            ((50_000, 2_000), 6),
            ((50_000, 20_000), 6),
            ((200_000, 20_000), 6),
            ((2_500_000, 1 << 20), 1),
        ]);
        let value = value_bytes as u64;
        self.network.bytes_per_s = Some(bytes_per_s);
        self.clients.value_bytes = value_bytes;
        // What they carry is judged by the number of writes of one value.
        self.clients.rich_percent = 0;
        self.clients.patience_ms = 6_000;
        self.request_timeout_ms = 5_000;
        self.segment_bytes = self.segment_bytes.max(2 * value);
        self.snapshot_log_bytes = self.snapshot_log_bytes.map(|bytes| bytes.max(8 * value));
        self.keep_log_bytes = self.keep_log_bytes.max(2 * value);
        self.snapshot_piece_bytes = self.snapshot_piece_bytes.max(value_bytes / 4);
        if chance.percent(60) {
            let part = 2_500_000 / bytes_per_s as usize;
            let usual = Settings::default();
            self.settings.message_bytes_max = usual.message_bytes_max / part;
            self.settings.window_messages_max = usual.window_messages_max;
            self.settings.window_bytes_max = usual.window_bytes_max / part;
        }
        self
    }

    /// Fewest voters that member changes leave. A single voter commits at the speed of its disk: over slow links it
    /// would write more large values than they can carry to a learner, as a single node would.
    pub(crate) fn voters_min(&self) -> usize {
        if self.network.bytes_per_s.is_some() { 2 } else { 1 }
    }

    /// Largest entry: its values, or one and another in its condition, and their framing.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        ClientPlan::VALUES_MAX * self.clients.value_bytes + 8_192
    }

    /// Time that a value takes from one node to another. Milliseconds.
    pub(crate) fn value_ms(&self) -> u64 {
        self.network.bytes_per_s.map_or(0, |rate| self.clients.value_bytes as u64 * 1_000 / rate)
    }
}

fn draw_settings(chance: &mut Chance) -> Settings {
    Settings {
        message_bytes_max: chance.one_of(&[1, 300, 1 << 20]),
        window_messages_max: chance.one_of(&[1, 2, 64]),
        window_bytes_max: chance.one_of(&[40, 1_000, 1 << 20]),
        write_bytes_max: chance.one_of(&[1, 300, 1 << 20]),
        apply_bytes_max: chance.one_of(&[1, 300, 1 << 20]),
        cache_bytes_max: chance.one_of(&[0, 1_000, 1 << 20]),
        ..Settings::default()
    }
}

/// Most clocks are nearly right; some are off by up to a fifth.
fn draw_clock(chance: &mut Chance) -> u64 {
    if chance.percent(60) { chance.within(999..1002) } else { chance.within(800..1201) }
}

fn draw_network(chance: &mut Chance) -> NetworkPlan {
    let plan = NetworkPlan {
        delay_min_us: chance.one_of(&[50, 50, 1_000, 30_000]),
        delay_mean_us: chance.one_of(&[200, 1_000, 5_000, 20_000, 100_000]),
        spike_permille: chance.one_of(&[0, 0, 2, 20]),
        lost_permille: chance.one_of(&[0, 0, 10, 100, 300]),
        doubled_permille: chance.one_of(&[0, 10, 100, 500]),
        garbled_permille: chance.one_of(&[0, 0, 1, 20]),
        in_order: chance.percent(30),
        streams: chance.percent(45),
        bytes_per_s: None,
        socket_bytes: chance.one_of(&[1_000, 10_000, 100_000]),
    };
    if plan.streams { NetworkPlan { doubled_permille: 0, ..plan } } else { plan }
}

fn draw_members(chance: &mut Chance) -> Option<MembersPlan> {
    chance.percent(40).then(|| MembersPlan {
        every_ms: chance.one_of(&[200, 600, 1_500]),
        wipes_percent: chance.one_of(&[0, 20, 60]),
    })
}

fn draw_forming(chance: &mut Chance, is_quiet: bool) -> Option<FormingPlan> {
    let plan = chance.percent(40).then(|| FormingPlan {
        late_ms: chance.one_of(&[0, 0, 300, 2_000]),
        expects_percent: chance.one_of(&[0, 0, 25]),
        moves_percent: chance.one_of(&[0, 40]),
        bereaves: false,
    });
    plan.map(|plan| if is_quiet { FormingPlan { late_ms: 0, expects_percent: 0, ..plan } } else { plan })
}

fn draw_clients(chance: &mut Chance) -> ClientPlan {
    ClientPlan {
        number: chance.one_of(&[1, 4, 8, 16]),
        keys: chance.within(2..7),
        pause_us: chance.one_of(&[1_000, 10_000, 30_000, 150_000]),
        value_bytes: chance.one_of(&[8, 8, 100, 2_000]),
        patience_ms: chance.one_of(&[100, 500, 2_000, 6_000]),
        read_percent: chance.one_of(&[10, 40, 70]),
        faithful_percent: chance.one_of(&[0, 50, 100]),
        conditional_percent: chance.one_of(&[0, 30, 70]),
        rich_percent: chance.one_of(&[0, 30, 70, 95]),
        hedged_percent: chance.one_of(&[0, 0, 10]),
    }
}

/// In most runs sessions have all the room they may need; in some they are few, or soon forgotten.
fn draw_session_limits(chance: &mut Chance) -> SessionLimits {
    let usual = SessionLimits::default();
    if chance.percent(75) {
        return usual;
    }
    SessionLimits {
        idle_ms_max: chance.one_of(&[300, 2_000, 10_000, usual.idle_ms_max]),
        sessions_max: chance.one_of(&[2, 6, usual.sessions_max]),
        reply_bytes_max: chance.one_of(&[0, 500, usual.reply_bytes_max]),
    }
}

/// Some faults, some more often than others.
fn draw_faults(chance: &mut Chance, streams: bool) -> Vec<(Fault, u32)> {
    let mut faults = Fault::ALL.to_vec();
    if !streams {
        faults.retain(|fault| !matches!(fault, Fault::KillLanes | Fault::BreakLanes | Fault::SlowLane));
    }
    chance.shuffle(&mut faults);
    let kinds = chance.within(1..faults.len() as u64 + 1) as usize;
    faults.truncate(kinds);
    if streams && chance.percent(50) && !faults.contains(&Fault::KillLanes) {
        faults.push(Fault::KillLanes);
    }
    faults.into_iter().map(|fault| (fault, chance.one_of(&[1, 2, 5]))).collect()
}
