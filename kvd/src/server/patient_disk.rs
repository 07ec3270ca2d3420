//! A disk that waits while the operating system lacks the resources to open a file.
//!
//! Too many open files in this process or on this machine, or no memory for another one, says nothing about the disk,
//! and passes. So the call is repeated until it succeeds, and the caller sees a slow disk instead of a failed one: a
//! leader whose log waits for long transfers leadership, as with any disk that hangs. All calls are made on threads
//! that may wait.
//!
//! A sync that fails for want of memory is a failure like any other: the bytes may be gone, so a successful repeat
//! proves nothing.

use crate::storage::{DirLock, Disk, File};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Shortest time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Returns true for an error that says nothing about the disk: too many files are open, or memory is short.
pub(super) fn is_for_want_of_resources(cause: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    lacks.iter().any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
}

/// A patient disk over another disk.
#[derive(Debug)]
pub(super) struct PatientDisk {
    disk: Arc<dyn Disk>,
    patience: Arc<Patience>,
}

impl PatientDisk {
    /// Creates a disk that waits while `disk` cannot be used for want of resources.
    pub(super) fn over(disk: Arc<dyn Disk>) -> Self {
        Self { disk, patience: Arc::default() }
    }

    fn wrap(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(PatientFile { file, patience: Arc::clone(&self.patience) })
    }
}

impl Disk for PatientDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.patience.insist("the data directory", || self.disk.list())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.patience.insist(name, || self.disk.open(name)).map(|file| self.wrap(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.patience.insist(name, || self.disk.create(name)).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.patience.insist(from, || self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.patience.insist(name, || self.disk.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn try_lock(&self, name: &str) -> io::Result<DirLock> {
        self.patience.insist(name, || self.disk.try_lock(name))
    }
}

#[derive(Debug)]
struct PatientFile {
    file: Box<dyn File>,
    patience: Arc<Patience>,
}

impl File for PatientFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.patience.insist("a file", || self.file.read_at(offset, buffer))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.patience.insist("a file", || self.file.write_at(offset, bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.patience.insist("a file", || self.file.size())
    }
}

/// Waits, and logs a warning now and then.
#[derive(Default)]
struct Patience {
    warned: Mutex<Option<Instant>>,
}

impl Patience {
    fn insist<T>(&self, what: &str, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt() {
                Err(cause) if is_for_want_of_resources(&cause) => {
                    self.warn(what, &cause);
                    thread::sleep(PAUSE);
                }
                ended => return ended,
            }
        }
    }

    fn warn(&self, what: &str, cause: &io::Error) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::warn!(
                "cannot use {what} at the moment: {cause}. This is not a disk failure and nothing is lost: kvd retries \
                 until it succeeds. Raise the limit on open files (LimitNOFILE= of systemd), or check what else uses \
                 the files or memory of this machine"
            );
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patience")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryDisk;
    use std::sync::atomic::{AtomicI32, Ordering};

    /// Fails a number of calls with an error, and then behaves like the disk below.
    #[derive(Debug)]
    struct Short {
        disk: MemoryDisk,
        errno: Errno,
        left: AtomicI32,
    }

    impl Short {
        fn of(errno: Errno, times: i32) -> Arc<Self> {
            Arc::new(Self { disk: MemoryDisk::new(), errno, left: AtomicI32::new(times) })
        }

        fn fails(&self) -> io::Result<()> {
            match self.left.fetch_sub(1, Ordering::Relaxed) {
                left if left > 0 => Err(io::Error::from_raw_os_error(self.errno.raw_os_error())),
                _ => Ok(()),
            }
        }
    }

    impl Disk for Short {
        fn list(&self) -> io::Result<Vec<String>> {
            self.fails().and_then(|()| self.disk.list())
        }
        fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
            self.fails().and_then(|()| self.disk.open(name))
        }
        fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
            self.fails().and_then(|()| self.disk.create(name))
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.fails().and_then(|()| self.disk.rename(from, to))
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.fails().and_then(|()| self.disk.remove(name))
        }
        fn sync_dir(&self) -> io::Result<()> {
            self.fails().and_then(|()| self.disk.sync_dir())
        }
        fn try_lock(&self, name: &str) -> io::Result<DirLock> {
            self.fails().and_then(|()| self.disk.try_lock(name))
        }
    }

    #[test]
    fn what_fails_for_want_of_files_or_memory_is_tried_until_it_goes_through() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            let short = Short::of(errno, 0);
            let disk = PatientDisk::over(Arc::clone(&short) as Arc<dyn Disk>);
            let calls: [&dyn Fn() -> io::Result<()>; 6] = [
                &|| disk.create("a").and_then(|file| file.write_all_at(0, b"x")),
                &|| disk.open("a").and_then(|file| file.size()).map(|size| assert_eq!(size, 1)),
                &|| disk.list().map(|names| assert_eq!(names, ["a"])),
                &|| disk.rename("a", "b"),
                &|| disk.try_lock("lock").map(drop),
                &|| disk.remove("b"),
            ];
            for call in calls {
                short.left.store(2, Ordering::Relaxed);
                call().expect("it goes through in the end");
                assert!(short.left.load(Ordering::Relaxed) < 0);
            }
            short.left.store(1, Ordering::Relaxed);
            assert!(disk.sync_dir().is_err(), "what was to be durable must be written again");
        }
    }

    #[test]
    fn a_disk_that_fails_fails() {
        let short = Short::of(Errno::IO, 1);
        let disk = PatientDisk::over(short);
        assert_eq!(disk.create("a").expect_err("it failed").raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert!(disk.create("a").is_ok());
    }
}
