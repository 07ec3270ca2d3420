//! [`Disk`] that misbehaves on purpose, for tests and simulations: power cuts, torn writes, full disks,
//! failing calls, flipped bits. From one seed it does the same every time.
//!
//! What a process sees (*live*) and what a crash leaves (*durable*) are kept apart, for each sector of 512
//! bytes and for each name. [`File::sync`] and [`Disk::sync_dir`] move the one into the other;
//! [`FaultyDisk::crash`] draws, for everything in between, whether it had reached the disk.

use super::disk::{DirLock, Disk, File};
use super::memory::{read_slice, write_slice};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// The unit that reaches the disk as a whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// Decides all that is left to chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// The calls of a disk and its files, as counted and failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Disk::list`]
    List,
    /// [`Disk::open`]
    Open,
    /// [`Disk::create`]
    Create,
    /// [`Disk::rename`]
    Rename,
    /// [`Disk::remove`]
    Remove,
    /// [`Disk::sync_dir`]
    SyncDir,
    /// [`File::read_at`]
    Read,
    /// [`File::write_at`]
    Write,
    /// [`File::sync`]
    Sync,
}

impl Call {
    /// Whether the call changes anything, so that a power cut before or after it makes a difference.
    fn is_change(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Read)
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error (`EIO`). A write may have been done in part. A sync keeps any part of what
    /// it was to keep; the rest is lost at the next crash, whatever is synced later, though it can be read till then.
    Io,
    /// There is no space left (`ENOSPC`). A write may have been done in part.
    NoSpace,
}

impl Fault {
    fn error(self) -> io::Error {
        // By number, as the operating system would report them.
        io::Error::from_raw_os_error(match self {
            Self::Io => 5,
            Self::NoSpace => 28,
        })
    }
}

/// A directory in memory that keeps the letter of the [`Disk`] contract and no more. Clones share it.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

type FileId = u64;

#[derive(Debug)]
struct State {
    rng: StdRng,
    /// Grows when the process that uses the disk dies; older handles are dead.
    life: u64,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    /// What happened to names since the directory was last synced, in order.
    unsynced_names: Vec<NameChange>,
    files: BTreeMap<FileId, Contents>,
    files_created: u64,
    lock: Weak<()>,
    counts: BTreeMap<Call, u64>,
    planned: Vec<Planned>,
    /// Whether there is power; without it every call fails and has no effect.
    powered: bool,
    /// How many more changing calls are made before the power goes during the one after.
    changes_left: Option<u64>,
    short_writes: bool,
    capacity_bytes: Option<u64>,
    failures: u64,
    refusals_for_space: u64,
}

#[derive(Debug)]
enum NameChange {
    Create { name: String, file: FileId },
    Rename { from: String, to: String, file: FileId },
    Remove { name: String, file: FileId },
}

#[derive(Debug)]
struct Planned {
    call: Call,
    calls_before: u64,
    fault: Fault,
}

/// What becomes of a call.
enum Fate {
    Succeeds,
    Fails(io::Error),
    /// The power goes while it is under way: it may still have its effect, and gets no answer.
    PowerCut,
}

