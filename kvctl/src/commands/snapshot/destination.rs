//! Destination of a backup, decided before a node is asked for it.

use anyhow::{Context as _, bail};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The argument that stands for standard output, or for standard input.
pub(super) const STANDARD: &str = "-";

/// Destination of a backup. Only a regular file is ever replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A regular file, whether it exists already or not.
    File(PathBuf),
    /// A device or a pipe, which is written to directly.
    Device(PathBuf),
    /// Standard output.
    Stdout,
}

impl Destination {
    /// Decides by what exists at `path` now. `force` permits replacing a file.
    ///
    /// # Errors
    /// A sentence that says why the backup is not written there, and what to do.
    pub(super) fn of(path: &Path, force: bool) -> anyhow::Result<Self> {
        if path == Path::new(STANDARD) {
            return Ok(Self::Stdout);
        }
        let name = path.display();
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return not_there(path),
            Err(cause) => return Err(cause).with_context(|| format!("{name} cannot be written")),
        };
        if is_stdout(&found) {
            return Ok(Self::Stdout);
        }
        if found.is_dir() {
            bail!("{name} is a directory: give a file in it");
        }
        if !found.is_file() {
            return other_than_file(path, &found, force);
        }
        if !force {
            bail!("{name} already exists: use another name, or --force to replace it");
        }
        // For a symbolic link, the file that it points to is replaced, and the link stays.
        let real = path.canonicalize().with_context(|| format!("{name} cannot be replaced"))?;
        Ok(Self::File(real))
    }
}

fn not_there(path: &Path) -> anyhow::Result<Destination> {
    let name = path.display();
    if path.symlink_metadata().is_ok() {
        bail!("{name} is a link to a file that does not exist: give that file, or remove the link");
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        bail!("directory {name} does not exist: create it and give a file in it");
    }
    Ok(Destination::File(path.to_owned()))
}

#[cfg(unix)]
fn other_than_file(path: &Path, found: &Metadata, force: bool) -> anyhow::Result<Destination> {
    use std::os::unix::fs::FileTypeExt as _;
    let (name, kind) = (path.display(), found.file_type());
    if kind.is_socket() {
        bail!("{name} is a socket: give a file");
    }
    if kind.is_block_device() && !force {
        bail!("{name} is a block device: give a file, or --force to overwrite the device");
    }
    Ok(Destination::Device(path.to_owned()))
}

#[cfg(not(unix))]
fn other_than_file(path: &Path, _: &Metadata, _: bool) -> anyhow::Result<Destination> {
    bail!("{} is not a file: give a file", path.display());
}

/// Returns whether this is the file or the pipe behind standard output, under another name such as `/dev/stdout`.
#[cfg(unix)]
fn is_stdout(found: &Metadata) -> bool {
    use std::fs::File;
    use std::io::stdout;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    // A device may well be used for both: `kvctl snapshot save /dev/null > /dev/null`.
    if found.file_type().is_char_device() {
        return false;
    }
    let stdout = stdout().as_fd().try_clone_to_owned().and_then(|stdout| File::from(stdout).metadata());
    stdout.is_ok_and(|stdout| (stdout.dev(), stdout.ino()) == (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn is_stdout(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_a_regular_file_is_replaced_and_only_by_force() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path().canonicalize().expect("its real name");
        let at = |name: &str| dir.join(name);
        fs::write(at("file"), "old").expect("a file");
        symlink(at("file"), at("link")).expect("a link");
        symlink(at("nowhere"), at("dangling")).expect("a link");
        symlink("/dev/null", at("null")).expect("a link");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");
        for (name, by_force, file) in
            [("new", false, "new"), ("new", true, "new"), ("file", true, "file"), ("link", true, "file")]
        {
            let found = Destination::of(&at(name), by_force).expect(name);
            assert_eq!(found, Destination::File(at(file)), "{name}");
        }
        for force in [false, true] {
            for device in [at("null"), "/dev/null".into()] {
                assert_eq!(Destination::of(&device, force).expect("a device"), Destination::Device(device));
            }
            assert_eq!(Destination::of(Path::new("-"), force).expect("an output"), Destination::Stdout);
            for (name, says) in [
                ("", "is a directory: give a file in it"),
                ("socket", "is a socket"),
                ("dangling", "link to a file that does not exist"),
                ("missing/", "does not exist: create it"),
                ("file/below", "cannot be written"),
            ] {
                let error = Destination::of(&at(name), force).expect_err(name);
                assert!(error.to_string().contains(says), "{name}: {error}");
            }
        }
        for name in ["file", "link"] {
            let error = Destination::of(&at(name), false).expect_err(name);
            assert!(error.to_string().contains("already exists: use another name, or --force"), "{error}");
        }
    }
}
