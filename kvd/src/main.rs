//! `kvd`: flags and environment to a configuration, a subscriber for logs, exit codes.

use clap::Parser;
use kvd::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    kvd::run(Cli::parse())
}
