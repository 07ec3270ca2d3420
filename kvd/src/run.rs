//! The daemon as a process: starts what the flags ask for, waits for a signal, exits with a code.
//!
//! A start that is refused ends with one line on standard error that begins with `error: `. A node that fails later
//! has said so in its log, and nothing is added to that.

use crate::cli::{Cli, Command, DevArgs, exit_code};
use crate::config::Config;
use crate::dev::{DevError, Nodes, Options};
use crate::logging::Logging;
use crate::offline::{self, OfflineError};
use crate::server::{FatalError, Server, StartError, listen};
use crate::storage::StorageError;
use clap::{CommandFactory as _, FromArgMatches as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Variables of the daemon begin with this.
const VARIABLES_PREFIX: &str = "KVD_";

/// Open files that are enough for every connection served, and for the log.
const OPEN_FILES_WANTED: u64 = 16_384;

/// Runs the daemon to its end, by this command line, of which the first word is the program, and the environment.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = kvd_cli::without_empty_variables(Cli::command());
    let cli = match command.try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that goes to a closed pipe is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit_code::USAGE } else { exit_code::DONE });
        }
    };
    let logging = match Logging::begin(cli.log_format) {
        Ok(logging) => logging,
        Err(error) => {
            // Nobody is left to be told where standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            return ExitCode::from(exit_code::USAGE);
        }
    };
    for sentence in kvd_cli::unknown_variables(&Cli::command(), VARIABLES_PREFIX) {
        tracing::warn!("{sentence}");
    }
    let (code, error) = match run_command(cli) {
        Ok(()) => (exit_code::DONE, None),
        Err(Failure::Refused { code, error }) => (code, Some(format!("error: {error}"))),
        Err(Failure::Logged { code }) => (code, None),
    };
    logging.end(error.as_deref());
    ExitCode::from(code)
}

fn run_command(cli: Cli) -> Ended {
    match cli.command {
        Some(Command::Restore(args)) => offline::restore(args).map_err(offline_failed),
        Some(Command::Recover(args)) => offline::recover(args).map_err(offline_failed),
        Some(Command::Dev(args)) => run_nodes(run_dev(args)),
        None => {
            let config = cli.node.config().map_err(|error| Failure::Refused { code: exit_code::USAGE, error })?;
            run_nodes(run_node(config))
        }
    }
}

fn run_nodes(nodes: impl Future<Output = Ended>) -> Ended {
    raise_open_files_limit();
    // On a machine of its own one thread serves more than two would, and a node shares its machine
    // with the disk's threads anyway.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::Refused { code: exit_code::FAILED, error: cause.to_string() })?;
    let ended = runtime.block_on(nodes);
    // What still waits for a disk must not keep the process.
    runtime.shutdown_background();
    ended
}

fn offline_failed(error: OfflineError) -> Failure {
    let code = match &error {
        OfflineError::Usage(_) | OfflineError::File { .. } | OfflineError::Backup { .. } => exit_code::USAGE,
        OfflineError::NotConfirmed(_) => exit_code::FAILED,
        OfflineError::DataDir { .. }
        | OfflineError::Restore { .. }
        | OfflineError::Recover { .. }
        | OfflineError::Refound { .. } => exit_code::STORAGE,
    };
    Failure::Refused { code, error: error.to_string() }
}

/// Allows as many open files as the system lets this user have: connections and the log share them,
/// and the usual soft limit is below the number of connections served.
fn raise_open_files_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES_WANTED, |maximum| maximum.min(OPEN_FILES_WANTED));
    if current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum };
        if let Err(cause) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("cannot raise the limit on open files to {wanted}: {cause}");
        }
    }
}

type Ended = Result<(), Failure>;

/// Why the process ends before it was asked to, or otherwise than it was asked to.
enum Failure {
    /// It never served: the error is still to be said.
    Refused { code: u8, error: String },
    /// Its log says why.
    Logged { code: u8 },
}

async fn run_node(config: Config) -> Ended {
    let mut signals = StopSignals::new()?;
    let listener = listen(config.listen).map_err(start_failed)?;
    let mut server = tokio::select! {
        started = Server::start(config, listener) => started.map_err(start_failed)?,
        // What is being read can be read again.
        () = signals.next() => return Ok(()),
    };
    tokio::select! {
        () = signals.next() => {}
        failure = server.failed() => return Err(fatal(failure)),
    }
    tokio::select! {
        stopped = server.stop() => stopped.map_err(|failure| fatal(&failure)),
        () = signals.next() => Err(interrupted()),
    }
}

