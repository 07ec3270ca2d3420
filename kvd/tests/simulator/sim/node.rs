//! One node: a process over a disk, with its own clock.
//!
//! The process is the real replica over the real log, assembled as in the server. The world schedules what threads and
//! timers do in the server: the end of a write, a check of the timers, the execution of effects.

use super::chance::Chance;
use super::client::AttemptId;
use super::coverage::Kind;
use super::entrants::{Entrant, Meeting, Phase, WayIn, founders_in};
use super::events::{Ask, Life, Micros};
use super::image::{Digest, DiskImage, Found};
use super::leadership_transfer::AskedLeadershipTransfer;
use super::member_requests::ChangeId;
use super::plan::Plan;
use super::snapshots::SnapshotSent;
use kvd::bootstrap::{Beginning, Forming, ToWrite, introduce_member};
use kvd::data::{self, DataError, FOUNDING_INDEX, OpenOptions, Opened, Received, Receiving};
use kvd::kv::{Level, Store, StoreLimits};
use kvd::mutants::{self, Mutant};
use kvd::node::{MemberChanges, Recovered, Replica};
use kvd::peer::{Hello, PROTOCOL_VERSION, founders_of};
use kvd::raft::{
    ClusterTime, Configuration, Entry, Fetch, HardState, Instant, LogBase, LogIndex, LogWrite, MemberInfo,
    MembershipChange, Message, NodeId, Raft, Record, RoleName, Term, WriteId,
};
use kvd::storage::snapshot::{SnapshotFile, SnapshotWriter};
use kvd::storage::{ClusterIdentity, DirLock, Disk, Identity, StorageError, Wal, WalOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use testkit::faulty_disk::{FaultyDisk, Seed};

/// A node, in all its incarnations.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) info: MemberInfo,
    /// Manner in which it is started while it has no data.
    pub(crate) way_in: WayIn,
    /// URLs at which it asks to be admitted, if it joins.
    pub(crate) join_urls: Vec<String>,
    /// It is told to expect data (`--expect-data`).
    pub(crate) expects_data: bool,
    /// Its disk says that it is a member.
    pub(crate) has_data: bool,
    /// Its disk has been lost.
    pub(crate) has_lost_disk: bool,
    /// The node that has replaced it, with a new disk and id.
    pub(crate) next_life: Option<NodeId>,
    /// It has replaced another node.
    pub(crate) is_next_life: bool,
    /// It has become a voter, and was not one when it was created.
    pub(crate) has_come_to_vote: bool,
    pub(crate) disk: FaultyDisk,
    /// Mean duration of a write. Microseconds.
    pub(crate) disk_mean_us: Micros,
    /// No write completes until this is false.
    pub(crate) disk_is_stuck: bool,
    /// A bit of its durable data was flipped.
    pub(crate) damaged: bool,
    pub(crate) state: State,
    pub(crate) lives: Life,
    /// The newest level known to the version that runs now or will start.
    pub(crate) level_max: Level,
    /// The newest level known to any of its versions so far.
    pub(crate) level_ever: Level,
    /// Expected contents of its disk.
    pub(crate) image: DiskImage,
    /// The write that a crash interrupted: its disk holds all of it or none of it.
    pub(crate) unfinished: Option<LogWrite>,
    clock_permille: u64,
    /// Lead of the wall clock over the monotonic clock. Milliseconds.
    wall_clock_ahead_ms: i64,
}