impl FaultyDisk {
    /// An empty directory that fails in no way until told to.
    pub fn new(seed: Seed) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed.0),
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
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts the power and restores it: of what was not synced, any part is lost. All handles and the lock are
    /// gone, and with them the planned failures.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// Kills the process that uses the disk, while the operating system lives on: all handles and the lock are
    /// gone, and everything that was written can still be read, synced or not.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Cuts the power during a coming call: the next that changes anything for zero, the one after for one, and
    /// so on. That call may take effect; it and all later ones fail, until [`FaultyDisk::crash`].
    pub fn cut_power_after(&self, changes: u64) {
        self.state().changes_left = Some(changes);
    }

    /// Takes back a power cut that has not come yet.
    pub fn keep_power(&self) {
        self.state().changes_left = None;
    }

    /// Whether there is power: not after a cut that has come.
    pub fn has_power(&self) -> bool {
        self.state().powered
    }

    /// Makes a coming call of this kind fail: the next for zero, the one after for one, and so on.
    pub fn fail_after(&self, call: Call, calls: u64, fault: Fault) {
        self.state().planned.push(Planned { call, calls_before: calls, fault });
    }

    /// Lets no coming call fail, whatever was planned.
    pub fn forget_planned_faults(&self) {
        self.state().planned.clear();
    }

    /// Whether writes are often shorter than asked for, or interrupted, from now on.
    pub fn set_short_writes(&self, short: bool) {
        self.state().short_writes = short;
    }

    /// Limits the length of all files together; writes beyond it are short, or fail with `ENOSPC`.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// How many calls have failed that were planned to.
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// How many writes have failed because the capacity was used up.
    pub fn refusals_for_space(&self) -> u64 {
        self.state().refusals_for_space
    }

    /// How often a call was made, successful or not.
    pub fn count(&self, call: Call) -> u64 {
        self.state().counts.get(&call).copied().unwrap_or(0)
    }

    /// How often any call was made that changes something: the points at which the power can be cut.
    pub fn changes(&self) -> u64 {
        self.state().counts.iter().filter(|(call, _)| call.is_change()).map(|(_, count)| count).sum()
    }

    /// The bytes of a file as a process sees them; `None` if there is no such file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|file| state.files[file].live.clone())
    }

    /// Puts a file there, or other bytes into it, durably and behind everyone's back.
    pub fn set_contents(&self, name: &str, bytes: &[u8]) {
        let state = &mut *self.state();
        let file = match state.names.get(name) {
            Some(file) => *file,
            None => {
                let file = state.add_file();
                state.names.insert(name.to_owned(), file);
                file
            }
        };
        state.durable_names.insert(name.to_owned(), file);
        state.files.insert(file, Contents::durable(bytes.to_vec()));
    }

    /// Takes a file away, durably and behind everyone's back.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Flips one bit of a file, on disk as in memory.
    ///
    /// # Panics
    /// If there is no such file or it ends before `offset`.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        let state = &mut *self.state();
        let file = state.names.get(name).unwrap_or_else(|| panic!("no file {name}"));
        let contents = state.files.get_mut(file).expect("a name points at a file");
        let offset = usize::try_from(offset).expect("a file in memory fits into memory");
        contents.live[offset] ^= 1 << bit;
        if let Some(byte) = contents.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    /// Copies bytes of one file over those of another, or over others of the same, on disk as in memory: as if a write
    /// had gone to the wrong place.
    ///
    /// # Panics
    /// If there is no such file, or it is shorter.
    pub fn stray_write(&self, (from, from_offset): (&str, u64), (to, to_offset): (&str, u64), length: usize) {
        let state = &mut *self.state();
        let file = |name: &str| *state.names.get(name).unwrap_or_else(|| panic!("no file {name}"));
        let (from, to) = (file(from), file(to));
        let start = usize::try_from(from_offset).expect("a file in memory fits into memory");
        let bytes = state.files[&from].live[start..start + length].to_vec();
        let contents = state.files.get_mut(&to).expect("a name points at a file");
        write_slice(&mut contents.live, to_offset, &bytes);
        write_slice(&mut contents.durable, to_offset, &bytes);
    }

    /// Where bytes lie that were written long ago, by sectors: all durable ones of each file but those that were
    /// written last, or since; and all of a file that was written once.
    pub fn old_bytes(&self) -> Vec<(String, Range<u64>)> {
        let state = self.state();
        let ranges = |(name, file): (&String, &FileId)| {
            let old = state.files[file].old_bytes();
            old.map(|range| (name.clone(), range)).collect::<Vec<_>>()
        };
        let is_durable = |(name, file): &(&String, &FileId)| state.durable_names.get(*name) == Some(file);
        state.names.iter().filter(is_durable).flat_map(ranges).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the faulty disk")
    }

    fn handle(&self, state: &State, file: FileId) -> Box<dyn File> {
        Box::new(FaultyFile { disk: self.clone(), file, life: state.life })
    }
}

