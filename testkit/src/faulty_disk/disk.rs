//! The disk: the interface for tests and the implementation for storage.

use super::call::{Call, Fault};
use super::contents::Contents;
use super::names::{FileId, NameChange};
use super::state::{Fate, Planned, State};
use kvd_disk::{DirLock, Disk, File};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

/// Determines all random choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

/// A directory in memory that keeps exactly the [`Disk`] contract and no more. Clones share it.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// Returns an empty directory that never fails until told to.
    pub fn new(seed: Seed) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(StdRng::seed_from_u64(seed.0)))) }
    }

    /// Cuts the power and restores it: any part of the unsynced data is lost. All handles and the lock become invalid,
    /// and planned failures are dropped.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// Kills the process that uses the disk, while the operating system keeps running: all handles and the lock become
    /// invalid, and everything that was written can still be read, synced or not.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Cuts the power during a future call: the next call that changes anything for zero, the one after for one, and so
    /// on. That call may take effect; it and all later calls fail, until [`FaultyDisk::crash`].
    pub fn cut_power_after(&self, changes: u64) {
        self.state().changes_left = Some(changes);
    }

    /// Cancels a power cut that has not happened yet.
    pub fn keep_power(&self) {
        self.state().changes_left = None;
    }

    /// Returns whether there is power: false after a power cut.
    pub fn has_power(&self) -> bool {
        self.state().powered
    }

    /// Makes a future call of this kind fail: the next for zero, the one after for one, and so on.
    pub fn fail_after(&self, call: Call, calls: u64, fault: Fault) {
        self.state().planned.push(Planned { call, calls_before: calls, fault });
    }

    /// Cancels all planned failures.
    pub fn forget_planned_faults(&self) {
        self.state().planned.clear();
    }

    /// Sets whether writes are often shorter than requested, or interrupted, from now on.
    pub fn set_short_writes(&self, short: bool) {
        self.state().short_writes = short;
    }

    /// Limits the total length of all files; writes beyond it are short, or fail with `ENOSPC`.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// Returns the number of planned failures that have happened.
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Returns the number of writes that failed because the capacity was used up.
    pub fn refusals_for_space(&self) -> u64 {
        self.state().refusals_for_space
    }

    /// Returns how often a call was made, successful or not.
    pub fn count(&self, call: Call) -> u64 {
        self.state().counts.get(&call).copied().unwrap_or(0)
    }

    /// Returns the number of calls that change something: the points at which the power can be cut.
    pub fn changes(&self) -> u64 {
        self.state().counts.iter().filter(|(call, _)| call.is_change()).map(|(_, count)| count).sum()
    }

    /// Returns the bytes of a file as a process sees them; `None` if there is no such file.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|file| state.files[file].live.clone())
    }

    /// Creates a file or replaces its bytes, durably, without a call that counts or fails.
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

    /// Deletes a file durably, without a call that counts or fails.
    pub fn lose(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Flips one bit of a file, both on disk and in memory.
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

    /// Copies bytes of one file over those of another, or over others of the same file, both on disk and in memory: as
    /// if a write had gone to the wrong place.
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
        kvd_disk::write_at(&mut contents.live, to_offset, &bytes);
        kvd_disk::write_at(&mut contents.durable, to_offset, &bytes);
    }

    /// Returns the positions of bytes that were written long ago, by sectors: all durable bytes of each file except
    /// those written by the last sync or since; and all bytes of a file that was synced once.
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
    /// Returns the disk, unless the process that opened this handle is dead.
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
            Fate::Succeeds | Fate::PowerCut => Ok(kvd_disk::read_at(&state.files[&self.file].live, offset, buffer)),
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
