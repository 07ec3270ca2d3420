//! Names of snapshot files.

use super::super::directory::remove_if_present;
use super::super::error::StorageError;
use super::file::SnapshotFile;
use super::meta::is_entry;
use crate::raft::{LogBase, LogIndex, Term};
use kvd_disk::Disk;

/// Suffix of the names of unfinished snapshots.
const TEMPORARY: &str = ".tmp";

/// Returns the name of the snapshot that ends with this entry.
pub(super) fn file_name(last: LogBase) -> String {
    format!("snapshot-{:016}-{:016}.snap", last.index.0, last.term.0)
}

/// Returns the name of an unfinished snapshot; `attempt` tells apart those that are made at the same time.
pub(super) fn temporary_name(last: LogBase, attempt: u64) -> String {
    format!("{}.{attempt}{TEMPORARY}", file_name(last))
}

/// Returns the entry that the snapshot of this name ends with; `None` if the name is not a snapshot's.
fn entry_of(name: &str) -> Option<LogBase> {
    let (index, term) = name.strip_prefix("snapshot-")?.strip_suffix(".snap")?.split_once('-')?;
    let last = LogBase { index: LogIndex(index.parse().ok()?), term: Term(term.parse().ok()?) };
    (file_name(last) == name && is_entry(last)).then_some(last)
}

/// Returns whether this is the name of a snapshot.
pub(in crate::storage) fn is_snapshot(name: &str) -> bool {
    entry_of(name).is_some()
}

/// Returns the last entry of each snapshot in `disk`, the newest first.
pub(super) fn all(disk: &dyn Disk) -> Result<Vec<LogBase>, StorageError> {
    let names = disk.list().map_err(StorageError::io("list", "the data directory"))?;
    let mut found: Vec<LogBase> = names.iter().filter_map(|name| entry_of(name)).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

/// Removes the snapshots that are older than this one; the node no longer needs them. A crash may bring them back,
/// which does no harm.
///
/// # Errors
/// [`StorageError::Io`]; only space is lost by it.
pub fn remove_older(disk: &dyn Disk, durable: &SnapshotFile) -> Result<(), StorageError> {
    let older = all(disk)?.into_iter().filter(|last| last.index < durable.last().index);
    older.map(file_name).try_for_each(|name| remove_if_present(disk, &name))
}

/// Removes the unfinished snapshots left by earlier processes.
pub(super) fn remove_unfinished(disk: &dyn Disk) -> Result<(), StorageError> {
    let names = disk.list().map_err(StorageError::io("list", "the data directory"))?;
    let mut unfinished = names.iter().filter(|name| name.starts_with("snapshot-") && name.ends_with(TEMPORARY));
    unfinished.try_for_each(|name| remove_if_present(disk, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_snapshot_is_one() {
        let last = LogBase { index: LogIndex(12), term: Term(3) };
        assert_eq!(file_name(last), "snapshot-0000000000000012-0000000000000003.snap");
        assert_eq!(entry_of(&file_name(last)), Some(last));
        for other in [
            "snapshot-12-3.snap",
            "snapshot-0000000000000012.snap",
            "snapshot-+000000000000012-0000000000000003.snap",
            "snapshot-0000000000000000-0000000000000003.snap",
            "snapshot-18446744073709551615-0000000000000003.snap",
            "snapshot-0000000000000012-0000000000000003.snap.0.tmp",
            "wal-0000000000000012.log",
            "lock",
        ] {
            assert_eq!(entry_of(other), None, "{other}");
        }
    }
}
