//! What a run is like, drawn from its seed: how many nodes, which limits, how bad a network, which faults and how often.
//!
//! Each run has a mix of its own (swarm testing): a mix that is always the same misses what only shows when some fault
//! is absent, or overwhelming.

use super::chance::Chance;
use super::events::Micros;
use super::faults::Fault;
use super::members::MembersPlan;
use kvd::kv::SessionLimits;
use kvd::raft::{NodeId, Settings};

/// What a run is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: u64,
    pub(crate) settings: Settings,
    pub(crate) request_timeout_ms: u64,
    pub(crate) segment_bytes: u64,
    /// A snapshot is taken once the log has grown by so many bytes since the last; never, without.
    pub(crate) snapshot_log_bytes: Option<u64>,
    /// Nodes that never take a snapshot, and keep their logs whole, among the first ones.
    pub(crate) takes_no_snapshots: Vec<bool>,
    /// Snapshots that are held back on their way while leaders change.
    pub(crate) late_snapshots_percent: u32,
    /// Bytes of log that stay behind a snapshot.
    pub(crate) keep_log_bytes: u64,
    /// More stays for followers that are behind, in proportion to the snapshot, as in the server.
    pub(crate) keeps_log_for_snapshots: bool,
    /// About how many bytes of a snapshot are written, and sent, at a time.
    pub(crate) snapshot_piece_bytes: usize,
    /// Writes to disk are often shorter than asked for, or interrupted.
    pub(crate) short_writes: bool,
    /// How long a write to a healthy disk takes, at the mean. Microseconds.
    pub(crate) disk_mean_us: Micros,
    /// How fast the clock of each node goes, in thousandths.
    pub(crate) clock_permille: Vec<u64>,
    /// Timers are looked at this often. Milliseconds.
    pub(crate) tick_ms: u64,
    /// In percent of what happens to a node: what follows is left for later, so that several calls are answered together.
    pub(crate) batched_percent: u32,
    pub(crate) network: NetworkPlan,
    pub(crate) clients: ClientPlan,
    /// Bounds on what is remembered of clients.
    pub(crate) session_limits: SessionLimits,
    /// Members come and go, or stay as they are.
    pub(crate) members: Option<MembersPlan>,
    /// Changes of the members that one leader begins are overtaken by those of another.
    pub(crate) overtakes_changes: bool,
    /// The nodes form the cluster first, on empty disks; or all begin with it.
    pub(crate) forming: Option<FormingPlan>,
    /// Mean time between two faults. Milliseconds.
    pub(crate) fault_every_ms: u64,
    /// Which faults, with their weights. Empty where nothing goes wrong at all.
    pub(crate) faults: Vec<(Fault, u32)>,
    /// Mean time between two requests to hand leadership over, where there are any. Milliseconds.
    pub(crate) hand_over_every_ms: Option<u64>,
    /// Links that are cut work again after this time, at the mean. Milliseconds.
    pub(crate) links_broken_ms: u64,
    /// New leaders to whom something happens at once.
    pub(crate) struck_percent: u32,
    /// And how long after its election, at the mean. Microseconds.
    pub(crate) struck_after_us: Micros,
    /// How long things go wrong. Milliseconds.
    pub(crate) chaos_ms: u64,
    pub(crate) ending: Ending,
}

/// How nodes come to form a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormingPlan {
    /// How much later than others nodes are started for the first time, at the mean. Milliseconds.
    pub(crate) late_ms: u64,
    /// Starts without data that say that there should be some.
    pub(crate) expects_percent: u32,
    /// Starts at another address than before.
    pub(crate) moves_percent: u32,
    /// Data is lost beyond what the cluster survives, as long as somebody remembers it.
    pub(crate) bereaves: bool,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkPlan {
    pub(crate) delay_min_us: Micros,
    /// Mean of the exponential delay on top. Microseconds.
    pub(crate) delay_mean_us: Micros,
    /// Messages that take up to five seconds.
    pub(crate) spike_permille: u32,
    pub(crate) lost_permille: u32,
    pub(crate) doubled_permille: u32,
    pub(crate) garbled_permille: u32,
    /// Messages of one link never overtake each other.
    pub(crate) in_order: bool,
    /// Messages travel on streams, and not each for itself.
    pub(crate) streams: bool,
    /// How much a link carries in a second; without, as much as there is.
    pub(crate) bytes_per_s: Option<u64>,
    /// So much the sockets of one stream hold for a process that stands still.
    pub(crate) socket_bytes: usize,
}

