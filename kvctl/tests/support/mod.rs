//! The binary under test.

#[allow(dead_code, reason = "some tests need no cluster, and no test all of it")]
pub(crate) mod fixture;

use std::process::{Command, Stdio};
use testkit::{Ended, without_settings};

/// Returns kvctl without the environment variables that would change its behaviour.
pub(crate) fn kvctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvctl"));
    without_settings(&mut command);
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
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
