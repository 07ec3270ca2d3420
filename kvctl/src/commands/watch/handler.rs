//! A command that is run for each change.

use super::line::Line;
use kvclient::api::Change;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Longest key and value in the environment. Systems allow 128 KiB and a little less for each variable.
const VARIABLE_BYTES_MAX: usize = 100_000;

/// The command.
pub(super) struct Handler {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Handler {
    /// Returns `None` if there is no command.
    pub(super) fn new(mut words: Vec<OsString>) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        let arguments = words.split_off(1);
        words.pop().map(|program| Self { program, arguments })
    }

    /// Runs the command and waits for its end.
    ///
    /// # Errors
    /// A sentence, if it could not be started or has failed.
    pub(super) fn run(&self, line: &Line<'_>) -> Result<(), String> {
        let name = self.program.display();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped());
        command.env("KVD_REVISION", line.revision.to_string()).env("KVD_TYPE", line.change.kind().name());
        set(&mut command, "KVD_KEY", Some(line.change.key().as_bytes()));
        let value = match line.change {
            Change::Put { item, .. } => Some(item.value.as_slice()),
            Change::Delete { .. } => None,
        };
        set(&mut command, "KVD_VALUE", value);
        let mut json = serde_json::to_vec(line).map_err(|cause| format!("the change cannot be written: {cause}"))?;
        json.push(b'\n');
        let mut child = command.spawn().map_err(|cause| format!("`{name}` cannot be started: {cause}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that does not read it does not need it.
            let _ = stdin.write_all(&json);
        }
        let ended = child.wait().map_err(|cause| format!("the end of `{name}` cannot be waited for: {cause}"))?;
        if ended.success() { Ok(()) } else { Err(format!("`{name}` has failed: {ended}")) }
    }
}

/// Sets a variable, or makes sure that none is inherited if its value cannot be in an environment.
fn set(command: &mut Command, name: &str, bytes: Option<&[u8]>) {
    let fits = |bytes: &&[u8]| bytes.len() <= VARIABLE_BYTES_MAX && !bytes.contains(&0);
    match bytes.filter(fits).and_then(text) {
        Some(text) => command.env(name, text),
        None => command.env_remove(name),
    };
}

#[cfg(unix)]
fn text(bytes: &[u8]) -> Option<&OsStr> {
    use std::os::unix::ffi::OsStrExt as _;
    Some(OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn text(bytes: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(bytes).ok().map(OsStr::new)
}
