//! Snapshots and the log together, as a node uses them: whatever interrupts it, nothing that was acknowledged is lost.

use super::super::super::wal::{Appended, OpenedLog, Wal, WalOptions};
use super::*;
use crate::raft::{ClusterTime, Entry, HardState, Payload, Record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const NODE: NodeId = NodeId(0xabcd);

/// All data of a node: its entries from the very first on. A snapshot may hold the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    entries: Vec<Entry>,
    commit: u64,
    term: Term,
}

impl Model {
    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn entry_at(&self, index: u64) -> LogBase {
        entry(index, self.entries[index as usize - 1].term.0)
    }

    fn append(&mut self, rng: &mut StdRng) -> Record {
        let payload = Payload::Command(vec![rng.random(); rng.random_range(0..300)].into());
        let index = LogIndex(self.last() + 1);
        self.entries.push(Entry { index, term: self.term, time: ClusterTime(index.0), payload });
        Record::Entry(self.entries[index.0 as usize - 1].clone())
    }

    fn truncate(&mut self, from: u64) -> Record {
        self.entries.truncate(from as usize - 1);
        Record::Truncate { from: LogIndex(from) }
    }

    fn set_commit(&mut self, commit: u64) -> Record {
        self.commit = commit;
        Record::Commit(LogIndex(commit))
    }
}

/// A process that runs on the disk.
struct Process {
    disk: FaultyDisk,
    wal: Wal,
    base: LogBase,
}

/// State that a failed step may leave instead of the old one.
type Unfinished = Option<Model>;

impl Process {
    /// Starts, and returns all recovered data; `None` if the disk or the power fails.
    fn start(disk: &FaultyDisk) -> Option<(Self, Model)> {
        let started = Self::try_start(disk);
        match started {
            Ok(started) => Some(started),
            Err(StorageError::Io { .. }) => None,
            Err(other) => panic!("{other}"),
        }
    }

    fn try_start(disk: &FaultyDisk) -> Result<(Self, Model), StorageError> {
        let recovered = recover(disk, CLUSTER, Wal::begins_with(disk, NODE)?, read_all)?;
        let base = recovered.base();
        let mut entries: Vec<Entry> =
            recovered.found.as_ref().map(|found| postcard::from_bytes(&found.state).unwrap()).unwrap_or_default();
        assert_eq!(entries.len() as u64, base.index.0);
        let options = WalOptions { segment_bytes: 1024, salt: 0x5a17, base };
        let (wal, opened) = Wal::open(Arc::new(disk.clone()), options, NODE, &mut |record| match record {
            Record::Entry(entry) => entries.push(entry),
            Record::Truncate { from } => entries.truncate(from.previous().0 as usize),
            Record::HardState(_) | Record::Commit(_) => {}
        })?;
        assert_eq!(recovered.check(&opened)?, []);
        if let Some(found) = &recovered.found {
            remove_older(disk, &found.file)?;
        }
        assert!(disk.list().unwrap().iter().filter(|name| name.starts_with("snapshot")).count() <= 1);
        let OpenedLog { commit, hard_state, .. } = opened;
        Ok((Self { disk: disk.clone(), wal, base }, Model { entries, commit: commit.0, term: hard_state.term }))
    }

    /// Does a step that changes the model. Acknowledged changes are in the model after it.
    fn step(&mut self, rng: &mut StdRng, model: &mut Model) -> Result<(), Unfinished> {
        match rng.random_range(0..10) {
            0 | 1 => self.take_snapshot(rng.random_range(self.base.index.0..=model.commit), model),
            2 => {
                let up_to = self.base.index.min(self.wal.reader().last_with_bytes_after(rng.random_range(0..3000)));
                self.wal.compactor().compact(up_to).map(drop).map_err(|_| None)
            }
            3 if rng.random_bool(0.3) => self.install_snapshot(rng, model),
            _ => {
                let mut after = model.clone();
                let mut batch = Vec::new();
                if rng.random_bool(0.1) {
                    after.term = after.term.next();
                    batch.push(Record::HardState(HardState { term: after.term, vote: None }));
                    if after.last() > after.commit {
                        batch.push(after.truncate(rng.random_range(after.commit + 1..=after.last())));
                    }
                }
                (0..rng.random_range(1..4)).for_each(|_| batch.push(after.append(rng)));
                batch.push(after.set_commit(rng.random_range(after.commit..=after.last())));
                let appended = self.wal.append(&batch).map_err(|_| Some(after.clone()))?;
                let _: Appended = appended;
                *model = after;
                Ok(())
            }
        }
    }

