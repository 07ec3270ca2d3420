//! One replica: consensus, the store, and the requests that wait on them.
//!
//! Pure like consensus itself: inputs in, effects out, and the caller passes in the time. A write waits under the index
//! and term of its entry. If that very entry is applied here, the write has its outcome, whichever node led by then. If
//! another entry is applied at that index, the write has failed for good. If neither happens in time, the outcome is
//! unknown. A read waits for its read index, and then for the store to reach it.

use super::apply::apply_entry;
use super::backlog::Backlog;
use super::effects::Effects;
use super::keepalives::{LeaseUpkeep, leases_of};
use super::leadership::{LeadershipProof, Proofs};
use super::levels::Levels;
use super::recovery::Recovered;
use super::repeats::Repeats;
use super::request::{ReadError, WriteError};
use super::state_check::{AppliedState, Divergence, StateCheck};
use crate::kv::{Command, Outcome, RequestId, SnapshotBusy, Store, StoreLimits};
use crate::mutants::{self, Mutant};
use crate::raft::{
    ClusterTime, Entry, Fetch, Instant, LogBase, LogIndex, MembershipChange, MembershipError, Message, NodeId, Payload,
    ProposalRefusal, Raft, ReadToken, Restored, RoleName, Settings, SnapshotPlace, Term, WriteId,
};
use bytes::Bytes;
use kvclient::snapshot::Summary;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most writes waiting for a quorum. When full, the next gets `Overloaded` at once rather than a late timeout.
const WAITING_WRITES_MAX: usize = 4096;

/// Most bytes of entries that have yet to be applied, or to reach this node's disk. They cannot leave memory, whether a
/// client still waits for them or not. So this limit bounds how much a leader accepts while it cannot commit anything.
const UNSETTLED_BYTES_MAX: usize = 64 << 20;

/// Most reads waiting for a read index or for the store to reach it.
const WAITING_READS_MAX: usize = 16384;

/// Time between two looks at the history of a node to which nothing is written. Milliseconds.
const TRIM_EVERY_MS: u64 = 200;

/// Most changes of the history that are freed at once then.
const TRIMMED_CHANGES: usize = 1_000;

/// One replica of the store. `W` and `R` are the caller's handles on writes and reads, returned with their results.
#[derive(Debug)]
pub struct Replica<W, R> {
    raft: Raft,
    store: Arc<RwLock<Store>>,
    now: Instant,
    request_timeout_ms: u64,
    /// Bytes of entries in memory beyond which no write is accepted.
    memory_bytes_max: usize,
    backlog: Backlog,
    writes: BTreeMap<(LogIndex, Term), WaitingWrite<W>>,
    repeats: Repeats<W>,
    /// Reads that arrived since the last effects; they share one token.
    arrived: Vec<WaitingRead<R>>,
    last_token: ReadToken,
    proofs: Proofs,
    pub(super) levels: Levels,
    pub(super) lease_upkeep: LeaseUpkeep<W>,
    store_limits: StoreLimits,
    /// True if the last effects left out commands that take long.
    applies_next: bool,
    /// Time at which the history is next looked through for what it may no longer remember.
    next_trim: Instant,
    /// Reads whose read index has been requested.
    asked: BTreeMap<ReadToken, WaitingReads<R>>,
    /// Reads that wait for this index to be applied.
    indexed: BTreeMap<LogIndex, Vec<WaitingReads<R>>>,
    waiting_reads: usize,
    /// No request expires before this.
    next_expiry: Instant,
    ended_writes: Vec<(W, Result<Outcome, WriteError>)>,
    ended_reads: Vec<(R, Result<Option<ClusterTime>, ReadError>)>,
    state_check: StateCheck,
}

#[derive(Debug)]
struct WaitingWrite<W> {
    handle: W,
    deadline: Instant,
}

#[derive(Debug)]
struct WaitingRead<R> {
    handle: R,
    deadline: Instant,
}

/// Reads that share a token.
#[derive(Debug)]
struct WaitingReads<R> {
    reads: Vec<WaitingRead<R>>,
    /// The earliest of their deadlines.
    deadline: Instant,
    /// The cluster time that came with their read index, if it has come and the leader tells it.
    time: Option<ClusterTime>,
}