async fn run_dev(args: DevArgs) -> Ended {
    let DevArgs { nodes, base_port, data_dir } = args;
    let mut signals = StopSignals::new()?;
    let options = Options { nodes, base_port, data_dir: Some(data_dir.clone()) };
    let mut nodes = tokio::select! {
        started = Nodes::start(&options) => started.map_err(dev_start_failed)?,
        () = signals.next() => return Ok(()),
    };
    say(&banner(nodes.urls(), &data_dir));
    tokio::select! {
        () = signals.next() => {}
        failure = nodes.failed() => return Err(fatal(failure)),
    }
    say(&format!("\nstopping; the data stays in {}", data_dir.display()));
    tokio::select! {
        stopped = nodes.stop() => stopped.map_err(|failure| fatal(&failure)),
        () = signals.next() => Err(interrupted()),
    }
}

/// Prints for whoever looks on. If nobody does any more (`kvd dev | head`), the cluster runs all the same.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn banner(urls: &[String], data_dir: &Path) -> String {
    let (version, count, dir) = (env!("CARGO_PKG_VERSION"), urls.len(), data_dir.display());
    let nodes: String = urls.iter().zip(1..).map(|(url, number)| format!("  node{number}  {url}\n")).collect();
    let (first, last) = (&urls[0], &urls[urls.len() - 1]);
    let endpoints = endpoints_flag(urls);
    format!(
        "kvd {version}: {count} nodes, data in {dir}\n\n{nodes}\ntry in another terminal:\n\n  \
         curl -L -X POST {first}/set -d '{{\"key\":\"color\",\"value\":\"blue\"}}'\n  \
         curl \"{last}/get?key=color\"\n  \
         cargo run --release -p kvctl --{endpoints} status\n\n\
         Ctrl-C stops the cluster.\n"
    )
}

/// What kvctl has to be told to find these nodes: nothing, if they are where it looks by itself.
fn endpoints_flag(urls: &[String]) -> String {
    let expected = ["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"];
    if urls == expected { String::new() } else { format!(" --endpoints {}", urls.join(",")) }
}

/// The signals by which the process is asked to end. The first is for ending well, another for ending at once.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|cause| Failure::Refused {
                code: exit_code::FAILED,
                error: format!("cannot wait for signals: {cause}"),
            })
        };
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    /// Completes with the next of them.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn start_failed(error: StartError) -> Failure {
    let code = match &error {
        StartError::Listen { .. } | StartError::OtherNode { .. } | StartError::OtherCluster { .. } => exit_code::USAGE,
        StartError::Storage { cause: StorageError::OtherNode { .. } | StorageError::OtherCluster { .. }, .. } => {
            exit_code::USAGE
        }
        StartError::DataDir { .. }
        | StartError::Storage { .. }
        | StartError::UnreadableEntry { .. }
        | StartError::UnreadableSnapshot { .. }
        | StartError::Level { .. }
        | StartError::LogMissing { .. }
        | StartError::Remains { .. }
        | StartError::Diverged { .. }
        | StartError::RestoreUnfinished { .. } => exit_code::STORAGE,
        StartError::Resources(_) | StartError::Panicked => exit_code::FAILED,
    };
    Failure::Refused { code, error: error.to_string() }
}

fn dev_start_failed(error: DevError) -> Failure {
    let code = match error {
        DevError::Start(error) => return start_failed(error),
        DevError::Ports { .. } | DevError::Listen { .. } | DevError::OtherNodes { .. } | DevError::Config(_) => {
            exit_code::USAGE
        }
        DevError::Resources(_) => exit_code::FAILED,
    };
    Failure::Refused { code, error: error.to_string() }
}

fn fatal(failure: &FatalError) -> Failure {
    let code = match failure {
        FatalError::Disk { .. } => exit_code::STORAGE,
        FatalError::OtherCluster(_) => exit_code::USAGE,
        FatalError::Panicked | FatalError::Resources(_) | FatalError::StopTimedOut => exit_code::FAILED,
    };
    Failure::Logged { code }
}

fn interrupted() -> Failure {
    tracing::warn!("ends at once, asked for a second time; what was acknowledged is on disk");
    Failure::Logged { code: exit_code::INTERRUPTED }
}