    fn write_snapshot(&self, last: LogBase, entries: &[Entry]) -> Result<SnapshotFile, StorageError> {
        let data = postcard::to_stdvec(&entries).unwrap();
        write(&self.disk, &meta(last), &data.chunks(500).collect::<Vec<_>>())
    }

    /// Takes a snapshot that ends with this entry, and removes the older one.
    fn take_snapshot(&mut self, index: u64, model: &Model) -> Result<(), Unfinished> {
        if index == self.base.index.0 {
            return Ok(());
        }
        let file = self.write_snapshot(model.entry_at(index), &model.entries[..index as usize]).map_err(|_| None)?;
        self.base = file.last();
        remove_older(&self.disk, &file).map_err(|_| None)
    }

    /// A leader of a later term sends a snapshot, which replaces everything that is not committed.
    fn install_snapshot(&mut self, rng: &mut StdRng, model: &mut Model) -> Result<(), Unfinished> {
        let hard_state = HardState { term: model.term.next(), vote: None };
        let mut later = model.clone();
        later.term = hard_state.term;
        let appended = self.wal.append(&[Record::HardState(hard_state)]).map_err(|_| Some(later.clone()))?;
        let _: Appended = appended;
        *model = later.clone();
        let _ = later.truncate(later.commit + 1);
        (0..rng.random_range(1..20)).for_each(|_| drop(later.append(rng)));
        later.commit = later.last();
        let last = later.entry_at(later.last());
        let file = self.write_snapshot(last, &later.entries).map_err(|_| Some(later.clone()))?;
        *model = later;
        self.base = last;
        let _: Appended = self.wal.reset_to(last, hard_state).map_err(|_| None)?;
        remove_older(&self.disk, &file).map_err(|_| None)
    }
}

#[test]
fn nothing_is_lost_wherever_the_power_is_cut() {
    let (mut snapshots, mut begins) = (0, 0);
    for seed in 0..300 {
        let (disk, mut rng) = (FaultyDisk::new(Seed(seed)), StdRng::seed_from_u64(seed));
        let (mut model, mut unfinished) = (Model::default(), None);
        for _ in 0..20 {
            if rng.random_bool(0.7) {
                disk.crash()
            } else {
                disk.kill()
            }
            if rng.random_bool(0.3) {
                disk.cut_power_after(rng.random_range(0..15));
            }
            let Some((mut process, found)) = Process::start(&disk) else { continue };
            disk.keep_power();
            if let Some(unfinished) = unfinished.take().filter(|_| !is_same(&found, &model)) {
                model = unfinished;
            }
            assert!(is_same(&found, &model), "{found:?}\n{model:?}");
            disk.cut_power_after(rng.random_range(0..120));
            for _ in 0..100 {
                if let Err(failed) = process.step(&mut rng, &mut model) {
                    unfinished = failed;
                    break;
                }
            }
            snapshots += usize::from(process.base != LogBase::NONE);
            begins += usize::from(process.wal.reader().first_index() > LogIndex(1));
        }
    }
    assert!(
        snapshots > 2000 && begins > 2000,
        "{snapshots} lives had a snapshot, {begins} a log without its beginning"
    );
}

/// Returns whether a start found everything that was acknowledged. Commit indexes are hints, but never beyond the
/// acknowledged one.
fn is_same(found: &Model, model: &Model) -> bool {
    found.entries == model.entries && found.term == model.term && found.commit <= model.commit
}
