//! Replaces all files of a data directory by new ones in one step. A crash at any moment leaves the old files or the
//! new ones, once the next start has completed a replacement that was begun.
//!
//! The new files are written beside the old ones, under names of their own ([`stage`]). Then a mark is written, and
//! with it the replacement is decided. The old files are put aside, the mark is updated, and the new files get their
//! final names. Each of these steps may be repeated, so a process that finds the mark goes on from there.

use super::directory::{LOCK_FILE, read_file, remove_if_present, replace_file};
use super::error::StorageError;
use kvd_disk::{DirLock, Disk, File};
use std::io;
use std::sync::Arc;

/// Prefix of staged files.
const STAGED: &str = "staged-";

/// Prefix of files that were put aside. The name of the replacement follows it.
const ASIDE: &str = "before-";

/// Name of the mark.
const MARK: &str = "replacement";
const MARK_BYTES_MAX: u64 = 1024;

/// Format of the mark that this version reads and writes.
const MARK_FORMAT: u32 = 1;
const FORMAT_PREFIX: &str = "format ";

/// Progress of a replacement, as written in the mark.
const PUT_ASIDE: &str = "put aside ";
const TAKE_OVER: &str = "take over ";

/// A directory within a directory, for staged files: a prefix of their names sets them apart.
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

/// Returns the disk to write the new files to, which are to replace everything in `disk`. Removes the files that an
/// earlier attempt has left there.
///
/// # Errors
/// [`StorageError::Io`]
pub fn stage(disk: &Arc<dyn Disk>) -> Result<Arc<dyn Disk>, StorageError> {
    discard_staged(&**disk)?;
    Ok(Arc::new(StagedDisk(Arc::clone(disk))))
}

/// Removes staged files whose replacement was never decided. Must be called only after [`complete_replacement`] has
/// found nothing to complete, or has completed it.
///
/// # Errors
/// [`StorageError::Io`]; only space is lost by it.
pub fn discard_staged(disk: &dyn Disk) -> Result<(), StorageError> {
    let mut staged = list(disk)?.into_iter().filter(|name| name.starts_with(STAGED));
    staged.try_for_each(|name| remove_if_present(disk, &name))
}

/// Returns whether `disk` has staged files of a replacement that was never decided.
///
/// # Errors
/// [`StorageError::Io`].
pub fn has_staged(disk: &dyn Disk) -> Result<bool, StorageError> {
    Ok(list(disk)?.iter().any(|name| name.starts_with(STAGED)))
}

/// Returns the names of all files in `disk`, except the lock and the remains of an interrupted replacement, which the
/// next one removes.
///
/// # Errors
/// [`StorageError::Io`].
pub fn files_present(disk: &dyn Disk) -> Result<Vec<String>, StorageError> {
    let is_present = |name: &String| {
        let is_other = name == LOCK_FILE || name == MARK || *name == format!("{MARK}.tmp");
        !is_other && !name.starts_with(STAGED)
    };
    Ok(list(disk)?.into_iter().filter(is_present).collect())
}

/// Returns whether this is the name of a file that a replacement has put aside.
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with(ASIDE)
}

/// Returns the prefix of the files that the replacement of this name puts aside.
pub fn aside_prefix(name: &str) -> String {
    format!("{ASIDE}{name}-")
}

/// Replaces everything in `disk` by the staged files, all of which must be durable. The old files stay under names that
/// begin with [`aside_prefix`]; no other replacement may have put files aside under `name`.
///
/// # Errors
/// [`StorageError::Io`]; the replacement may or may not have been decided then, and [`complete_replacement`] goes on
/// with it.
pub fn replace_all(disk: &dyn Disk, name: &str) -> Result<(), StorageError> {
    Mark::PutAside(name.to_owned()).save(disk)?;
    complete_replacement(disk).map(drop)
}