impl State {
    /// Counts a call and decides what becomes of it.
    fn fate(&mut self, call: Call) -> io::Result<Fate> {
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

    /// Decides a call that changes a name, and makes the change where it takes effect.
    fn change_names(&mut self, call: Call, change: NameChange) -> io::Result<()> {
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

    fn add_file(&mut self) -> FileId {
        self.files_created += 1;
        self.files.insert(self.files_created, Contents::default());
        self.files_created
    }

    fn find(&self, name: &str) -> io::Result<FileId> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn contents_mut(&mut self, file: FileId) -> &mut Contents {
        self.files.get_mut(&file).expect("files go only when every handle to them is dead")
    }

    /// How many of `wanted` bytes at `offset` the capacity lets in.
    fn room(&self, file: FileId, offset: u64, wanted: usize) -> usize {
        let Some(capacity) = self.capacity_bytes else { return wanted };
        let named: BTreeSet<FileId> = self.names.values().copied().collect();
        let used: u64 = named.iter().map(|file| self.files[file].live.len() as u64).sum();
        let end_max = self.files[&file].live.len() as u64 + capacity.saturating_sub(used);
        wanted.min(end_max.saturating_sub(offset) as usize)
    }

    /// Some first part of what was to be done, all and nothing included.
    fn some_of(&mut self, all: usize) -> usize {
        self.rng.random_range(0..=all)
    }

    fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> io::Result<usize> {
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

    fn sync(&mut self, file: FileId) -> io::Result<()> {
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
            // What had reached the disk is drawn with the rest, when it crashes.
            Fate::PowerCut => Err(no_power()),
        }
    }

    fn sync_dir(&mut self) -> io::Result<()> {
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

    /// Makes some changes of names durable: in half of all cases the first few, as a file system with a journal
    /// would, else any. The others wait for the next sync.
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

    fn kill(&mut self) {
        self.life += 1;
        self.lock = Weak::new();
        self.planned.clear();
        self.powered = true;
        self.changes_left = None;
    }

    fn crash(&mut self) {
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

impl NameChange {
    /// Makes the change. It names the file it meant, since of two changes the earlier one may be lost.
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Remove { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
        }
    }
}

/// The bytes of one file.
#[derive(Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    unsynced: BTreeSet<usize>,
    /// How often the file was synced with something to write.
    syncs: u32,
    /// Where bytes were written since the last sync, and before it since the one before: first and end.
    written: Range<usize>,
    synced_last: Range<usize>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { live, durable, unsynced, .. } = self;
        write!(f, "{} bytes live, {} durable, {} sectors unsynced", live.len(), durable.len(), unsynced.len())
    }
}

impl Contents {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), live: bytes, ..Self::default() }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end_before = self.live.len();
        write_slice(&mut self.live, offset, bytes);
        let start = (offset as usize).min(end_before); // a gap becomes zeros, and those are written too
        let end = offset as usize + bytes.len();
        self.unsynced.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        self.written =
            if self.written.is_empty() { start..end } else { self.written.start.min(start)..self.written.end.max(end) };
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        let unsynced = std::mem::take(&mut self.unsynced);
        if !unsynced.is_empty() {
            self.syncs += 1;
            self.synced_last = std::mem::take(&mut self.written);
        }
        for sector in unsynced {
            self.keep(sector);
        }
    }

    /// The durable bytes, sector by sector, that neither the last sync wrote nor anyone since; all if there was but one.
    fn old_bytes(&self) -> impl Iterator<Item = Range<u64>> {
        let last = if self.syncs == 1 { 0..0 } else { self.synced_last.clone() };
        let new = [last, self.written.clone()];
        let sectors = (0..self.durable.len()).step_by(SECTOR_BYTES);
        let sectors = sectors.map(|start| start..(start + SECTOR_BYTES).min(self.durable.len()));
        sectors.flat_map(move |sector| {
            let mut old = vec![sector];
            for new in new.iter().filter(|new| !new.is_empty()) {
                old = old.iter().flat_map(|range| without(range, new)).collect();
            }
            old.into_iter().map(|range| range.start as u64..range.end as u64)
        })
    }

    /// Makes any part of what was not synced durable and forgets that the rest was to be.
    fn sync_in_part(&mut self, rng: &mut StdRng) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if unsynced.is_empty() {
            return;
        }
        // All or nothing as often as a mixture, since each finds other mistakes.
        let kept: f64 = [0.0, 1.0, 0.5, 0.9][rng.random_range(0..4)];
        let length = match rng.random_range(0..3) {
            0 => self.durable.len(),
            1 => self.live.len(),
            _ => rng.random_range(self.durable.len()..=self.live.len()),
        };
        self.durable.resize(length, 0);
        for sector in unsynced {
            if rng.random_bool(kept) {
                self.keep(sector);
            }
        }
    }

    /// Copies a sector to what is durable, as far as the durable length goes.
    fn keep(&mut self, sector: usize) {
        let start = (sector * SECTOR_BYTES).min(self.durable.len());
        let range: Range<usize> = start..(start + SECTOR_BYTES).min(self.durable.len());
        self.durable[range.clone()].copy_from_slice(&self.live[range]);
    }
}

/// What is left of `range` before and after `hole`.
fn without(range: &Range<usize>, hole: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let before = range.start..range.end.min(hole.start);
    let after = range.start.max(hole.end)..range.end;
    [before, after].into_iter().filter(|left| left.start < left.end)
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        match state.fate(Call::List)? {
            Fate::Fails(error) => Err(error),
            Fate::Succeeds | Fate::PowerCut => Ok(state.names.keys().cloned().collect()),
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        match state.fate(Call::Open)? {
            Fate::Fails(error) => Err(error),
            Fate::Succeeds | Fate::PowerCut => {
                let file = state.find(name)?;
                Ok(self.handle(&state, file))
            }
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.add_file();
        state.change_names(Call::Create, NameChange::Create { name: name.to_owned(), file })?;
        Ok(self.handle(&state, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(from)?;
        state.change_names(Call::Rename, NameChange::Rename { from: from.to_owned(), to: to.to_owned(), file })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(name)?;
        state.change_names(Call::Remove, NameChange::Remove { name: name.to_owned(), file })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.state().sync_dir()
    }

    fn try_lock(&self, _name: &str) -> io::Result<DirLock> {
        let mut state = self.state();
        if state.lock.upgrade().is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let held = Arc::new(());
        state.lock = Arc::downgrade(&held);
        Ok(DirLock::new(held))
    }
}

/// A handle of one process.
#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: FileId,
    life: u64,
}

impl FaultyFile {
    /// The disk, unless the process that opened this handle is dead.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the handle died with its process")) }
    }
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.alive()?;
        match state.fate(Call::Read)? {
            Fate::Fails(error) => Err(error),
            Fate::Succeeds | Fate::PowerCut => Ok(read_slice(&state.files[&self.file].live, offset, buffer)),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.alive()?.write(self.file, offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.alive()?.sync(self.file)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.alive()?.files[&self.file].live.len() as u64)
    }
}
