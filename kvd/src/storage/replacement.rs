//! Replaces all that is in a data directory by something else, as one step: a crash at any moment leaves the one or the other,
//! once the next start has completed what was begun.
//!
//! What is to come is written beside what is there, under names of its own ([`stage`]). Then a mark is written, which is the
//! moment at which the replacement is decided; what is there is put aside, the mark says so, and what is to come gets its names.
//! Each of these steps may be done again, so whoever finds the mark goes on from there.

use super::disk::{DirLock, Disk, File, LOCK_FILE, read_file, remove_if_present, replace_file};
use super::error::StorageError;
use std::io;
use std::sync::Arc;

/// What the names of files begin with that are to come.
const STAGED: &str = "staged-";

/// What the names of files begin with that were put aside, before the name that the replacement was given.
const ASIDE: &str = "before-";

/// Name of the mark.
const MARK: &str = "replacement";
const MARK_BYTES_MAX: u64 = 1024;

/// How far a replacement is, as the mark says; with the version of its format.
const PUT_ASIDE: &str = "kvd-replacement 1: put aside ";
const TAKE_OVER: &str = "kvd-replacement 1: take over ";

/// A directory within a directory, by the names of its files: for what is to come.
#[derive(Clone, Debug)]
struct StagedDisk(Arc<dyn Disk>);

impl StagedDisk {
    fn name(name: &str) -> String {
        format!("{STAGED}{name}")
    }
}