/// State of a node.
#[derive(Debug)]
pub(crate) enum State {
    /// No process runs.
    Down,
    Running(Box<Process>),
    /// A process runs that does not belong to a cluster yet.
    Entering(Box<Entrant>),
    /// Its data is damaged, and it will not start again.
    Refused,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) life: Life,
    pub(crate) cluster: ClusterIdentity,
    /// Its introduction to other nodes.
    pub(crate) hello: Hello,
    pub(crate) replica: Replica<AttemptId, AttemptId>,
    pub(crate) wal: Wal,
    pub(crate) writing: Option<LogWrite>,
    /// A log segment will be created ahead of use.
    pub(crate) spare_is_due: bool,
    /// Its log will be checked, and sealed if it is idle.
    pub(crate) seal_is_due: bool,
    pub(crate) last_write: Micros,
    /// Index up to which the log by itself shows that entries are committed. No later entry may be dropped, whatever a
    /// snapshot holds.
    pub(crate) logged_commit: LogIndex,
    /// Index up to which entries that were cut off may still be in the log's files. They take space until those are
    /// deleted.
    pub(crate) cut_up_to: LogIndex,
    /// Time at which the write under way began.
    pub(crate) writing_since: Micros,
    /// Its newest snapshot, with its end.
    pub(crate) snapshot: Option<SnapshotFile>,
    /// The snapshot that it is writing.
    pub(crate) taking: Option<SnapshotWriter>,
    pub(crate) paused: bool,
    /// Snapshots that were abandoned while it was paused, each with the incarnation that received it.
    pub(crate) abandoned: Vec<(Life, Receiving)>,
    /// Inputs that have arrived since it was paused.
    pub(crate) waiting: Vec<Input>,
    /// It has deferred effects.
    pub(crate) will_carry_out: bool,
    /// Requests that it has not answered yet.
    pub(crate) asked: BTreeMap<AttemptId, Asked>,
    pub(crate) leadership_transfers: Vec<AskedLeadershipTransfer>,
    /// Requests for member changes.
    pub(crate) member_changes: MemberChanges<ChangeId>,
    started: Micros,
    _lock: DirLock,
}

/// A request that a process has taken.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) since: Instant,
    pub(crate) ask: Ask,
    /// Last index committed on any node by then.
    pub(crate) floor: LogIndex,
    /// Cluster time of that entry.
    pub(crate) floor_time: ClusterTime,
    /// Place of its entry in the log, if it became one.
    pub(crate) place: Option<(LogIndex, Term)>,
}

/// An input of a process.
#[derive(Debug)]
pub(crate) enum Input {
    Tick,
    CarryOut,
    Message(NodeId, Message),
    WriteDone(WriteId),
    FetchDone(Fetch),
    MakeSpare,
    Seal,
    SnapshotPiece,
    SnapshotSent(SnapshotSent),
    /// A snapshot has arrived and is durable.
    Snapshot(Box<Received>),
    PeerLost(NodeId),
    BulkOpened(NodeId),
    BulkStalled(NodeId),
    /// It is told to change the members.
    Change(Box<MembershipChange>),
    /// It is asked to change the members.
    AskMembers(ChangeId),
    ToldRemoved,
    Request(AttemptId, Ask),
    /// It is asked to transfer leadership.
    LeadershipTransfer(Option<NodeId>),
}

/// Outcome of a start that failed.
#[derive(Debug)]
pub(crate) enum StartFailure {
    /// The version does not know the level of the data.
    TooOld,
    /// The disk or the power failed: the next start may succeed.
    ForNow(String),
    /// The data is unusable.
    ForEver(String),
}

impl Node {
    pub(crate) fn new(id: NodeId, info: MemberInfo, way_in: WayIn, plan: &Plan, chance: &mut Chance) -> Self {
        let disk = FaultyDisk::new(Seed(chance.any()));
        disk.set_short_writes(plan.short_writes);
        Self {
            id,
            info,
            way_in,
            join_urls: Vec::new(),
            expects_data: false,
            has_data: false,
            has_lost_disk: false,
            next_life: None,
            is_next_life: false,
            has_come_to_vote: false,
            disk,
            disk_mean_us: plan.disk_mean_us,
            disk_is_stuck: false,
            damaged: false,
            state: State::Down,
            lives: 0,
            level_max: Level::NEWEST,
            level_ever: Level::FIRST,
            image: DiskImage::default(),
            unfinished: None,
            clock_permille: plan.clock_permille.get((id.0 - 1) as usize).copied().unwrap_or(1000),
            wall_clock_ahead_ms: 0,
        }
    }

