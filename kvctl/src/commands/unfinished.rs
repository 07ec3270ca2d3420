//! A file that gets its name only once it is complete and durable.

use crate::interrupt::Interrupt;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

/// A file under a temporary name beside its final one. It is created with the first byte, and removed unless it is
/// [finished](Unfinished::finish).
pub(super) struct Unfinished {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
    interrupt: Interrupt,
}

impl Unfinished {
    /// Creates a file that will become `target`. From its first byte on, an interrupt makes writing fail instead of
    /// ending the process, which would leave the file behind.
    pub(super) fn beside(target: &Path, interrupt: Interrupt) -> Self {
        let mut name = target.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{}.part", process::id()));
        Self { target: target.to_owned(), temporary: target.with_file_name(name), file: None, interrupt }
    }

    /// Makes it durable and renames it to its final name, replacing any file of that name.
    ///
    /// # Errors
    /// Errors of the file system; then nothing has changed.
    pub(super) fn finish(mut self) -> io::Result<()> {
        // The bytes must be durable before the name points at them, or a crash could leave part of them under that
        // name.
        self.file()?.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.file = None;
        sync_directory(&self.target)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.interrupt.notice();
            self.file = Some(create(&self.temporary)?);
        }
        Ok(self.file.as_mut().expect("created above"))
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interrupt.noticed() {
            return Err(io::Error::other("interrupted"));
        }
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // If this fails, the temporary name tells what the file is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates a file that only its owner can read: it will hold the whole store.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the name of a file durable.
#[cfg(unix)]
pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Other systems have no such call.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
