//! A device or a pipe to which a backup is written.

use crate::interrupt::Interrupt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

/// Message for when a signal interrupts writing to a destination that keeps the bytes it got.
pub(super) const INTERRUPTED: &str = "interrupted; the backup is incomplete";

/// A device or a pipe. It is opened with the first byte, so a reader that waits at the other end of a pipe gets nothing
/// before there is a backup.
pub(super) struct Device {
    path: PathBuf,
    file: Option<File>,
    interrupt: Interrupt,
}

impl Device {
    pub(super) fn new(path: PathBuf, interrupt: Interrupt) -> Self {
        Self { path, file: None, interrupt }
    }

    /// Makes the written bytes durable, as far as this device supports that.
    ///
    /// # Errors
    /// Errors of the device.
    pub(super) fn finish(self) -> io::Result<()> {
        match self.file {
            Some(file) if keeps_data(&file)? => file.sync_all(),
            Some(_) | None => Ok(()),
        }
    }
}

impl Write for Device {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            self.interrupt.remark(INTERRUPTED);
            self.file = Some(open(&self.path)?);
        }
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.is_file() {
        return Err(io::Error::other("it was no regular file a moment ago, and is one now"));
    }
    if file.is_terminal() {
        return Err(io::Error::other("it is a terminal"));
    }
    Ok(file)
}

#[cfg(unix)]
fn keeps_data(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt as _;
    Ok(file.metadata()?.file_type().is_block_device())
}

#[cfg(not(unix))]
fn keeps_data(_: &File) -> io::Result<bool> {
    Ok(false)
}
