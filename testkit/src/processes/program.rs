//! Where the program of a node comes from.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Carries the command line of a node, one word a line, to a test binary that is to be one.
const COMMAND_LINE: &str = "TESTKIT_COMMAND_LINE";

/// The program that a node runs.
#[derive(Clone, Debug)]
pub enum Program {
    /// The binary `kvd`. Cargo builds it for the tests and benches of its own package, and for no others.
    Kvd,
    /// The running test binary, started once more for its test of this name alone, which calls [`be_a_node`]. So the tests
    /// of other packages need no binary of kvd, and meet no old one.
    ThisTest(&'static str),
}

impl Program {
    /// Runs it with these arguments, and none of the environment that would change what it does. `starter` is a command
    /// that does nothing but to start another one in its own place, or nothing.
    pub(super) fn command(&self, starter: &[String], arguments: impl IntoIterator<Item = OsString>) -> Command {
        let path = match self {
            Self::Kvd => kvd_binary(),
            Self::ThisTest(_) => this_binary(),
        };
        let mut line = starter.iter().map(OsString::from).chain([path.into()]);
        let mut command = Command::new(line.next().expect("at least the program"));
        command.args(line).stdin(Stdio::null());
        for (name, _) in env::vars_os() {
            if name == "RUST_LOG" || name.as_encoded_bytes().starts_with(b"KVD_") {
                command.env_remove(name);
            }
        }
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

/// The real binary, with none of the environment that would change what it does.
pub fn kvd() -> Command {
    Program::Kvd.command(&[], [])
}

/// Runs the daemon to its end if this process was started as a node by [`Program::ThisTest`]. As a test of its own it has
/// nothing to show.
pub fn be_a_node() {
    if let Ok(arguments) = env::var(COMMAND_LINE) {
        // Its end is a signal, and whoever sent it knows.
        let _ = kvd::run(["kvd"].into_iter().chain(arguments.lines()).map(OsString::from));
    }
}

fn this_binary() -> PathBuf {
    env::current_exe().expect("the path of this program")
}

/// Cargo names the binary to the processes of its package's tests. One that is started by hand finds it above its own folder.
fn kvd_binary() -> PathBuf {
    let named = env::var_os("CARGO_BIN_EXE_kvd").map(PathBuf::from);
    let path = named.unwrap_or_else(|| this_binary().with_file_name("../kvd"));
    assert!(path.exists(), "{} is missing: only kvd's own tests and benches have it", path.display());
    path
}
