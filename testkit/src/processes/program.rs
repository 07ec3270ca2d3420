//! The program of a node.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Passes the command line of a node, one word per line, to a test binary that runs as that node.
const COMMAND_LINE: &str = "TESTKIT_COMMAND_LINE";

/// The program that a node runs.
#[derive(Clone, Debug)]
pub enum Program {
    /// The binary `kvd`. Cargo builds it for the tests and benches of its own package, and for no others.
    Kvd,
    /// The running test binary, started again for only its test of this name, which calls [`be_a_node`]. So the tests
    /// of other packages need no binary of kvd, and cannot run an outdated one.
    ThisTest(&'static str),
}

impl Program {
    /// Returns the command that runs it with these arguments, without environment variables that would change its
    /// behaviour. `starter` is a command that only replaces itself with another command, or empty.
    pub(super) fn command(&self, starter: &[String], arguments: impl IntoIterator<Item = OsString>) -> Command {
        let path = match self {
            Self::Kvd => kvd_binary(),
            Self::ThisTest(_) => this_binary(),
        };
        let mut line = starter.iter().map(OsString::from).chain([path.into()]);
        let mut command = Command::new(line.next().expect("at least the program"));
        command.args(line).stdin(Stdio::null());
        without_settings(&mut command);
        match self {
            Self::Kvd => command.args(arguments),
            Self::ThisTest(test) => {
                let arguments: Vec<OsString> = arguments.into_iter().collect();
                command.args(["--exact", test, "--nocapture"]).env(COMMAND_LINE, arguments.join("\n".as_ref()))
            }
        };
        command
    }
}

/// Keeps a command from seeing the environment variables of this process that would change the behaviour of kvd or kvctl.
pub fn without_settings(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let is_setting = |prefix: &[u8]| name.as_encoded_bytes().starts_with(prefix);
        if name == "RUST_LOG" || is_setting(b"KVD_") || is_setting(b"KVCTL_") {
            command.env_remove(name);
        }
    }
}

/// Returns the command of the real binary, without environment variables that would change its behaviour.
pub fn kvd() -> Command {
    Program::Kvd.command(&[], [])
}

/// Runs the daemon to its end if this process was started as a node by [`Program::ThisTest`]. Run as an ordinary test,
/// it does nothing.
pub fn be_a_node() {
    if let Ok(arguments) = env::var(COMMAND_LINE) {
        // A signal ends it, and the sender of the signal knows the outcome.
        let _ = kvd::run(["kvd"].into_iter().chain(arguments.lines()).map(OsString::from));
    }
}

fn this_binary() -> PathBuf {
    env::current_exe().expect("the path of this program")
}

/// Returns the path of the binary. Cargo passes it to the tests of its package; a test started by hand finds it above
/// its own folder.
fn kvd_binary() -> PathBuf {
    let named = env::var_os("CARGO_BIN_EXE_kvd").map(PathBuf::from);
    let path = named.unwrap_or_else(|| this_binary().with_file_name("../kvd"));
    assert!(path.exists(), "{} is missing: only kvd's own tests and benches have it", path.display());
    path
}
