//! The few operations on files that storage is built of, so that they can fail on purpose.
//!
//! [`Disk`] is one flat directory, [`File`] one file in it. Three implementations keep the same
//! contract: [`RealDisk`](super::RealDisk), [`MemoryDisk`](super::MemoryDisk) and
//! [`FaultyDisk`](super::FaultyDisk), on which power cuts, torn writes and full disks are tried out.
//!
//! What a crash leaves behind:
//! - Bytes are durable once [`File::sync`] has returned `Ok` after they were written. Until then a crash
//!   may keep any subset of the 512-byte sectors written, in any order; one sector is kept as a whole
//!   or not at all.
//! - A name is durable once [`Disk::sync_dir`] has returned `Ok` after it was created, renamed or removed.
//!   Until then a crash may keep or undo each such change; a rename is undone as a whole or not at all.
//!   Syncing a file does not make its name durable, nor syncing the directory its bytes.
//! - After [`File::sync`] has failed, nothing is known of what was written since the one before, and a second
//!   one that succeeds proves nothing: the operating system may have dropped the bytes, though they can still be
//!   read. What is to be durable must be written again. Names are different: a file system that cannot write its
//!   directories stops altogether, so after a later [`Disk::sync_dir`] that succeeds they are durable.

use super::error::StorageError;
use std::any::Any;
use std::fmt;
use std::io;

/// A directory of files, without subdirectories. All errors are those of the operating system.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file. [`io::ErrorKind::NotFound`] if there is none of that name.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Creates an empty file. [`io::ErrorKind::AlreadyExists`] if there is one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, in place of the file that had it, if any.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; the bytes go once the last open handle is closed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable as they are now.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the directory's lock through the file `name`, which is created if missing and stays.
    /// [`io::ErrorKind::WouldBlock`] if it is held, by this process or another. The end of a process frees it.
    fn try_lock(&self, name: &str) -> io::Result<DirLock>;
}

/// An open file, read and written at positions, so that handles can be shared between threads.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads from `offset` on; how many bytes, at least one unless the file ends there.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some first part of `bytes` at `offset` and returns its length; see [`File::write_all_at`].
    /// Grows the file as needed; a gap reads as zeros.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes everything written so far durable, with the file's length but not its times (`fdatasync`).
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, as far as the file goes; how many bytes.
    fn read_full_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(offset + filled as u64, &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Writes all of `bytes` at `offset`. A crash may lose or tear them until [`File::sync`] has returned
    /// `Ok`; after an error any part of them may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_at(offset + written as u64, &bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Holds the lock on a directory for as long as it lives.
#[derive(Debug)]
pub struct DirLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl DirLock {
    /// A lock that lasts until `held` is dropped.
    pub(super) fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Name of the file by which a daemon holds its data directory.
pub(super) const LOCK_FILE: &str = "lock";

/// Takes the data directory for this daemon alone. Do this before anything else with it.
///
/// # Errors
/// [`StorageError::Locked`] if another daemon has it, [`StorageError::NotWritable`] if this user may not write there.
pub fn lock_data_dir(disk: &dyn Disk) -> Result<DirLock, StorageError> {
    disk.try_lock(LOCK_FILE).map_err(|cause| match cause.kind() {
        io::ErrorKind::WouldBlock => StorageError::Locked,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StorageError::NotWritable(cause),
        _ => StorageError::io("lock", LOCK_FILE)(cause),
    })
}

/// Reads a whole file; `None` if there is none of that name.
pub(super) fn read_file(disk: &dyn Disk, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, StorageError> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(StorageError::io("open", name)(cause)),
    };
    let size = file.size().map_err(StorageError::io("read", name))?;
    if size > bytes_max {
        let cause = format!("it has {size} bytes, more than the {bytes_max} it can have");
        return Err(StorageError::corrupt(name, bytes_max, cause));
    }
    let mut bytes = vec![0; size as usize];
    let read = file.read_full_at(0, &mut bytes).map_err(StorageError::io("read", name))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a whole file, or creates it: a crash leaves the old bytes or the new ones, nothing in between.
pub(super) fn replace_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = format!("{name}.tmp");
    let file = create_fresh(disk, &temporary)?;
    file.write_all_at(0, bytes).map_err(StorageError::io("write", &temporary))?;
    // The bytes must be durable before the name points at them, or a crash could leave an empty file.
    file.sync().map_err(StorageError::io("sync", &temporary))?;
    disk.rename(&temporary, name).map_err(StorageError::io("rename", &temporary))?;
    disk.sync_dir().map_err(StorageError::io("sync the directory of", name))
}

/// Creates a file in place of whatever an earlier attempt has left under its name.
pub(super) fn create_fresh(disk: &dyn Disk, name: &str) -> Result<Box<dyn File>, StorageError> {
    remove_if_present(disk, name)?;
    disk.create(name).map_err(StorageError::io("create", name))
}

/// Removes a file that may be there.
pub(super) fn remove_if_present(disk: &dyn Disk, name: &str) -> Result<(), StorageError> {
    match disk.remove(name) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", name)(cause)),
        _ => Ok(()),
    }
}
