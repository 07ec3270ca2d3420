//! The binary under test.

use std::process::{Command, Stdio};
use testkit::Ended;

/// Returns kvctl without the environment variables that would change its behaviour.
pub(crate) fn kvctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvctl"));
    let of_kvctl = ["KVCTL_ENDPOINTS", "KVCTL_CLUSTER", "KVCTL_TIMEOUT", "KVCTL_OUTPUT"];
    for variable in of_kvctl.into_iter().chain(["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"]) {
        command.env_remove(variable);
    }
    command.env("TERM", "xterm-256color").args(arguments).stdin(Stdio::null());
    command
}

/// Runs kvctl to the end.
#[allow(dead_code, reason = "some tests run it in an environment of theirs only")]
pub(crate) fn run(arguments: &[&str]) -> Ended {
    testkit::run(&mut kvctl(arguments))
}
