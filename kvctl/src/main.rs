//! The command line of kvd: `kvctl set color blue`, `kvctl get color`, `kvctl status`.
//!
//! A command calls [`kvclient`] and prints what came back; everything about leaders, redirects and retries is
//! the client's business. This file reads flags and environment into [`Cli`], hands the command to the file of
//! its group, and ends the process with the exit code of [`exit`]. What reaches the screen goes through
//! [`output`].

mod bench;
mod cluster;
mod completions;
mod exit;
mod interrupt;
mod keys;
mod members;
mod output;
mod progress;
mod snapshot;
mod transfer;
mod units;
mod usage;
mod watch;

use anyhow::Context as _;
use clap::{Args, FromArgMatches as _, Parser, Subcommand};
use exit::Exit;
use interrupt::Interrupt;
use kvclient::Client;
use output::{Format, Output};
use std::process::ExitCode;
use std::time::Duration;

/// Where `kvd dev` listens.
const ENDPOINTS_DEFAULT: &str = "http://127.0.0.1:8081,http://127.0.0.1:8082,http://127.0.0.1:8083";

const EXAMPLES: &str = "\
Examples:
  kvctl set color blue                    write a key
  kvctl get color                         read it back
  kvctl set lock me --if-absent           write only if nobody else has
  kvctl -e 10.0.0.1:8081,10.0.0.2:8081 status
                                          ask another cluster how it is
  kvctl status -o json | jq .leader       the same for programs
  kvctl watch-leader                      follow elections as they happen
  kvctl snapshot save kvd.snap            back up the whole store";

/// Reads and writes a kvd cluster, shows its state and measures it.
///
/// kvctl finds the leader by itself: any endpoint of the cluster will do, and several keep it working
/// while a node is down.
#[derive(Parser)]
#[command(name = "kvctl", version, max_term_width = 100, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = after_help())]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}\n\nColours are for terminals; set NO_COLOR to do without.", exit::HELP)
}

/// Flags that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Nodes of the cluster, comma-separated; the others are learnt from them. `http://` may be left out
    #[arg(short, long, global = true, value_name = "URL,...", env = "KVCTL_ENDPOINTS", value_delimiter = ',')]
    #[arg(default_value = ENDPOINTS_DEFAULT, hide_default_value = true, value_parser = usage::endpoint)]
    #[arg(
        long_help = "Nodes of the cluster, comma-separated; the others are learnt from them. `http://` may be left \
        out. Default: the three nodes of `kvd dev`, 127.0.0.1:8081 to 8083"
    )]
    endpoints: Vec<String>,
    /// Longest time for one operation, all its retries included: `5s`, `500ms`, or plain seconds
    #[arg(short, long, global = true, value_name = "TIME", env = "KVCTL_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = usage::timeout)]
    timeout: Duration,
    /// For people (`table`) or for programs (`json`)
    #[arg(short, long, global = true, value_name = "FORMAT", env = "KVCTL_OUTPUT", default_value = "table")]
    output: Format,
}

#[derive(Subcommand)]
enum Command {
    Set(keys::Set),
    Get(keys::Get),
    Delete(keys::Delete),
    Status(cluster::Status),
    Members(members::Members),
    Member(members::MemberCommand),
    Leader(cluster::Leader),
    TransferLeader(transfer::TransferLeader),
    WatchLeader(watch::WatchLeader),
    Snapshot(snapshot::Snapshot),
    Bench(bench::Bench),
    Completions(completions::Completions),
}

/// What a command works with.
struct Context {
    client: Client,
    output: Output,
    interrupt: Interrupt,
}

fn main() -> ExitCode {
    let parsed = usage::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => match run(cli) {
            Ok(()) => Exit::Done.into(),
            Err(error) => exit::report(&error).into(),
        },
        Err(error) => usage::report(&error).into(),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let output = Output::new(cli.global.output);
    if let Command::Completions(command) = cli.command {
        return command.run(output);
    }
    let interrupt = Interrupt::install().context("cannot listen for interrupts")?;
    let client = Client::builder().endpoints(&cli.global.endpoints).total_timeout(cli.global.timeout).build()?;
    let context = Context { client, output, interrupt };
    match cli.command {
        Command::Set(command) => command.run(context),
        Command::Get(command) => command.run(context),
        Command::Delete(command) => command.run(context),
        Command::Status(command) => command.run(context),
        Command::Members(command) => command.run(context),
        Command::Member(command) => command.run(context),
        Command::Leader(command) => command.run(context),
        Command::TransferLeader(command) => command.run(context),
        Command::WatchLeader(command) => command.run(context),
        Command::Snapshot(command) => command.run(context),
        Command::Bench(command) => command.run(context),
        Command::Completions(command) => command.run(context.output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_endpoints_are_accepted() {
        for endpoint in ENDPOINTS_DEFAULT.split(',') {
            assert_eq!(usage::endpoint(endpoint).as_deref(), Ok(endpoint));
        }
    }
}