impl NetworkPlan {
    /// Hardly any message takes longer. Microseconds.
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

/// Who uses the store, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientPlan {
    pub(crate) number: usize,
    /// Keys in use. The last of them sees only reads and conditional writes, so that no write of unknown outcome may
    /// explain whatever happens to it.
    pub(crate) keys: u64,
    /// Mean pause between two requests. Microseconds.
    pub(crate) pause_us: Micros,
    /// Length of values: a number, and as much as is missing.
    pub(crate) value_bytes: usize,
    /// How long a client waits for an answer. Milliseconds.
    pub(crate) patience_ms: u64,
    pub(crate) read_percent: u32,
    /// Clients that read from one node alone, whatever becomes of it.
    pub(crate) faithful_percent: u32,
    /// Of the writes.
    pub(crate) conditional_percent: u32,
    /// Requests sent to two nodes at once.
    pub(crate) hedged_percent: u32,
}

/// What works in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything, but for nodes whose data is damaged.
    All,
    /// A majority, drawn at random. The others are dead for ever. Where members change, who is not needed by any
    /// configuration that may yet come.
    Majority,
    /// The links within a majority. Other nodes live, and each of their links works in both directions, in one, or not
    /// at all.
    Partial,
    /// All links. Of a minority the disks are stuck or full, or the processes stand still, for ever.
    Hindered,
}

/// Of all runs, so many lose more data than the cluster survives.
const BEREAVED_PERCENT: u64 = 8;

/// And in so many more, changes of the members are overtaken.
const OVERTAKEN_PERCENT: u64 = BEREAVED_PERCENT + 4;

impl Plan {
    /// After how much log this node takes a snapshot, if it does.
    pub(crate) fn snapshot_log_bytes_of(&self, id: NodeId) -> Option<u64> {
        let takes_none = self.takes_no_snapshots.get(id.0 as usize - 1).copied().unwrap_or(false);
        self.snapshot_log_bytes.filter(|_| !takes_none)
    }

    /// Whether sessions have all the room and time that they may need.
    pub(crate) fn remembers_all_sessions(&self) -> bool {
        let usual = SessionLimits::default();
        self.session_limits.idle_ms_max == usual.idle_ms_max && self.session_limits.sessions_max == usual.sessions_max
    }