impl<R> WaitingReads<R> {
    /// Takes out the reads whose time has run out.
    fn expire(&mut self, now: Instant) -> Vec<R> {
        if self.deadline > now {
            return Vec::new();
        }
        let expired = self.reads.extract_if(.., |read| read.deadline <= now).map(|read| read.handle).collect();
        self.deadline = earliest(&self.reads).unwrap_or(self.deadline);
        expired
    }
}

fn earliest<R>(reads: &[WaitingRead<R>]) -> Option<Instant> {
    reads.iter().map(|read| read.deadline).min()
}

impl<W, R> Replica<W, R> {
    /// Creates a replica from the state recovered from its log. A request that is not answered within
    /// `request_timeout_ms` ends with `OutcomeUnknown` or `TimedOut`. For `seed` see [`Raft::new`].
    pub fn new(
        id: NodeId,
        settings: Settings,
        request_timeout_ms: u64,
        seed: u64,
        recovered: Recovered,
        now: Instant,
    ) -> Self {
        let Recovered { hard_state, log, configurations, store, level_max } = recovered;
        let levels = Levels::new(level_max, lock(&store).level());
        let memory_bytes_max = settings.cache_bytes_max + UNSETTLED_BYTES_MAX;
        let raft = Raft::new(id, settings, seed, Restored { hard_state, log, configurations }, now);
        let mut state_check = StateCheck::default();
        state_check.applied(state_of(&lock(&store), raft.log().applied_index()));
        Self {
            raft,
            store,
            now,
            request_timeout_ms,
            memory_bytes_max,
            backlog: Backlog::default(),
            writes: BTreeMap::new(),
            repeats: Repeats::default(),
            arrived: Vec::new(),
            last_token: ReadToken(0),
            proofs: Proofs::default(),
            levels,
            lease_upkeep: LeaseUpkeep::default(),
            store_limits: StoreLimits::default(),
            applies_next: false,
            next_trim: now,
            asked: BTreeMap::new(),
            indexed: BTreeMap::new(),
            waiting_reads: 0,
            next_expiry: now,
            ended_writes: Vec::new(),
            ended_reads: Vec::new(),
            state_check,
        }
    }