impl Disk for StagedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let all = self.0.list()?.into_iter();
        Ok(all.filter_map(|name| name.strip_prefix(STAGED).map(str::to_owned)).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.0.open(&Self::name(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.0.create(&Self::name(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(&Self::name(from), &Self::name(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(&Self::name(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }

    fn try_lock(&self, name: &str) -> io::Result<DirLock> {
        self.0.try_lock(&Self::name(name))
    }
}

/// Where to write what is to come in place of all that is in `disk`. What an earlier attempt has left there is gone.
///
/// # Errors
/// [`StorageError::Io`]
pub fn stage(disk: &Arc<dyn Disk>) -> Result<Arc<dyn Disk>, StorageError> {
    let staged = StagedDisk(Arc::clone(disk));
    for name in list(&staged)? {
        remove_if_present(&staged, &name)?;
    }
    Ok(Arc::new(staged))
}

/// Whether something was staged in `disk`, for a replacement that was never decided.
///
/// # Errors
/// [`StorageError::Io`].
pub fn has_staged(disk: &dyn Disk) -> Result<bool, StorageError> {
    Ok(list(disk)?.iter().any(|name| name.starts_with(STAGED)))
}

/// Whether a file is of those that a node keeps.
fn is_of_a_node(name: &str) -> bool {
    ["identity.json", "wal-", "snapshot-"].iter().any(|beginning| name.starts_with(beginning))
}

/// Names of the files in `disk` that belong to somebody: neither the lock, nor what [`stage`] throws away, nor what was put
/// aside.
///
/// # Errors
/// [`StorageError::Io`].
pub fn files_in_use(disk: &dyn Disk) -> Result<Vec<String>, StorageError> {
    let is_in_use = |name: &String| {
        let is_other = name == LOCK_FILE || name == MARK || *name == format!("{MARK}.tmp");
        !is_other && !name.starts_with(STAGED) && !name.starts_with(ASIDE)
    };
    Ok(list(disk)?.into_iter().filter(is_in_use).collect())
}

/// Puts what was staged, all of it durable, in place of all that is in `disk`. What is there goes on to be there under names
/// that begin with `before-NAME-`; `name` must not have been given to another replacement.
///
/// # Errors
/// [`StorageError::Io`]; the replacement has then been decided or not, and [`complete_replacement`] goes on with it.
pub fn replace_all(disk: &dyn Disk, name: &str) -> Result<(), StorageError> {
    replace_file(disk, MARK, format!("{PUT_ASIDE}{name}").as_bytes())?;
    complete_replacement(disk)
}

/// Completes a replacement that was decided and interrupted, if there is one. To be called before anything else is done
/// with what is in `disk`.
///
/// # Errors
/// [`StorageError::Io`], and [`StorageError::Corrupt`] if the mark is damaged.
pub fn complete_replacement(disk: &dyn Disk) -> Result<(), StorageError> {
    let Some(mark) = read_file(disk, MARK, MARK_BYTES_MAX)? else { return Ok(()) };
    // The process that wrote it may have been killed before its name was durable: what follows from it must not outlive it.
    sync(disk)?;
    let mark = String::from_utf8_lossy(&mark).into_owned();
    if let Some(name) = mark.strip_prefix(PUT_ASIDE) {
        for file in list(disk)?.into_iter().filter(|name| is_of_a_node(name)) {
            rename(disk, &file, &format!("{ASIDE}{name}-{file}"))?;
        }
        sync(disk)?;
        replace_file(disk, MARK, format!("{TAKE_OVER}{name}").as_bytes())?;
    } else if !mark.starts_with(TAKE_OVER) {
        return Err(StorageError::corrupt(MARK, 0, "it does not say how far the replacement of this directory is"));
    }
    for staged in list(disk)? {
        if let Some(file) = staged.strip_prefix(STAGED) {
            rename(disk, &staged, file)?;
        }
    }
    sync(disk)?;
    remove_if_present(disk, MARK)?;
    sync(disk)
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, StorageError> {
    disk.list().map_err(StorageError::io("list", "the data directory"))
}

fn rename(disk: &dyn Disk, from: &str, to: &str) -> Result<(), StorageError> {
    disk.rename(from, to).map_err(StorageError::io("rename", from))
}

fn sync(disk: &dyn Disk) -> Result<(), StorageError> {
    disk.sync_dir().map_err(StorageError::io("sync the directory of", MARK))
}

#[cfg(test)]
mod tests {
    use super::super::faulty::{FaultyDisk, Seed};
    use super::*;

    fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        replace_file(disk, name, bytes)
    }

    fn read(disk: &dyn Disk, name: &str) -> Option<Vec<u8>> {
        read_file(disk, name, 100).expect("it can be read")
    }

    /// Two files in the place of two others, one of which has the same name.
    fn replace(disk: &Arc<dyn Disk>) -> Result<(), StorageError> {
        let staged = stage(disk)?;
        write(&*staged, "identity.json", b"new")?;
        write(&*staged, "snapshot-1", b"new")?;
        replace_all(&**disk, "7")
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_or_the_new_and_the_old_stays_to_be_had() {
        let (mut steps, mut old_stayed, mut new_came) = (0, 0, 0);
        loop {
            let faulty = FaultyDisk::new(Seed(steps));
            let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
            for name in ["identity.json", "wal-1"] {
                write(&*disk, name, b"old").expect("a disk that works");
            }
            faulty.cut_power_after(steps);
            let ended = replace(&disk);
            faulty.crash();
            complete_replacement(&*disk).expect("a disk that works");
            let value = |name| read(&*disk, name);
            let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
            let in_use = files_in_use(&*disk).expect("it can be listed").len();
            assert_eq!(in_use, 2, "after step {steps}");
            if value("identity.json") == new {
                assert_eq!((value("snapshot-1"), value("wal-1")), (new, None), "after step {steps}");
                assert_eq!(
                    (value("before-7-identity.json"), value("before-7-wal-1")),
                    (old.clone(), old),
                    "after step {steps}"
                );
                new_came += 1;
            } else {
                assert!(ended.is_err(), "it said that it was done");
                assert_eq!((value("identity.json"), value("wal-1")), (old.clone(), old), "after step {steps}");
                assert_eq!((value("snapshot-1"), value("before-7-wal-1")), (None, None), "after step {steps}");
                old_stayed += 1;
            }
            // Once more goes well, whatever was left.
            write(&*disk, "wal-1", b"old").expect("a disk that works");
            replace(&disk).expect("a disk that works");
            assert_eq!((read(&*disk, "identity.json"), read(&*disk, "wal-1")), (Some(b"new".to_vec()), None));
            if ended.is_ok() {
                break;
            }
            steps += 1;
        }
        assert!(old_stayed > 5 && new_came > 5, "{old_stayed} times the old, {new_came} times the new");
    }

    #[test]
    fn a_mark_that_says_nothing_is_refused() {
        let disk = FaultyDisk::new(Seed(1));
        complete_replacement(&disk).expect("there is nothing to complete");
        write(&disk, MARK, b"kvd-repl").expect("a disk that works");
        let refusal = complete_replacement(&disk).unwrap_err().to_string();
        assert!(refusal.contains("how far the replacement"), "{refusal}");
    }
}