    /// Whether nothing goes wrong until the end.
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
            hand_over_every_ms: if is_quiet { None } else { chance.one_of(&[None, Some(200), Some(1_000)]) },
            links_broken_ms: chance.one_of(&[200, 800, 2_500]),
            struck_percent: if is_quiet { 0 } else { chance.one_of(&[0, 0, 40, 90]) },
            struck_after_us: chance.one_of(&[1_000, 5_000, 25_000]),
            chaos_ms: chance.one_of(&[3_000, 8_000, 20_000]),
            ending: chance.one_of(&[Ending::All, Ending::Majority, Ending::Partial, Ending::Hindered]),
        };
        let plan = if plan.late_snapshots_percent > 0 { plan.with_late_snapshots(chance) } else { plan };
        let is_drawn = network.streams && chance.percent(if is_quiet { 60 } else { 20 });
        // A node alone has no link that holds it back, and would write large values without end.
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

    /// The same in a cluster in which all is well but for leaders that are cut off when they have begun to change the
    /// members. Clients write much, one after the other.
    fn where_changes_are_overtaken(mut self, chance: &mut Chance) -> Self {
        (self.nodes, self.forming, self.overtakes_changes) = (5, None, true);
        self.clock_permille.resize(5, 1_000);
        self.members = Some(MembersPlan { every_ms: 5_000, wipes_percent: 0 });
        self.network = NetworkPlan { streams: self.network.streams, ..NetworkPlan::CALM };
        (self.fault_every_ms, self.struck_percent, self.hand_over_every_ms) = (20_000, 0, None);
        (self.late_snapshots_percent, self.takes_no_snapshots) = (0, Vec::new());
        (self.disk_mean_us, self.request_timeout_ms, self.chaos_ms) = (chance.one_of(&[100, 1_000]), 5_000, 20_000);
        (self.clients.number, self.clients.pause_us, self.clients.read_percent) = (16, 10_000, 10);
        (self.clients.patience_ms, self.clients.value_bytes) = (6_000, 8);
        self
    }

    /// The same in a cluster that loses more data than it survives, and has to do with little else: what matters is who
    /// knows of it when.
    fn bereaved(mut self, chance: &mut Chance) -> Self {
        self.nodes = chance.one_of(&[2, 3, 3, 3, 5]);
        self.clock_permille.resize(self.nodes as usize, 1_000);
        self.members = Some(MembersPlan { every_ms: chance.one_of(&[50, 150, 400]), wipes_percent: 0 });
        self.forming = Some(FormingPlan { late_ms: 0, expects_percent: 0, moves_percent: 0, bereaves: true });
        self.faults.retain(|(fault, _)| fault.leaves_processes_alone());
        self.faults.push((Fault::Isolate, 1));
        (self.struck_percent, self.hand_over_every_ms, self.late_snapshots_percent) = (0, None, 0);
        self.disk_mean_us = chance.one_of(&[300, 20_000, 100_000]);
        (self.clients.number, self.clients.pause_us) = (1, 150_000);
        self.ending = Ending::All;
        self
    }

    /// Whether data is lost beyond what the cluster survives.
    pub(crate) fn bereaves(&self) -> bool {
        self.forming.is_some_and(|forming| forming.bereaves)
    }

    /// The same with snapshots that are taken often, and some nodes that keep their logs whole, so that a leader that has
    /// compacted its own is followed by one that has not.
    fn with_late_snapshots(mut self, chance: &mut Chance) -> Self {
        self.snapshot_log_bytes = Some(chance.one_of(&[500, 500, 3_000]));
        self.keep_log_bytes = chance.one_of(&[0, 0, 500]);
        // Many small writes, that wait for each other before the disk.
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

    /// The same in a cluster of three with little else in the way, so that who leads next needs the receiver's disk, and
    /// commits nothing for as long as that is slow.
    fn where_they_meet_candidates(mut self, chance: &mut Chance) -> Self {
        (self.nodes, self.members, self.ending) = (3, None, Ending::All);
        self.clock_permille.resize(3, 1_000);
        (self.fault_every_ms, self.struck_percent, self.hand_over_every_ms) = (20_000, 0, None);
        self.network = NetworkPlan { streams: self.network.streams, ..NetworkPlan::CALM };
        self.disk_mean_us = chance.one_of(&[300, 1_000, 20_000]);
        self.snapshot_piece_bytes = 4_000;
        // The snapshot ends with the last entry or nearly, so that who leads next does not know that to be committed; and it
        // feeds the receiver all that it lacks at once.
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

    /// The same over slow links, which large values take long to pass. The limits are in proportion to the rate as they are
    /// at 20 Mbit/s by default, or smaller.
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

    /// Fewest voters that changes of the members leave. A lone voter commits at the rate of its disk: over slow links it
    /// would write more large values than they carry to any learner, as a node alone would.
    pub(crate) fn voters_min(&self) -> usize {
        if self.network.bytes_per_s.is_some() { 2 } else { 1 }
    }

    /// No entry is longer: two values, one of them in its condition, and what stands around them.
    pub(crate) fn entry_bytes_max(&self) -> usize {
        2 * self.clients.value_bytes + 4_096
    }

    /// How long a value takes from one node to another. Milliseconds.
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
        hedged_percent: chance.one_of(&[0, 0, 10]),
    }
}

/// In most runs sessions have all the room they may need; in some they are few, or forgotten soon.
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
