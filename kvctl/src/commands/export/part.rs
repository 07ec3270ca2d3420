//! An export that is not whole yet: `FILE.part` with its lines, and `FILE.part.json` that says of what they are.

use crate::commands::unfinished::{create, sync_directory};
use crate::exit::Failure;
use anyhow::Context as _;
use kvclient::Key;
use kvclient::api::ListLine;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// What the lines are of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) cluster: String,
    pub(super) prefix: Vec<u8>,
    pub(super) revision: u64,
    /// Number of keys of the whole list.
    pub(super) total: u64,
}

/// The lines that are there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) keys: u64,
    /// The last key.
    pub(super) last: Key,
}

/// The files, which no other process writes meanwhile.
pub(super) struct Part {
    target: PathBuf,
    lines: PathBuf,
    about: PathBuf,
    file: File,
}

impl Part {
    /// Opens the lines that will become `target`, creating them if there are none.
    ///
    /// # Errors
    /// Errors of the file system; and if another process writes them.
    pub(super) fn beside(target: &Path) -> anyhow::Result<Self> {
        let named = |end: &str| {
            let mut name = target.file_name().map(OsString::from).unwrap_or_default();
            name.push(end);
            target.with_file_name(name)
        };
        let (lines, about) = (named(".part"), named(".part.json"));
        let place = || lines.display().to_string();
        let file = match create(&lines) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                OpenOptions::new().read(true).write(true).open(&lines).with_context(place)?
            }
            Err(error) => return Err(error).with_context(place),
        };
        file.try_lock().map_err(|_| Failure::Other(format!("another process writes {} at this time", place())))?;
        Ok(Self { target: target.to_owned(), lines, about, file })
    }

    /// Returns what was left behind, if it is `wanted`, and goes on behind its last whole line.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn left(&mut self, wanted: impl Fn(&About) -> bool) -> anyhow::Result<Option<(About, Begun)>> {
        let about = fs::read(&self.about).ok().and_then(|json| serde_json::from_slice::<About>(&json).ok());
        let Some(about) = about.filter(wanted) else { return Ok(None) };
        self.file.seek(SeekFrom::Start(0))?;
        let (begun, bytes) = whole_lines(&mut BufReader::new(&self.file))?;
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes))?;
        Ok(begun.map(|begun| (about, begun)))
    }

    /// Begins anew, with lines of these.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn begin(&mut self, about: &About) -> anyhow::Result<()> {
        self.clear()?;
        let json = serde_json::to_vec(about)?;
        let mut file = create(&self.about).with_context(|| self.about.display().to_string())?;
        Ok(file.write_all(&json)?)
    }

    /// Forgets what was left behind.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // First what says of what the lines are: without it they are of nothing.
        if let Err(error) = fs::remove_file(&self.about)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Makes the lines durable and gives them their name, replacing any file that has it.
    ///
    /// # Errors
    /// Errors of the file system.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.lines, &self.target)?;
        // If this fails, it says of what lines are that are not there any more.
        let _ = fs::remove_file(&self.about);
        sync_directory(&self.target)
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads items up to the first line that is none, and returns them with their length in bytes.
fn whole_lines(reader: &mut impl BufRead) -> io::Result<(Option<Begun>, u64)> {
    let (mut begun, mut bytes, mut line) = (None, 0, Vec::new());
    loop {
        line.clear();
        reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        match serde_json::from_slice(&line) {
            Ok(ListLine::Item(item)) if line.ends_with(b"\n") => {
                let keys = begun.map_or(0, |begun: Begun| begun.keys) + 1;
                begun = Some(Begun { keys, last: item.key });
                bytes += line.len() as u64;
            }
            _ => return Ok((begun, bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str) -> String {
        format!(r#"{{"key":"{key}","value":"v","create_revision":2,"mod_revision":2,"version":1}}"#) + "\n"
    }

    #[test]
    fn a_part_is_gone_on_with_behind_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        let about = About { cluster: "c".into(), prefix: b"a/".to_vec(), revision: 7, total: 3 };
        let mut part = Part::beside(&target).unwrap();
        assert!(Part::beside(&target).is_err(), "one at a time");
        assert_eq!(part.left(|_| true).unwrap(), None);
        part.begin(&about).unwrap();
        part.write_all((line("a/1") + &line("a/2") + &line("a/3")[..20]).as_bytes()).unwrap();
        drop(part);

        let mut part = Part::beside(&target).unwrap();
        assert_eq!(part.left(|_| false).unwrap(), None);
        let begun = Begun { keys: 2, last: "a/2".into() };
        assert_eq!(part.left(|found| *found == about).unwrap(), Some((about, begun)));
        part.write_all(line("a/3").as_bytes()).unwrap();
        part.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), line("a/1") + &line("a/2") + &line("a/3"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_part_that_nothing_is_known_of_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("f");
        fs::write(dir.path().join("f.part"), line("a")).unwrap();
        let mut part = Part::beside(&target).unwrap();
        assert_eq!(part.left(|_| true).unwrap(), None);
        let about = About { cluster: "c".into(), prefix: Vec::new(), revision: 7, total: 0 };
        part.begin(&about).unwrap();
        part.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
    }
}
