//! The command line of kvd: `kvctl set color blue`, `kvctl get color`, `kvctl status`.
//!
//! A command calls [`kvclient`] and prints the result; the client deals with leaders, redirects and retries. This file
//! reads flags and environment into [`Cli`], passes the command to the file of its group in [`commands`], and ends the
//! process with the exit code of [`exit`]. Everything that reaches the screen goes through [`output`].

mod cli;
mod commands;
mod context;
mod exit;
mod hints;
mod interrupt;
mod output;
mod progress;
mod units;
mod usage;
mod values;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};
use cli::{Cli, Command, Global};
use context::Context;
use exit::Exit;
use interrupt::Interrupt;
use kvclient::Client;
use output::Output;
use std::process::ExitCode;
use std::time::Duration;

/// Time after which the client gives up if no node can be connected to. A program is patient; somebody at a terminal
/// wants to know.
const UNREACHABLE_TIMEOUT: Duration = Duration::from_millis(700);

fn main() -> ExitCode {
    output::complain_in(usage::format());
    let parsed = usage::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => {
            usage::warn_of_variables();
            match run(cli) {
                Ok(()) => Exit::Done.into(),
                Err(error) => exit::report(&error).into(),
            }
        }
        Err(error) => usage::report(&error).into(),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let output = Output::new(cli.global.output);
    if let Command::Completions(command) = cli.command {
        return command.run(&mut Cli::command(), output);
    }
    let interrupt = Interrupt::install().context("cannot listen for interrupts")?;
    let Global { endpoints, cluster, timeout, .. } = cli.global;
    let mut builder =
        Client::builder().endpoints(&endpoints).total_timeout(timeout).unreachable_timeout(UNREACHABLE_TIMEOUT);
    if let Some(id) = cluster {
        builder = builder.cluster_id(id);
    }
    let client = builder.build()?;
    let context = Context { client, output, interrupt };
    match cli.command {
        Command::Set(command) => command.run(context),
        Command::Get(command) => command.run(context),
        Command::Delete(command) => command.run(context),
        Command::List(command) => command.run(context),
        Command::History(command) => command.run(context),
        Command::Txn(command) => command.run(context),
        Command::Watch(command) => command.run(context),
        Command::Lease(command) => command.run(context),
        Command::Lock(command) => command.run(context),
        Command::Elect(command) => command.run(context),
        Command::Export(command) => command.run(context),
        Command::Import(command) => command.run(context),
        Command::Compact(command) => command.run(context),
        Command::Status(command) => command.run(context),
        Command::Members(command) => command.run(context),
        Command::Member(command) => command.run(context),
        Command::Leader(command) => command.run(context),
        Command::TransferLeader(command) => command.run(context),
        Command::WatchLeader(command) => command.run(context),
        Command::Snapshot(command) => command.run(context),
        Command::Bench(command) => command.run(context),
        Command::Completions(command) => command.run(&mut Cli::command(), context.output),
    }
}