    /// Sets the time to `now`; see [`Raft::set_time`].
    pub fn set_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.raft.set_time(now);
    }

    /// Sets the time to `now` when nothing else has arrived; see [`Raft::tick`].
    pub fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.raft.tick(now);
        let store = &self.store;
        self.raft.mark_time(|| read(store).has_leases());
        self.raise_level();
        self.log_keepalives();
        self.end_leases();
        if self.now >= self.next_trim {
            let has_more = lock(&self.store).free_history(TRIMMED_CHANGES);
            self.next_trim = if has_more { self.now } else { self.now.plus_ms(TRIM_EVERY_MS) };
        }
        if self.now >= self.next_expiry {
            self.expire();
        }
    }

    /// Handles a message from another node. A message that this node must not accept is dropped as if lost; see
    /// [`Replica::refuses_level`].
    pub fn step(&mut self, from: NodeId, message: Message) {
        if self.refuses_level(&message).is_some() {
            return;
        }
        self.raft.step(from, message);
    }

    /// Starts a write, to be replicated and applied: a valid [`Command`](crate::kv::Command), encoded. It has the usual
    /// request timeout.
    pub fn write(&mut self, command: Bytes, handle: W) {
        self.write_until(command, self.deadline(), handle);
    }

    /// The same with an explicit deadline: at `deadline` the write ends with [`WriteError::OutcomeUnknown`].
    pub fn write_until(&mut self, command: Bytes, deadline: Instant, handle: W) {
        // Below that level, nodes that cannot read the command would have it in their logs.
        if self.raft.role() == RoleName::Leader
            && let Some(needed) = Command::level_of(&command).filter(|needed| *needed > self.level())
        {
            let lacking = self.members_below(needed);
            return self.ended_writes.push((handle, Err(WriteError::BelowLevel { needed, lacking })));
        }
        if self.raft.role() == RoleName::Leader
            && self.waiting_writes() < WAITING_WRITES_MAX
            && let Some(place) = self.repeats.find(&command, self.raft.term())
        {
            self.next_expiry = self.next_expiry.min(deadline);
            return self.repeats.join(place, handle, deadline);
        }
        if self.raft.role() == RoleName::Leader && self.is_full_for(&command) {
            return self.ended_writes.push((handle, Err(WriteError::StoreFull)));
        }
        let log = self.raft.log();
        if self.raft.role() == RoleName::Leader
            && (self.waiting_writes() >= WAITING_WRITES_MAX
                || log.memory_bytes() >= self.memory_bytes_max
                || !self.backlog.has_room(log.unapplied_bytes(), self.request_timeout_ms))
        {
            return self.ended_writes.push((handle, Err(WriteError::Overloaded)));
        }
        if self.raft.role() == RoleName::Leader
            && let Some(leases) = leases_of(&command)
        {
            return self.gather_keepalive(leases, deadline, handle);
        }
        match self.propose_write(command.clone()) {
            Ok(place) => {
                self.repeats.appended(&command, place);
                self.expires_by(deadline);
                self.writes.insert(place, WaitingWrite { handle, deadline });
            }
            Err(error) => self.ended_writes.push((handle, Err(error))),
        }
    }

    /// Returns true if the store is full and this command would make it larger.
    ///
    /// A command that is refused here must never take effect. So the repeat of a request that was applied, or that may
    /// be, goes to the log like any other: there it gets the outcome of the first.
    fn is_full_for(&self, command: &Bytes) -> bool {
        let store = read(&self.store);
        if store.state_bytes() < self.store_limits.state_bytes_max {
            return false;
        }
        let Ok(command) = Command::decode(command) else { return false };
        if !store.would_grow(&command) {
            return false;
        }
        command.request.is_none_or(|request| !store.has_seen(&request) && !self.may_apply(&request))
    }

    /// Returns true if a request sent before may still be applied: it is in the log, or in that of another node, as
    /// long as this leader has committed nothing in its term (§5.4.2).
    fn may_apply(&self, request: &RequestId) -> bool {
        let log = self.raft.log();
        if log.term_at(log.commit_index()) != Some(self.raft.term()) {
            return true;
        }
        let unapplied = log.entries_from(log.applied_index().next(), usize::MAX);
        let is_of_request = |entry: &Entry| {
            let Payload::Command(command) = &entry.payload else { return false };
            Command::decode(command).is_ok_and(|command| command.request.as_ref() == Some(request))
        };
        unapplied.is_none_or(|entries| entries.iter().any(is_of_request))
    }

    /// Appends a write to the log, if this node leads. Returns its place there.
    pub(super) fn propose_write(&mut self, command: Bytes) -> Result<(LogIndex, Term), WriteError> {
        let index = self.raft.propose(command).map_err(|refusal| match refusal {
            ProposalRefusal::NotLeader { leader: Some(leader) } => WriteError::NotLeader { leader },
            ProposalRefusal::NotLeader { leader: None } => WriteError::NoLeader,
            ProposalRefusal::TransferringLeadership => WriteError::TransferringLeadership,
        })?;
        self.backlog.waits(self.now);
        Ok((index, self.raft.term()))
    }

    /// Takes note that a request expires then.
    pub(super) fn expires_by(&mut self, deadline: Instant) {
        self.next_expiry = self.next_expiry.min(deadline);
    }

    /// Ends writes.
    pub(super) fn end_writes(&mut self, ended: impl IntoIterator<Item = (W, Result<Outcome, WriteError>)>) {
        self.ended_writes.extend(ended);
    }

    /// Sets the limits of this node's store.
    pub fn set_store_limits(&mut self, limits: StoreLimits) {
        self.store_limits = limits;
        lock(&self.store).set_limits(&limits);
    }

    /// Starts a linearizable read, which ends when the store is fresh enough. It has the usual request timeout.
    pub fn read(&mut self, handle: R) {
        self.read_until(self.deadline(), handle);
    }

    /// The same with an explicit deadline: at `deadline` the read ends with [`ReadError::TimedOut`].
    pub fn read_until(&mut self, deadline: Instant, handle: R) {
        if self.waiting_reads >= WAITING_READS_MAX {
            return self.ended_reads.push((handle, Err(ReadError::Overloaded)));
        }
        self.waiting_reads += 1;
        self.arrived.push(WaitingRead { handle, deadline });
    }

    /// Records that a write to the log is durable; see [`Raft::written`].
    pub fn written(&mut self, id: WriteId) {
        self.raft.written(id);
    }

    /// Takes entries that were read back from disk; see [`Raft::fetched`].
    pub fn fetched(&mut self, fetch: &Fetch, entries: Vec<Entry>) {
        self.raft.fetched(fetch, entries);
    }

    /// Begins a snapshot of the current state. The store returns its pieces, while commands continue to be applied.
    ///
    /// # Errors
    /// [`SnapshotBusy`] until the previous one has been ended.
    pub fn begin_snapshot(&mut self) -> Result<(SnapshotPlace, Summary), SnapshotBusy> {
        let summary = lock(&self.store).begin_snapshot()?;
        Ok((self.raft.snapshot_place(), summary))
    }

    /// Compacts the log up to `index`, since a snapshot with everything up to there is durable; see [`Raft::compact`].
    /// Returns the index up to which the log may be removed.
    pub fn compact(&mut self, index: LogIndex) -> LogIndex {
        self.raft.compact(index)
    }

    /// Takes the result of sending a snapshot; see [`Raft::snapshot_sent`].
    pub fn snapshot_sent(&mut self, to: NodeId, term: Term, last: Option<LogIndex>) {
        self.raft.snapshot_sent(to, term, last);
    }

    /// Returns true if a snapshot that ends there would be news; see [`Raft::wants_snapshot`].
    pub fn wants_snapshot(&self, last: LogBase) -> bool {
        self.raft.wants_snapshot(last)
    }

    /// Makes a snapshot that is durable on this node's disk its state, with this store, unless the snapshot is no
    /// longer news; see [`Raft::install`]. Returns the store that is not needed, so that the caller can drop it where
    /// that may take time.
    pub fn install(&mut self, place: SnapshotPlace, mut store: Store) -> Store {
        let last = place.last.index;
        if !self.raft.install(place) {
            return store;
        }
        // The snapshot does not contain the outcomes of these writes.
        for (_, write) in self.writes.extract_if(..=(last, Term(u64::MAX)), |_, _| true) {
            self.ended_writes.push((write.handle, Err(WriteError::OutcomeUnknown)));
        }
        store.set_limits(&self.store_limits);
        let repeats = self.repeats.replaced(last).into_iter().chain(self.lease_upkeep.replaced(last));
        self.ended_writes.extend(repeats.map(|handle| (handle, Err(WriteError::OutcomeUnknown))));
        self.state_check.replaced(state_of(&store, last));
        self.levels.reached(store.level());
        std::mem::replace(&mut *lock(&self.store), store)
    }

    /// Returns the states that other replicas compare with theirs.
    pub fn states(&self) -> Vec<AppliedState> {
        self.state_check.states()
    }

    /// Takes another replica's report of its states, and checks whether this replica has diverged from the majority of
    /// the voters.
    pub fn compare_states(&mut self, from: NodeId, states: Vec<AppliedState>) {
        self.state_check.compare(self.raft.id(), from, states, self.raft.configuration());
    }

    /// Returns the divergence of this replica, once known. The replica must not continue then: its caller stops calling
    /// it and executes no more of its effects, so that it no longer counts for any quorum. Requests waiting there have
    /// an unknown outcome.
    pub fn divergence(&self) -> Option<Divergence> {
        self.state_check.divergence()
    }

    /// Returns a voter whose state differs from this replica's, and the entry after which it does. Either the voter has
    /// diverged, or it is not yet known which of the two has.
    pub fn disagreement(&self) -> Option<(NodeId, LogIndex)> {
        self.state_check.disagreement()
    }

    /// Starts a membership change; see [`Raft::change_membership`].
    ///
    /// # Errors
    /// [`MembershipError`]; nothing has changed then.
    pub fn change_membership(&mut self, change: &MembershipChange) -> Result<LogIndex, MembershipError> {
        self.raft.change_membership(change)
    }

    /// Asks for proof that this node, which believes that it leads, still does.
    pub fn prove_leadership(&mut self) -> LeadershipProof {
        self.proofs.ask(self.raft.term(), self.next_token())
    }

    /// Returns true once this node is known to have led at some moment after the proof was requested. Its commit index
    /// then covers everything that was committed by that moment. `None` while that is unknown; false once it no longer
    /// leads in that term.
    pub fn is_proven(&self, proof: &LeadershipProof) -> Option<bool> {
        let leads = self.raft.role() == RoleName::Leader;
        self.proofs.is_proven(proof, leads.then(|| self.raft.term()))
    }

    /// Handles a member's word that this node was removed; see [`Raft::told_removed`].
    pub fn told_removed(&mut self) {
        self.raft.told_removed();
    }

    /// Handles the opening of the bulk lane to a peer; see [`Raft::bulk_opened`].
    pub fn bulk_opened(&mut self, peer: NodeId) {
        self.raft.bulk_opened(peer);
    }

    /// Marks the bulk lane to a peer as stalled; see [`Raft::bulk_stalled`].
    pub fn bulk_stalled(&mut self, peer: NodeId) {
        self.raft.bulk_stalled(peer);
    }

    /// Handles the end of a peer's process; see [`Raft::peer_lost`]. The next process of that peer may support fewer
    /// levels.
    pub fn peer_lost(&mut self, peer: NodeId) {
        self.raft.peer_lost(peer);
        self.levels.peer_lost(peer);
    }

    /// Returns the actions to take after the calls since the last time.
    pub fn effects(&mut self) -> Effects<W, R> {
        if !self.arrived.is_empty() || self.proofs.is_wanted() {
            let token = self.next_token();
            self.last_token = token;
            let replaces_proof = self.proofs.begun(token);
            if let Some(deadline) = earliest(&self.arrived) {
                self.next_expiry = self.next_expiry.min(deadline);
                let reads = std::mem::take(&mut self.arrived);
                self.asked.insert(token, WaitingReads { reads, deadline, time: None });
            }
            if replaces_proof {
                self.retain_reads();
            }
            self.raft.read_index(token);
        }
        // A command that takes long is applied one step later. Otherwise what this step sends would wait for it, and
        // the other nodes would begin to apply the command only then: twice the time in which no quorum answers.
        self.applies_next = !self.applies_next && self.raft.to_apply().any(takes_long);
        let effects = if self.applies_next { self.raft.effects_to_send() } else { self.raft.effects() };
        self.apply(&effects.apply);
        for outcome in effects.reads {
            if outcome.read_index.is_some() {
                self.proofs.confirmed(outcome.token);
            }
            // A read that expired meanwhile is no longer here. If only a proof was wanted, there was no read.
            let Some(reads) = self.asked.remove(&outcome.token) else { continue };
            match outcome.read_index {
                Some(index) => {
                    self.indexed.entry(index).or_default().push(WaitingReads { time: outcome.time, ..reads })
                }
                None => self.end_reads(reads, Err(ReadError::NoLeader)),
            }
        }
        let applied_index = self.raft.log().applied_index();
        while let Some(first) = self.indexed.first_entry()
            && (*first.key() <= applied_index || mutants::is_on(Mutant::ReadBeforeApplied))
        {
            for reads in first.remove() {
                let time = reads.time;
                self.end_reads(reads, Ok(time));
            }
        }
        Effects {
            send: effects.send,
            bulk: effects.bulk,
            write: effects.write,
            fetch: effects.fetch,
            snapshots: effects.snapshots,
            writes: std::mem::take(&mut self.ended_writes),
            reads: std::mem::take(&mut self.ended_reads),
        }
    }

    /// Returns true if committed entries are left that the last effects did not apply: call again soon.
    pub fn has_unapplied(&self) -> bool {
        self.raft.has_unapplied()
    }

    /// Returns true if the last effects left out commands that take long, and the next ones apply them: what those
    /// effects send must be on its way by then.
    pub fn applies_next(&self) -> bool {
        self.applies_next
    }

    /// Number of writes that wait for a quorum.
    pub fn waiting_writes(&self) -> usize {
        self.writes.len() + self.repeats.waiting() + self.lease_upkeep.waiting()
    }

    /// Number of reads that wait for a read index, or for the store to reach it.
    pub fn waiting_reads(&self) -> usize {
        self.waiting_reads
    }

    /// Returns the present cluster time if this node leads; see [`Raft::cluster_time`].
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        self.raft.cluster_time()
    }

    /// Returns the consensus state, for inspection.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Returns the store, which is shared with readers.
    pub fn store(&self) -> &Arc<RwLock<Store>> {
        &self.store
    }

    /// Applies committed entries, and ends the writes that waited at their indexes.
    fn apply(&mut self, entries: &[Entry]) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        let bytes = entries.iter().map(Entry::size_bytes).sum();
        self.backlog.applied(bytes, self.raft.log().unapplied_bytes(), self.now);
        let mut store = lock(&self.store);
        for entry in entries {
            // Skipping the entry on a node that is too old to know it would let the replicas diverge.
            let outcome = apply_entry(&mut store, entry, self.levels.max());
            let outcome = outcome.unwrap_or_else(|unreadable| panic!("{unreadable}"));
            if let Some(Outcome::LevelRaised { level }) = outcome {
                self.levels.reached(level);
            }
            let at_index = (entry.index, Term(0))..(entry.index.next(), Term(0));
            let first = self.writes.extract_if(at_index, |_, _| true).map(|((_, term), write)| (term, write.handle));
            for (term, handle) in first.chain(self.repeats.applied(entry.index)) {
                let ended = match &outcome {
                    Some(outcome) if term == entry.term => Ok(outcome.clone()),
                    // A committed entry is final (paper §5.4.3), so the entry that this node had at this index before
                    // can never be committed anywhere.
                    _ => Err(WriteError::Superseded),
                };
                self.ended_writes.push((handle, ended));
            }
            let keepalives = self.lease_upkeep.applied(entry.index, entry.term, outcome.as_ref());
            self.ended_writes.extend(keepalives);
            if StateCheck::is_kept(entry.index) || entry.index == last {
                self.state_check.applied(state_of(&store, entry.index));
            }
        }
    }

    fn end_reads(&mut self, reads: WaitingReads<R>, result: Result<Option<ClusterTime>, ReadError>) {
        self.waiting_reads -= reads.reads.len();
        self.ended_reads.extend(reads.reads.into_iter().map(|read| (read.handle, result)));
    }

    pub(super) fn raft_mut(&mut self) -> &mut Raft {
        &mut self.raft
    }

    /// Token of the reads that the next effects request.
    fn next_token(&self) -> ReadToken {
        ReadToken(self.last_token.0 + 1)
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// Deadline of a request that arrives now.
    pub(super) fn deadline(&self) -> Instant {
        self.now.plus_ms(self.request_timeout_ms)
    }

    /// Forgets every read index that no read or proof waits for any longer.
    fn retain_reads(&mut self) {
        self.raft.retain_reads(|token| self.asked.contains_key(&token) || self.proofs.is_waited_for(token));
    }

    /// Ends the requests whose time has run out. Their entries may still be committed.
    fn expire(&mut self) {
        let now = self.now;
        for (_, write) in self.writes.extract_if(.., |_, write| write.deadline <= now) {
            self.ended_writes.push((write.handle, Err(WriteError::OutcomeUnknown)));
        }
        let repeats = self.repeats.expire(now).into_iter().chain(self.lease_upkeep.expire(now));
        self.ended_writes.extend(repeats.map(|handle| (handle, Err(WriteError::OutcomeUnknown))));
        let waiting = self.asked.values_mut().chain(self.indexed.values_mut().flatten());
        let expired: Vec<R> = waiting.flat_map(|reads| reads.expire(now)).collect();
        if !expired.is_empty() {
            self.asked.retain(|_, waiting| !waiting.reads.is_empty());
            self.indexed.values_mut().for_each(|waiting| waiting.retain(|waiting| !waiting.reads.is_empty()));
            self.retain_reads();
        }
        self.waiting_reads -= expired.len();
        self.ended_reads.extend(expired.into_iter().map(|handle| (handle, Err(ReadError::TimedOut))));
        let deadlines = (self.writes.values().map(|write| write.deadline))
            .chain(self.repeats.next_deadline())
            .chain(self.lease_upkeep.next_deadline())
            .chain(self.asked.values().map(|reads| reads.deadline))
            .chain(self.indexed.values().flatten().map(|reads| reads.deadline));
        // A request that arrives later lowers it if it expires earlier.
        self.next_expiry = deadlines.min().unwrap_or_else(|| self.deadline());
    }
}

fn takes_long(entry: &Entry) -> bool {
    matches!(&entry.payload, Payload::Command(command) if Command::may_take_long(command))
}

fn state_of(store: &Store, index: LogIndex) -> AppliedState {
    AppliedState { index, hash: store.state_hash() }
}

fn read(store: &RwLock<Store>) -> RwLockReadGuard<'_, Store> {
    store.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock(store: &RwLock<Store>) -> RwLockWriteGuard<'_, Store> {
    // Only this replica writes, and a panic in `apply` ends the process.
    store.write().unwrap_or_else(PoisonError::into_inner)
}
