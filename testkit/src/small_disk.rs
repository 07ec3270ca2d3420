//! A disk of a few megabytes for one node: a file system in memory, in its own mount namespace, so that nothing of it
//! outlives the test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small disk, visible only to processes that [`enter`](SmallDisk::enter) its namespace.
pub struct SmallDisk {
    /// Keeps the namespace while its standard input is open, hence no longer than this process runs.
    holder: Child,
    mounted_at: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of this size at `path`.
    ///
    /// # Errors
    /// The reason why this test may not mount one.
    pub fn mount(path: &Path, mebibytes: u32) -> Result<Self, String> {
        std::fs::create_dir_all(path).expect("a directory");
        let script = format!("mount -t tmpfs -o size={mebibytes}m tmpfs \"$1\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let holder = command.spawn().map_err(|cause| format!("cannot run unshare: {cause}"))?;
        // If dropped early, it ends the holder.
        let mut disk = Self { holder, mounted_at: path.to_owned() };
        let mut line = String::new();
        let output = disk.holder.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("text");
        if line == "mounted\n" {
            return Ok(disk);
        }
        let mut why = String::new();
        disk.holder.stderr.take().expect("a pipe").read_to_string(&mut why).expect("text");
        Err(why.trim().to_owned())
    }

    /// Returns the command through which another command must run to see the disk.
    pub fn enter(&self) -> [String; 3] {
        ["nsenter".into(), format!("--mount=/proc/{}/ns/mnt", self.holder.id()), "--".into()]
    }

    /// Changes its size.
    pub fn resize(&self, mebibytes: u32) {
        let [nsenter, namespace, end] = self.enter();
        let mut command = Command::new(nsenter);
        command.args([&namespace, &end, "mount", "-o", &format!("remount,size={mebibytes}m")]).arg(&self.mounted_at);
        assert!(command.status().expect("mount runs").success(), "{command:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A holder that has ended needs no killing.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
