//! The contract between storage and the disk below it.

use std::any::Any;
use std::fmt;
use std::io;

/// A directory of files, without subdirectories. All errors are those of the operating system.
///
/// After a crash:
/// - Bytes are durable once [`File::sync`] has returned `Ok` after they were written. Until then a crash
///   may keep any subset of the 512-byte sectors written, in any order; one sector is kept as a whole
///   or not at all.
/// - A name is durable once [`Disk::sync_dir`] has returned `Ok` after it was created, renamed or removed.
///   Until then a crash may keep or undo each such change; a rename is undone as a whole or not at all.
///   Syncing a file does not make its name durable, nor syncing the directory its bytes.
/// - After [`File::sync`] has failed, the fate of everything written since the previous sync is unknown, and a later
///   sync that succeeds proves nothing: the operating system may have dropped the bytes, though they can still be read.
///   Bytes that must be durable have to be written again. Names are different: a file system that cannot write its
///   directories stops altogether, so after a later [`Disk::sync_dir`] that succeeds they are durable.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Returns the names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file. [`io::ErrorKind::NotFound`] if there is no file of that name.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Creates an empty file. [`io::ErrorKind::AlreadyExists`] if there is a file of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Renames a file. Replaces the file that had the new name, if any.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. The bytes are freed once the last open handle is closed.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all present names durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the directory's lock through the file `name`, which is created if missing and stays.
    /// [`io::ErrorKind::WouldBlock`] if this or another process holds it. The end of a process frees it.
    fn try_lock(&self, name: &str) -> io::Result<DirLock>;
}

/// An open file, read and written at positions, so that handles can be shared between threads.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads from `offset` on. Returns how many bytes it read, at least one unless the file ends there.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes a prefix of `bytes` at `offset` and returns its length; see [`File::write_all_at`]. Grows the file as
    /// needed; a gap reads as zeros.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes everything written so far durable, with the file's length but not its times (`fdatasync`).
    fn sync(&self) -> io::Result<()>;

    /// Returns the length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, as far as the file goes. Returns how many bytes it read.
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

/// Holds the lock on a directory until dropped.
#[derive(Debug)]
pub struct DirLock {
    _held: Box<dyn Any + Send + Sync>,
}

impl DirLock {
    /// Creates a lock that lasts until `held` is dropped.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}
