//! One node on a simulated disk: only consensus, and the state that a crash leaves.
//!
//! The disk is the sum of the records of completed writes, nothing else. It checks what any real log
//! would rely on: entries without gaps, terms that never go back, one vote per term, nothing cut off
//! that was committed. The caller decides when a write completes, and whether a crash loses it.

use kvd::raft::{
    Configuration, Effects, Entry, Fetch, HardState, Instant, Log, LogBase, LogIndex, LogWrite, MemberInfo, NodeId,
    Payload, Raft, Record, Restored, Settings, SnapshotPlace, Term,
};
use std::collections::BTreeMap;

/// A node, running or not.
pub(crate) struct Machine {
    id: NodeId,
    settings: Settings,
    /// In force from before the first entry, so that log indexes are those of the paper's figures.
    configuration: Configuration,
    seed: u64,
    lives: u64,
    pub(crate) now: Instant,
    pub(crate) disk: Disk,
    running: Option<Running>,
}

/// State that a crash destroys.
struct Running {
    raft: Raft,
    under_way: Option<LogWrite>,
    applied_index: LogIndex,
}

impl Machine {
    /// Returns a node that starts for the first time, with an empty disk.
    pub(crate) fn new(id: NodeId, settings: Settings, configuration: Configuration, seed: u64) -> Self {
        let disk = Disk::default();
        let mut machine = Self { id, settings, configuration, seed, lives: 0, now: Instant(0), disk, running: None };
        machine.start();
        machine
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Returns its consensus state.
    ///
    /// # Panics
    /// If it has crashed.
    pub(crate) fn raft(&self) -> &Raft {
        &self.running.as_ref().expect("a running node").raft
    }

    /// Returns its consensus state, to be driven.
    ///
    /// # Panics
    /// If it has crashed.
    pub(crate) fn raft_mut(&mut self) -> &mut Raft {
        &mut self.running.as_mut().expect("a running node").raft
    }

    /// Takes the effects. Keeps the write under way, and checks that entries are applied in order.
    pub(crate) fn effects(&mut self) -> Effects {
        let running = self.running.as_mut().expect("a running node");
        let effects = running.raft.effects();
        if let Some(write) = &effects.write {
            assert!(running.under_way.is_none(), "{} has two writes under way", self.id.0);
            running.under_way = Some(write.clone());
        }
        for entry in &effects.apply {
            assert_eq!(entry.index, running.applied_index.next(), "{} applies out of order", self.id.0);
            running.applied_index = entry.index;
        }
        assert_eq!(running.applied_index, running.raft.log().applied_index());
        effects
    }

    /// Completes the write under way, if there is one, and reports it.
    pub(crate) fn finish_write(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(write) = running.under_way.take() else { return false };
        self.disk.write(&write);
        running.raft.written(write.id);
        true
    }

    /// Takes a snapshot of the applied state, which is durable at once.
    pub(crate) fn take_snapshot(&mut self) -> LogBase {
        let place = self.raft().snapshot_place();
        let last = place.last;
        self.disk.snapshot = Some(place);
        last
    }

    /// Drops the entries up to `index`, which the snapshot contains. Returns the index up to which they are gone.
    pub(crate) fn compact(&mut self, index: LogIndex) -> LogIndex {
        let snapshot = self.disk.snapshot.as_ref().map_or(LogIndex(0), |place| place.last.index);
        assert!(index <= snapshot, "compaction up to {index}, and the snapshot ends with {snapshot}");
        let gone = self.raft_mut().compact(index);
        self.disk.remove_up_to(gone);
        gone
    }

    /// Handles another node's snapshot, which has arrived and is durable. Returns whether it becomes the state.
    pub(crate) fn install(&mut self, place: SnapshotPlace) -> bool {
        let running = self.running.as_mut().expect("a running node");
        if !running.raft.wants_snapshot(place.last) {
            return false;
        }
        self.disk.snapshot = Some(place.clone());
        running.applied_index = place.last.index;
        running.raft.install(place)
    }

    /// Reads back from disk entries that a leader no longer has in memory.
    pub(crate) fn fetch(&mut self, fetch: &Fetch) {
        let entries = self.disk.read(fetch);
        self.raft_mut().fetched(fetch, entries);
    }

    /// Forgets everything but the disk. The write under way is lost, or `survives` although it was never reported.
    /// Returns whether there was one.
    pub(crate) fn crash(&mut self, survives: bool) -> bool {
        let write = self.running.take().and_then(|running| running.under_way);
        if let Some(write) = write.as_ref().filter(|_| survives) {
            self.disk.write(write);
        }
        write.is_some()
    }

    /// Starts a new incarnation from the disk, unless the node is running.
    pub(crate) fn start(&mut self) {
        if self.is_running() {
            return;
        }
        self.lives += 1;
        let seed = self.seed.wrapping_mul(1_000_003) ^ (self.id.0 << 32) ^ self.lives;
        let restored = self.disk.restore(&self.configuration);
        let raft = Raft::new(self.id, self.settings.clone(), seed, restored, self.now);
        let applied_index = raft.log().applied_index();
        self.running = Some(Running { raft, under_way: None, applied_index });
    }
}

/// The records of completed writes, combined into one state.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotPlace>,
    /// Entries after the base of the log.
    pub(crate) entries: Vec<Entry>,
    base: LogIndex,
    commit: LogIndex,
}

