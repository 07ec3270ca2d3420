//! `kvd`: flags and environment to a configuration, a subscriber for logs, exit codes.

use std::process::ExitCode;

fn main() -> ExitCode {
    kvd::run(std::env::args_os())
}
