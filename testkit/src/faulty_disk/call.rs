//! Disk calls, and the faults that tests plan for them.

use std::io;

/// The calls of a disk and its files, as counted and failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`Disk::list`](kvd_disk::Disk::list)
    List,
    /// [`Disk::open`](kvd_disk::Disk::open)
    Open,
    /// [`Disk::create`](kvd_disk::Disk::create)
    Create,
    /// [`Disk::rename`](kvd_disk::Disk::rename)
    Rename,
    /// [`Disk::remove`](kvd_disk::Disk::remove)
    Remove,
    /// [`Disk::sync_dir`](kvd_disk::Disk::sync_dir)
    SyncDir,
    /// [`File::read_at`](kvd_disk::File::read_at)
    Read,
    /// [`File::write_at`](kvd_disk::File::write_at)
    Write,
    /// [`File::sync`](kvd_disk::File::sync)
    Sync,
}

impl Call {
    /// Returns whether the call changes anything, so that a power cut before or after it makes a difference.
    pub(super) fn is_change(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Read)
    }
}

/// Kind of failure of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error (`EIO`). A write may have been done in part. A sync keeps any part of the data that
    /// it should make durable. The rest is lost at the next crash, even if it is synced again later, but can be read
    /// until then.
    Io,
    /// There is no space left (`ENOSPC`). A write may have been done in part.
    NoSpace,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        // By number, as the operating system would report them.
        io::Error::from_raw_os_error(match self {
            Self::Io => 5,
            Self::NoSpace => 28,
        })
    }
}
