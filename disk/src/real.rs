//! [`Disk`] on a directory of the file system.
//!
//! Files and directories are created private to the user that runs the program, whatever the umask, because the files
//! hold all keys and values. An existing directory keeps its permissions.

use crate::disk::{DirLock, Disk, File};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner can list and enter it.
const DIRECTORY_MODE: u32 = 0o700;

/// Only the owner can read and write it.
const FILE_MODE: u32 = 0o600;

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    /// Kept open for syncing.
    directory: fs::File,
}

impl RealDisk {
    /// Opens the directory, after creating it and its parents if they are missing.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let is_new = !path.exists();
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path)?;
        if is_new {
            // The umask may have removed permissions that the owner needs.
            set_mode(&path, DIRECTORY_MODE)?;
        }
        sync_names_above(&path)?;
        let directory = fs::File::open(&path)?;
        Ok(Self { path, directory })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes the names of a directory and of its parents durable, so that a crash does not remove them with all their
/// contents. Whoever created them may not have done so: not even an earlier start of this node, if it was killed in
/// between.
fn sync_names_above(path: &Path) -> io::Result<()> {
    for above in path.canonicalize()?.ancestors().skip(1) {
        match fs::File::open(above).and_then(|directory| directory.sync_all()) {
            // A directory that this user may not read was created by somebody else.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Makes a file private, if it is not: an unusual umask or an earlier version may have given it other permissions.
fn make_private(path: &Path, file: &fs::File) -> io::Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode == FILE_MODE { Ok(()) } else { set_mode(path, FILE_MODE) }
}

/// Sets the permissions, if this user may set them and the file system supports them.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        set => set,
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let item = item?;
            // A name that is not valid text is not one of ours, and neither is a directory.
            if let Ok(name) = item.file_name().into_string()
                && item.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path.join(name);
        let file = fs::File::options().read(true).write(true).open(&path)?;
        make_private(&path, &file)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let path = self.path.join(name);
        let file = fs::File::options().read(true).write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        make_private(&path, &file)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn try_lock(&self, name: &str) -> io::Result<DirLock> {
        let path = self.path.join(name);
        let file = fs::File::options().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path)?;
        make_private(&path, &file)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(DirLock::new(file))
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_created_with_those_above_it_and_opened_again_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("above/data");
        RealDisk::open(&path).unwrap().create("a").unwrap();
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(RealDisk::open(&link).unwrap().list().unwrap(), ["a"]);
    }

    #[test]
    fn what_is_created_is_private_and_what_was_not_becomes_so() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("above/data");
        let disk = RealDisk::open(&path).unwrap();
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        disk.create("a").unwrap();
        let _lock = disk.try_lock("lock").unwrap();
        assert_eq!((mode(".."), mode(""), mode("a"), mode("lock")), (0o700, 0o700, 0o600, 0o600));
        // The permissions that an earlier version gave it.
        fs::set_permissions(path.join("a"), fs::Permissions::from_mode(0o644)).unwrap();
        disk.open("a").unwrap();
        assert_eq!(mode("a"), 0o600);
        // A directory that was opened to a group on purpose.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        RealDisk::open(&path).unwrap();
        assert_eq!(mode(""), 0o750);
    }

    #[test]
    fn a_file_in_its_place_or_above_it_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("data")] {
            RealDisk::open(path).unwrap_err();
        }
    }
}
