//! State of a faulty disk, and the fate of each call.

use super::call::{Call, Fault};
use super::contents::Contents;
use super::names::{FileId, NameChange};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Weak;

/// The directory, its files, and the faults planned for them.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: StdRng,
    /// Increases when the process that uses the disk dies; older handles are then invalid.
    pub(super) life: u64,
    pub(super) names: BTreeMap<String, FileId>,
    pub(super) durable_names: BTreeMap<String, FileId>,
    /// Changes to names since the directory was last synced, in order.
    pub(super) unsynced_names: Vec<NameChange>,
    pub(super) files: BTreeMap<FileId, Contents>,
    pub(super) files_created: u64,
    pub(super) lock: Weak<()>,
    pub(super) counts: BTreeMap<Call, u64>,
    pub(super) planned: Vec<Planned>,
    /// True while there is power; without it every call fails and has no effect.
    pub(super) powered: bool,
    /// Changing calls that are still made before the call during which the power is cut.
    pub(super) changes_left: Option<u64>,
    pub(super) short_writes: bool,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) failures: u64,
    pub(super) refusals_for_space: u64,
}

/// A call that will fail.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) call: Call,
    pub(super) calls_before: u64,
    pub(super) fault: Fault,
}

/// Fate of a call.
pub(super) enum Fate {
    Succeeds,
    Fails(io::Error),
    /// The power is cut during the call: it may still take effect, and gets no answer.
    PowerCut,
}

impl State {
    /// Returns an empty directory.
    pub(super) fn new(rng: StdRng) -> Self {
        Self {
            rng,
            life: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            files: BTreeMap::new(),
            files_created: 0,
            lock: Weak::new(),
            counts: BTreeMap::new(),
            planned: Vec::new(),
            powered: true,
            changes_left: None,
            short_writes: false,
            capacity_bytes: None,
            failures: 0,
            refusals_for_space: 0,
        }
    }

    /// Counts a call and decides its fate.
    pub(super) fn fate(&mut self, call: Call) -> io::Result<Fate> {
        if !self.powered {
            return Err(no_power());
        }
        *self.counts.entry(call).or_default() += 1;
        match &mut self.changes_left {
            Some(0) if call.is_change() => {
                self.powered = false;
                return Ok(Fate::PowerCut);
            }
            Some(left) if call.is_change() => *left -= 1,
            _ => {}
        }
        let due = self.planned.iter().position(|planned| planned.call == call && planned.calls_before == 0);
        for planned in self.planned.iter_mut().filter(|planned| planned.call == call) {
            planned.calls_before = planned.calls_before.saturating_sub(1);
        }
        self.failures += u64::from(due.is_some());
        Ok(match due {
            Some(due) => Fate::Fails(self.planned.remove(due).fault.error()),
            None => Fate::Succeeds,
        })
    }

    /// Decides the fate of a call that changes a name, and makes the change if it takes effect.
    pub(super) fn change_names(&mut self, call: Call, change: NameChange) -> io::Result<()> {
        let (takes_effect, answer) = match self.fate(call)? {
            Fate::Succeeds => (true, Ok(())),
            Fate::Fails(error) => (false, Err(error)),
            Fate::PowerCut => (self.rng.random_bool(0.5), Err(no_power())),
        };
        if takes_effect {
            change.apply(&mut self.names);
            self.unsynced_names.push(change);
        }
        answer
    }

    pub(super) fn add_file(&mut self) -> FileId {
        self.files_created += 1;
        self.files.insert(self.files_created, Contents::default());
        self.files_created
    }

    pub(super) fn find(&self, name: &str) -> io::Result<FileId> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn contents_mut(&mut self, file: FileId) -> &mut Contents {
        self.files.get_mut(&file).expect("files go only when every handle to them is dead")
    }

    /// Returns how many of `wanted` bytes at `offset` fit into the capacity.
    fn room(&self, file: FileId, offset: u64, wanted: usize) -> usize {
        let Some(capacity) = self.capacity_bytes else { return wanted };
        let named: BTreeSet<FileId> = self.names.values().copied().collect();
        let used: u64 = named.iter().map(|file| self.files[file].live.len() as u64).sum();
        let end_max = self.files[&file].live.len() as u64 + capacity.saturating_sub(used);
        wanted.min(end_max.saturating_sub(offset) as usize)
    }

    /// Draws the length of a prefix of the work, all and nothing included.
    fn some_of(&mut self, all: usize) -> usize {
        self.rng.random_range(0..=all)
    }

    pub(super) fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room(file, offset, bytes.len());
        let (length, answer) = match self.fate(Call::Write)? {
            Fate::Fails(error) => (self.some_of(room), Err(error)),
            Fate::PowerCut => (self.some_of(room), Err(no_power())),
            Fate::Succeeds if room == 0 && !bytes.is_empty() => {
                self.refusals_for_space += 1;
                (0, Err(Fault::NoSpace.error()))
            }
            Fate::Succeeds if self.short_writes => match self.some_of(room) {
                0 if !bytes.is_empty() => (0, Err(io::ErrorKind::Interrupted.into())),
                length => (length, Ok(length)),
            },
            Fate::Succeeds => (room, Ok(room)),
        };
        self.contents_mut(file).write(offset, &bytes[..length]);
        answer
    }

    pub(super) fn sync(&mut self, file: FileId) -> io::Result<()> {
        match self.fate(Call::Sync)? {
            Fate::Succeeds => {
                self.contents_mut(file).sync();
                Ok(())
            }
            Fate::Fails(error) => {
                let contents = self.files.get_mut(&file).expect("files go only when every handle to them is dead");
                contents.sync_in_part(&mut self.rng);
                Err(error)
            }
            // The part that had reached the disk is drawn with the rest, at the crash.
            Fate::PowerCut => Err(no_power()),
        }
    }

    pub(super) fn sync_dir(&mut self) -> io::Result<()> {
        match self.fate(Call::SyncDir)? {
            Fate::Succeeds => {
                for change in self.unsynced_names.drain(..) {
                    change.apply(&mut self.durable_names);
                }
                Ok(())
            }
            Fate::Fails(error) => {
                self.sync_names_in_part();
                Err(error)
            }
            Fate::PowerCut => Err(no_power()),
        }
    }

    /// Makes some changes of names durable: in half of all cases the first few, as a file system with a journal would,
    /// otherwise any. The rest wait for the next sync.
    fn sync_names_in_part(&mut self) {
        let changes = std::mem::take(&mut self.unsynced_names);
        let first = if self.rng.random_bool(0.5) { Some(self.some_of(changes.len())) } else { None };
        for (position, change) in changes.into_iter().enumerate() {
            if first.map_or_else(|| self.rng.random_bool(0.5), |first| position < first) {
                change.apply(&mut self.durable_names);
            } else {
                self.unsynced_names.push(change);
            }
        }
    }

    pub(super) fn kill(&mut self) {
        self.life += 1;
        self.lock = Weak::new();
        self.planned.clear();
        self.powered = true;
        self.changes_left = None;
    }

    pub(super) fn crash(&mut self) {
        self.kill();
        self.sync_names_in_part();
        self.unsynced_names.clear();
        self.names.clone_from(&self.durable_names);
        let named: BTreeSet<FileId> = self.names.values().copied().collect();
        self.files.retain(|file, _| named.contains(file));
        for contents in self.files.values_mut() {
            contents.sync_in_part(&mut self.rng);
            contents.live.clone_from(&contents.durable);
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is cut")
}