    pub(crate) fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Running(process) => Some(process),
            State::Down | State::Entering(_) | State::Refused => None,
        }
    }

    pub(crate) fn process_mut(&mut self) -> Option<&mut Process> {
        match &mut self.state {
            State::Running(process) => Some(process),
            State::Down | State::Entering(_) | State::Refused => None,
        }
    }

    pub(crate) fn entrant(&self) -> Option<&Entrant> {
        match &self.state {
            State::Entering(entrant) => Some(entrant),
            State::Down | State::Running(_) | State::Refused => None,
        }
    }

    pub(crate) fn entrant_mut(&mut self) -> Option<&mut Entrant> {
        match &mut self.state {
            State::Entering(entrant) => Some(entrant),
            State::Down | State::Running(_) | State::Refused => None,
        }
    }

    /// Returns the incarnation of the running process, in a cluster or not, and whether it is paused.
    pub(crate) fn running(&self) -> Option<(Life, bool)> {
        match &self.state {
            State::Running(process) => Some((process.life, process.paused)),
            State::Entering(entrant) => Some((entrant.life, entrant.paused)),
            State::Down | State::Refused => None,
        }
    }

    /// Returns the nodes with which it would found a cluster at this moment.
    pub(crate) fn founders(&self) -> BTreeSet<NodeId> {
        let left_by_crash = self.unfinished.iter().filter_map(|write| founders_in(&write.records));
        let left_by_crash = left_by_crash.flat_map(|founders| founders.members.keys().copied());
        left_by_crash.chain(self.entrant().into_iter().flat_map(Entrant::founders)).collect()
    }

    /// Returns the introduction of the running process.
    pub(crate) fn hello(&self) -> Option<&Hello> {
        match &self.state {
            State::Running(process) => Some(&process.hello),
            State::Entering(entrant) => Some(&entrant.hello),
            State::Down | State::Refused => None,
        }
    }

    /// Gives the node another address from now on.
    pub(crate) fn move_to(&mut self, number: u64) {
        let url = format!("http://n{}.{number}", self.id.0);
        (self.info.client_url, self.info.peer_url) = (url.clone(), url);
    }

    /// Gives the node an empty disk while it is still taken for the same node.
    pub(crate) fn replace_disk(&mut self, chance: &mut Chance) {
        self.disk = FaultyDisk::new(Seed(chance.any()));
        (self.image, self.unfinished) = (DiskImage::default(), None);
        (self.has_data, self.damaged) = (false, false);
        self.way_in = WayIn::Forms;
    }

    pub(crate) fn stays_learner(&self) -> bool {
        matches!(self.way_in, WayIn::Joins { stays_learner: true })
    }

    pub(crate) fn raft(&self) -> Option<&Raft> {
        self.process().map(|process| process.replica.raft())
    }

    pub(crate) fn role(&self) -> Option<RoleName> {
        self.raft().map(Raft::role)
    }

    /// Returns its term, in memory or on disk.
    pub(crate) fn term(&self) -> Term {
        self.raft().map_or(self.image.log().hard_state.term, Raft::term)
    }

    /// Returns the time by its process's own clock.
    pub(crate) fn time(&self, now: Micros) -> Instant {
        let started = self.process().map_or(now, |process| process.started);
        let monotonic_ms = (now - started) * self.clock_permille / 1_000_000;
        if mutants::is_on(Mutant::WallClock) {
            return Instant(monotonic_ms.saturating_add_signed(self.wall_clock_ahead_ms));
        }
        Instant(monotonic_ms)
    }

    /// Returns the speed of its clock, in thousandths.
    pub(crate) fn clock_permille(&self) -> u64 {
        self.clock_permille
    }

    pub(crate) fn wall_clock_jumps(&mut self, by_ms: i64) {
        self.wall_clock_ahead_ms += by_ms;
    }

    /// Limits the disk to this many more bytes.
    pub(crate) fn fill_disk(&self, room_bytes: u64) {
        let names = self.disk.list().unwrap_or_default();
        let used: usize = names.iter().filter_map(|name| self.disk.contents(name)).map(|bytes| bytes.len()).sum();
        self.disk.set_capacity_bytes(Some(used as u64 + room_bytes));
    }

    /// Damages data that was written long ago: anything but the last write, since nothing could distinguish its loss
    /// from that of an unfinished write. In an idle log the last write is the seal, which is not a record. Returns the
    /// kind of damage, if there was something to damage.
    pub(crate) fn damage(&mut self, chance: &mut Chance) -> Option<Kind> {
        let sectors = self.disk.old_bytes();
        let mut any = || Some(sectors.get(chance.within(0..sectors.len().max(1) as u64) as usize)?.clone());
        let (one, other) = (any()?, any()?);
        self.damaged = true;
        if chance.percent(30) {
            // A misdirected write.
            let length = (one.1.end - one.1.start).min(other.1.end - other.1.start) as usize;
            self.disk.stray_write((&other.0, other.1.start), (&one.0, one.1.start), length);
            return Some(Kind::StrayWrite);
        }
        self.disk.flip_bit(&one.0, chance.within(one.1), chance.within(0..8) as u8);
        Some(Kind::BitFlip)
    }

    /// Starts a process from the disk. The first process of a founder founds the cluster, if all nodes agree on
    /// `founders` from the start.
    pub(crate) fn start(
        &mut self,
        plan: &Plan,
        founders: Option<&Configuration>,
        now: Micros,
        chance: &mut Chance,
    ) -> Result<Start, StartFailure> {
        let wal = WalOptions { segment_bytes: plan.segment_bytes, salt: chance.any(), base: LogBase::NONE };
        let mut opened = self.open(plan, wal)?;
        if opened.recovered.is_none() {
            let Some(founders) = founders.filter(|_| self.way_in == WayIn::Founds) else {
                self.enter(opened, plan);
                return Ok(Start::Entrant);
            };
            let mut beginning = Beginning::of_founders(&founders_of(founders));
            while let Some(to_write) = beginning.next_write() {
                self.write_beginning(&to_write, &mut opened.wal, &mut opened.identity)?;
            }
            drop(opened);
            opened = self.open(plan, wal)?;
        }
        let Opened { lock, identity, wal, torn_tail, recovered, snapshot, .. } = opened;
        let recovered = recovered.ok_or_else(|| StartFailure::ForEver("a founded log is empty".into()))?;
        self.lives += 1;
        let mut hello = self.introduction();
        let cluster = identity.cluster.as_ref().map_or(0, |cluster| cluster.id);
        introduce_member(&mut hello, cluster, recovered.configurations.get(&FOUNDING_INDEX));
        let member = Member { life: self.lives, hello, identity, wal, lock, snapshot };
        let found = self.run_replica(member, recovered, plan, now, chance)?;
        Ok(Start::Replica(Started { found, torn: torn_tail.is_some() }))
    }

    fn open(&self, plan: &Plan, wal: WalOptions) -> Result<Opened, DataError> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let options = OpenOptions {
            name: &self.info.name,
            new_id: self.id,
            wal,
            cache_bytes_max: plan.settings.cache_bytes_max,
            session_limits: plan.session_limits,
            // The node's own are drawn once it runs.
            store_limits: StoreLimits::default(),
            level_max: self.level_max,
        };
        data::open(&disk, options, |_: &ClusterIdentity| Ok::<(), DataError>(()))
    }

    /// Returns the newest version of the protocol that its program speaks. The version before knows no cluster time in
    /// frames.
    pub(crate) fn protocol(&self) -> u32 {
        if self.level_max < Level::NEWEST { PROTOCOL_VERSION - 1 } else { PROTOCOL_VERSION }
    }

    /// Returns its introduction while it has nothing more to report.
    fn introduction(&self) -> Hello {
        let hello = Hello::new(self.id, self.info.clone(), self.level_max.0);
        Hello { version: "simulated".into(), protocol: self.protocol(), incarnation: self.lives, ..hello }
    }

    /// Starts a process that has no data.
    fn enter(&mut self, opened: Opened, plan: &Plan) {
        self.lives += 1;
        let mut hello = self.introduction();
        let phase = if matches!(self.way_in, WayIn::Joins { .. }) {
            Phase::Joining
        } else {
            let peers = (1..=plan.nodes).map(|number| format!("n{number}")).filter(|name| *name != self.info.name);
            let lacks = (self.expects_data || opened.was_let_in).then(|| "it expects data".to_owned());
            let forming = Forming::new(hello.as_founder(), peers.clone(), lacks);
            forming.introduce(&mut hello);
            let dials = peers.map(|name| (name, Default::default())).collect();
            Phase::Forming(Box::new(Meeting { forming, dials, heard: BTreeMap::new() }))
        };
        let Opened { lock, identity, wal, .. } = opened;
        let entrant = Entrant { life: self.lives, paused: false, hello, phase, identity, wal, lock };
        self.state = State::Entering(Box::new(entrant));
    }

    /// Makes the first data of a process without data durable.
    pub(super) fn begin_with(&mut self, to_write: &ToWrite) -> Result<(), StartFailure> {
        let State::Entering(mut entrant) = std::mem::replace(&mut self.state, State::Down) else { return Ok(()) };
        let written = self.write_beginning(to_write, &mut entrant.wal, &mut entrant.identity);
        self.state = State::Entering(entrant);
        written
    }

    /// Makes the first data of a member durable.
    fn write_beginning(
        &mut self,
        to_write: &ToWrite,
        wal: &mut Wal,
        identity: &mut Identity,
    ) -> Result<(), StartFailure> {
        match to_write {
            ToWrite::Log(records) => {
                let write = LogWrite { id: WriteId(0), restart: None, records: records.clone() };
                self.unfinished = Some(write.clone());
                let _ = wal.append(records).map_err(DataError::from)?;
                self.image.write(&write);
                self.unfinished = None;
                // A founder's log shows by itself that it is a member.
                self.has_data |= records.iter().any(|record| matches!(record, Record::Entry(_)));
            }
            ToWrite::Identity(cluster) => {
                identity.cluster = Some(cluster.clone());
                identity.save(&self.disk).map_err(DataError::from)?;
                self.has_data = true;
            }
        }
        Ok(())
    }

    /// Turns a process that had no data into a member.
    pub(super) fn become_member(
        &mut self,
        plan: &Plan,
        now: Micros,
        chance: &mut Chance,
    ) -> Result<Option<Started>, StartFailure> {
        let State::Entering(entrant) = std::mem::replace(&mut self.state, State::Down) else { return Ok(None) };
        let Entrant { life, hello, phase, identity, wal, lock, .. } = *entrant;
        let Phase::Beginning { beginning, .. } = phase else { return Ok(None) };
        let store = Arc::new(RwLock::new(Store::with_session_limits(plan.session_limits)));
        let recovered = beginning.recovered(store, self.level_max, plan.settings.cache_bytes_max);
        let member = Member { life, hello, identity, wal, lock, snapshot: None };
        let found = self.run_replica(member, recovered, plan, now, chance)?;
        Ok(Some(Started { found, torn: false }))
    }

    fn run_replica(
        &mut self,
        member: Member,
        recovered: Recovered,
        plan: &Plan,
        now: Micros,
        chance: &mut Chance,
    ) -> Result<Found, StartFailure> {
        let Member { life, hello, identity, wal, lock, snapshot } = member;
        let cluster = identity.cluster.ok_or_else(|| StartFailure::ForEver("a member of no cluster".into()))?;
        self.has_data = true;
        let (commit, last) = (recovered.log.commit_index(), recovered.log.last_index());
        let snapshot_place = snapshot.as_ref().map_or(LogBase::NONE, SnapshotFile::last);
        let found = read_log(&wal, recovered.hard_state, commit, last, snapshot_place)?;
        let replica =
            Replica::new(self.id, plan.settings.clone(), plan.request_timeout_ms, chance.any(), recovered, Instant(0));
        self.state = State::Running(Box::new(Process {
            life,
            cluster,
            hello,
            replica,
            wal,
            writing: None,
            spare_is_due: true,
            seal_is_due: false,
            last_write: now,
            logged_commit: commit,
            cut_up_to: last,
            writing_since: now,
            snapshot,
            taking: None,
            paused: false,
            abandoned: Vec::new(),
            waiting: Vec::new(),
            will_carry_out: false,
            asked: BTreeMap::new(),
            leadership_transfers: Vec::new(),
            member_changes: MemberChanges::default(),
            started: now,
            _lock: lock,
        }));
        Ok(found)
    }
}