/// Completes a replacement that was decided and then interrupted. Returns whether there was one. Must be called before
/// anything else is done with the files in `disk`.
///
/// # Errors
/// [`StorageError::Io`], and [`StorageError::Corrupt`] or [`StorageError::UnknownVersion`] if the mark cannot be read.
pub fn complete_replacement(disk: &dyn Disk) -> Result<bool, StorageError> {
    let Some(mark) = Mark::load(disk)? else { return Ok(false) };
    // The process that wrote the mark may have been killed before the mark's name was durable. No effect of the mark
    // may outlast the mark: without the mark, half of the old files would be gone; with the mark before it, the new
    // files would be put aside in turn.
    sync(disk)?;
    if let Mark::PutAside(name) = mark {
        for file in files_present(disk)?.into_iter().filter(|file| !file.starts_with(ASIDE)) {
            rename(disk, &file, &format!("{}{file}", aside_prefix(&name)))?;
        }
        sync(disk)?;
        Mark::TakeOver(name).save(disk)?;
    }
    for staged in list(disk)? {
        if let Some(file) = staged.strip_prefix(STAGED) {
            rename(disk, &staged, file)?;
        }
    }
    sync(disk)?;
    remove_if_present(disk, MARK)?;
    sync(disk)?;
    Ok(true)
}

/// Progress of a replacement.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// The replacement is decided: the old files are being put aside, under the replacement's name.
    PutAside(String),
    /// All old files were put aside: the new files are getting their final names.
    TakeOver(String),
}

impl Mark {
    /// Returns the content of the file: a line that an operator can read.
    fn encode(&self) -> String {
        let (step, name) = match self {
            Self::PutAside(name) => (PUT_ASIDE, name),
            Self::TakeOver(name) => (TAKE_OVER, name),
        };
        format!("{FORMAT_PREFIX}{MARK_FORMAT}: {step}{name}\n")
    }

