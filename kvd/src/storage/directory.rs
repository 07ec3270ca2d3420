//! Steps that storage takes with a directory and whole files in it, and the errors of those steps.

use super::error::StorageError;
use kvd_disk::{DirLock, Disk, File};
use std::io;

/// Name of the file with which a daemon locks its data directory.
pub(super) const LOCK_FILE: &str = "lock";

/// Locks the data directory for this daemon alone. Must come before anything else that is done with the directory.
///
/// # Errors
/// [`StorageError::Locked`] if another daemon has locked it, [`StorageError::NotWritable`] if this user may not write
/// there.
pub fn lock_data_dir(disk: &dyn Disk) -> Result<DirLock, StorageError> {
    disk.try_lock(LOCK_FILE).map_err(|cause| match cause.kind() {
        io::ErrorKind::WouldBlock => StorageError::Locked,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StorageError::NotWritable(cause),
        _ => StorageError::io("lock", LOCK_FILE)(cause),
    })
}

/// Reads a whole file; `None` if no file has that name.
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

/// Creates or replaces a whole file: a crash leaves the old bytes or the new ones, nothing in between.
pub(super) fn replace_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = format!("{name}.tmp");
    let file = create_fresh(disk, &temporary)?;
    file.write_all_at(0, bytes).map_err(StorageError::io("write", &temporary))?;
    // The bytes must be durable before the name points at them, or a crash could leave an empty file.
    file.sync().map_err(StorageError::io("sync", &temporary))?;
    disk.rename(&temporary, name).map_err(StorageError::io("rename", &temporary))?;
    disk.sync_dir().map_err(StorageError::io("sync the directory of", name))
}

/// Creates a file, and discards any file of the same name that an earlier attempt has left.
pub(super) fn create_fresh(disk: &dyn Disk, name: &str) -> Result<Box<dyn File>, StorageError> {
    remove_if_present(disk, name)?;
    disk.create(name).map_err(StorageError::io("create", name))
}

/// Removes a file if it exists.
pub(super) fn remove_if_present(disk: &dyn Disk, name: &str) -> Result<(), StorageError> {
    match disk.remove(name) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", name)(cause)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvd_disk::MemoryDisk;

    #[test]
    fn a_directory_has_one_daemon_at_a_time() {
        let disk = MemoryDisk::new();
        let held = lock_data_dir(&disk).expect("nobody has it");
        let error = lock_data_dir(&disk).expect_err("it is taken");
        assert!(matches!(error, StorageError::Locked), "{error}");
        drop(held);
        lock_data_dir(&disk).expect("it is free again");
    }
}