/// Parts of a process that has its data open.
struct Member {
    life: Life,
    hello: Hello,
    identity: Identity,
    wal: Wal,
    lock: DirLock,
    snapshot: Option<SnapshotFile>,
}

/// A process that has started.
#[derive(Debug)]
pub(crate) enum Start {
    /// It is a member of its cluster.
    Replica(Started),
    /// It does not belong to a cluster yet.
    Entrant,
}

/// Results of a start.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) found: Found,
    /// The end of an unfinished write was cut off.
    pub(crate) torn: bool,
}

/// Returns the contents of a log, as its own reader reads it.
fn read_log(
    wal: &Wal,
    hard_state: HardState,
    commit: LogIndex,
    last: LogIndex,
    snapshot: LogBase,
) -> Result<Found, StartFailure> {
    let first = wal.reader().first_index();
    let entries: Vec<Entry> = wal.reader().read(first, last, usize::MAX).map_err(DataError::from)?;
    let entries = entries.iter().map(|entry| (entry.term, Digest::of(entry))).collect();
    Ok(Found { hard_state, first, entries, commit, snapshot })
}

impl From<DataError> for StartFailure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Storage(StorageError::Io { .. }) => Self::ForNow(error.to_string()),
            DataError::Level { .. } => Self::TooOld,
            error => Self::ForEver(error.to_string()),
        }
    }
}