impl Disk {
    /// One completed write.
    pub(crate) fn write(&mut self, write: &LogWrite) {
        if let Some(restart) = write.restart {
            let base = restart.base;
            assert!(
                self.snapshot.as_ref().is_some_and(|place| place.last.index >= base.index),
                "a log after {base}, without a snapshot"
            );
            self.entries.clear();
            (self.base, self.commit) = (base.index, base.index);
        }
        for record in &write.records {
            match record {
                Record::HardState(HardState { term, vote }) => {
                    let before = self.hard_state;
                    let keeps_vote = *term == before.term && (before.vote.is_none() || *vote == before.vote);
                    assert!(*term > before.term || keeps_vote, "{before:?} on disk, then term {term} vote {vote:?}");
                    self.hard_state = HardState { term: *term, vote: *vote };
                }
                Record::Truncate { from } => {
                    assert!(*from > self.commit, "cut off from {from}, committed up to {}", self.commit);
                    self.entries.retain(|entry| entry.index < *from);
                }
                Record::Entry(entry) => {
                    assert_eq!(entry.index, self.last_index().next(), "a gap on disk");
                    assert!(entry.term <= self.hard_state.term, "{entry:?} on disk in {:?}", self.hard_state);
                    self.entries.push(entry.clone());
                }
                Record::Commit(index) => {
                    assert!(*index <= self.last_index(), "commit {index} of what is not on disk");
                    self.commit = *index;
                }
            }
        }
    }

    fn last_index(&self) -> LogIndex {
        LogIndex(self.base.0 + self.entries.len() as u64)
    }

    fn remove_up_to(&mut self, index: LogIndex) {
        self.entries.retain(|entry| entry.index > index);
        self.base = self.base.max(index);
    }

    /// Returns the entries that follow the snapshot, and the terms of those up to its end; nothing if the log does not
    /// follow it (paper Figure 13, steps 6 and 7).
    fn after_snapshot(&self, last: LogBase) -> (Vec<(LogIndex, Term)>, &[Entry]) {
        let followed = self.base == last.index
            || self.entries.iter().any(|entry| (entry.index, entry.term) == (last.index, last.term));
        if !followed {
            return (Vec::new(), &[]);
        }
        let (before, after) = self.entries.split_at(self.entries.partition_point(|entry| entry.index <= last.index));
        (before.iter().map(|entry| (entry.index, entry.term)).collect(), after)
    }

    fn read(&self, fetch: &Fetch) -> Vec<Entry> {
        let mut bytes = 0;
        let wanted = self.entries.iter().filter(|entry| (fetch.from..=fetch.through).contains(&entry.index));
        let within = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.size_bytes();
            first || bytes <= fetch.bytes_max
        };
        wanted.take_while(within).cloned().collect()
    }

    fn restore(&self, configuration: &Configuration) -> Restored {
        let (mut log, entries) = match &self.snapshot {
            None => (Log::default(), &self.entries[..]),
            Some(SnapshotPlace { last, time, .. }) => {
                let (before, after) = self.after_snapshot(*last);
                (Log::after_snapshot(*last, *time).with_terms_before(before), after)
            }
        };
        entries.iter().cloned().for_each(|entry| log.append(entry));
        log.set_durable(log.last_index());
        log.commit(self.commit);
        let mut configurations = match &self.snapshot {
            None => BTreeMap::from([(LogIndex(0), configuration.clone())]),
            Some(place) => BTreeMap::from([(place.configuration_index, place.configuration.clone())]),
        };
        for entry in entries {
            if let Payload::Configuration(configuration) = &entry.payload {
                configurations.insert(entry.index, configuration.clone());
            }
        }
        Restored { hard_state: self.hard_state, log, configurations }
    }
}

/// Returns a configuration with the nodes 1 to `nodes` as voters.
pub(crate) fn voters(nodes: u64) -> Configuration {
    Configuration::of_voters((1..=nodes).map(NodeId).map(|id| (id, info(id))))
}

/// Returns the description of a node in a configuration.
pub(crate) fn info(id: NodeId) -> MemberInfo {
    MemberInfo { name: format!("n{}", id.0), client_url: String::new(), peer_url: String::new() }
}