    fn decode(bytes: &[u8]) -> Result<Self, StorageError> {
        let damaged = || StorageError::corrupt(MARK, 0, "it does not say how far the replacement of this directory is");
        let line = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n')).ok_or_else(damaged)?;
        let (format, step) =
            line.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.split_once(": ")).ok_or_else(damaged)?;
        match format.parse().map_err(|_| damaged())? {
            MARK_FORMAT => {}
            found => {
                return Err(StorageError::UnknownVersion { file: MARK.to_owned(), found, supported: MARK_FORMAT });
            }
        }
        match (step.strip_prefix(PUT_ASIDE), step.strip_prefix(TAKE_OVER)) {
            (Some(name), _) => Ok(Self::PutAside(name.to_owned())),
            (_, Some(name)) => Ok(Self::TakeOver(name.to_owned())),
            (None, None) => Err(damaged()),
        }
    }

    fn load(disk: &dyn Disk) -> Result<Option<Self>, StorageError> {
        read_file(disk, MARK, MARK_BYTES_MAX)?.map(|bytes| Self::decode(&bytes)).transpose()
    }

    fn save(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        replace_file(disk, MARK, self.encode().as_bytes())
    }
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
    use super::*;
    use testkit::faulty_disk::{FaultyDisk, Seed};

    fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        replace_file(disk, name, bytes)
    }

    fn read(disk: &dyn Disk, name: &str) -> Option<Vec<u8>> {
        read_file(disk, name, 100).expect("it can be read")
    }

    /// Replaces two files by two others; one name is in both sets.
    fn replace(disk: &Arc<dyn Disk>) -> Result<(), StorageError> {
        let staged = stage(disk)?;
        write(&*staged, "identity", b"new")?;
        write(&*staged, "snapshot", b"new")?;
        replace_all(&**disk, "7")
    }

    /// A directory with an identity and a log.
    fn directory(seed: u64) -> (FaultyDisk, Arc<dyn Disk>) {
        let faulty = FaultyDisk::new(Seed(seed));
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        for name in ["identity", "log"] {
            write(&*disk, name, b"old").expect("a disk that works");
        }
        (faulty, disk)
    }

    /// Checks that the directory holds either the old files or the new ones, each as a whole. Returns whether it holds
    /// the new ones.
    #[track_caller]
    fn has_come(disk: &dyn Disk) -> bool {
        let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
        let value = |name| read(disk, name);
        let has_come = value("identity") == new;
        if has_come {
            assert_eq!((value("snapshot"), value("log")), (new, None));
            assert_eq!((value("before-7-identity"), value("before-7-log")), (old.clone(), old));
        } else {
            assert_eq!((value("identity"), value("log")), (old.clone(), old));
            assert_eq!((value("snapshot"), value("before-7-log")), (None, None));
        }
        has_come
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_or_the_new_and_the_old_stays_to_be_had() {
        let (mut steps, mut old_stayed, mut new_came) = (0, 0, 0);
        loop {
            let (faulty, disk) = directory(steps);
            faulty.cut_power_after(steps);
            let ended = replace(&disk);
            faulty.crash();
            complete_replacement(&*disk).expect("a disk that works");
            match has_come(&*disk) {
                true => new_came += 1,
                false => old_stayed += 1,
            }
            assert!(ended.is_err() || has_come(&*disk), "it said that it was done");
            // A second attempt succeeds, whatever the first has left.
            write(&*disk, "log", b"old").expect("a disk that works");
            replace(&disk).expect("a disk that works");
            assert_eq!((read(&*disk, "identity"), read(&*disk, "log")), (Some(b"new".to_vec()), None));
            if ended.is_ok() {
                break;
            }
            steps += 1;
        }
        assert!(old_stayed > 5 && new_came > 5, "{old_stayed} times the old, {new_came} times the new");
    }

    #[test]
    fn a_power_cut_while_a_killed_process_is_made_up_for_leaves_the_old_or_the_new() {
        let (mut old_stayed, mut new_came) = (0, 0);
        for seed in 0..20 {
            for killed_after in 0.. {
                let mut is_done = false;
                for cut_after in 0.. {
                    let (faulty, disk) = directory(seed);
                    faulty.cut_power_after(killed_after);
                    is_done = replace(&disk).is_ok();
                    // The effects of the interrupted process are visible, but not yet durable.
                    faulty.kill();
                    faulty.cut_power_after(cut_after);
                    let completed = complete_replacement(&*disk);
                    faulty.crash();
                    complete_replacement(&*disk).expect("a disk that works");
                    match has_come(&*disk) {
                        true => new_came += 1,
                        false => old_stayed += 1,
                    }
                    if completed.is_ok() {
                        break;
                    }
                }
                if is_done {
                    break;
                }
            }
        }
        assert!(old_stayed > 100 && new_came > 100, "{old_stayed} times the old, {new_came} times the new");
    }

    #[test]
    fn what_was_never_decided_can_be_discarded() {
        let (_, disk) = directory(1);
        let staged = stage(&disk).expect("a disk that works");
        write(&*staged, "identity", b"new").expect("a disk that works");
        assert!(!complete_replacement(&*disk).expect("nothing was decided"));
        discard_staged(&*disk).expect("a disk that works");
        let mut names = list(&*disk).expect("a disk that works");
        names.sort();
        assert_eq!(names, ["identity", "log"]);
    }

    #[test]
    fn the_mark_reads_like_this() {
        for (mark, text) in [
            (Mark::PutAside("7".into()), "format 1: put aside 7\n"),
            (Mark::TakeOver("7".into()), "format 1: take over 7\n"),
        ] {
            assert_eq!(mark.encode(), text);
            assert_eq!(Mark::decode(text.as_bytes()).expect("a mark"), mark);
        }
    }

    #[test]
    fn a_mark_that_says_nothing_is_refused() {
        let disk = FaultyDisk::new(Seed(1));
        assert!(!complete_replacement(&disk).expect("there is nothing to complete"));
        for (text, why) in [
            ("", "how far the replacement"),
            ("format 1: put as", "how far the replacement"),
            ("format 1: put aside 7", "how far the replacement"),
            ("format one: put aside 7\n", "how far the replacement"),
            ("format 2: whatever\n", "format version 2"),
        ] {
            write(&disk, MARK, text.as_bytes()).expect("a disk that works");
            let refusal = complete_replacement(&disk).unwrap_err().to_string();
            assert!(refusal.contains(why), "{text:?}: {refusal}");
        }
    }
}
