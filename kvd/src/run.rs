//! The daemon as a process: starts what the flags ask for, waits for a signal, exits with a code.
//!
//! A start that is refused ends with one line on standard error that begins with `error: `. A node that fails later
//! has said so in its log, and nothing is added to that.

use crate::cli::{Cli, Command, DevArgs, NodeArgs, exit_code};
use crate::config::{ConfigError, OPEN_FILES_MAX};
use crate::dev::{DevError, Nodes, Options};
use crate::logging::{Logging, node_span};
use crate::offline::{self, OfflineError};
use crate::server::{FatalError, Server, StartError, listen_on_all};
use crate::storage::StorageError;
use clap::{CommandFactory as _, FromArgMatches as _};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Variables of the daemon begin with this.
const VARIABLES_PREFIX: &str = "KVD_";

/// An address that is not there yet is waited for so long. A supervisor that gives up after five starts within a minute, as
/// `deploy/kvd.service` does, never gives up a node that only waits for its address.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two attempts.
const ADDRESS_PAUSE: Duration = Duration::from_millis(200);

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
        Some(Command::Dev(args)) => run_nodes(args.nodes.into(), |open_files| run_dev(args, open_files)),
        None => run_nodes(1, |open_files| run_node(cli.node, open_files)),
    }
}

/// Runs what `nodes` makes of the number of files that the process may have open. `count` is the number of nodes.
fn run_nodes<F: Future<Output = Ended>>(count: u64, nodes: impl FnOnce(u64) -> F) -> Ended {
    let open_files = raise_open_files_limit(count);
    // On a machine of its own one thread serves more than two would, and a node shares its machine
    // with the disk's threads anyway.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::Refused { code: exit_code::FAILED, error: cause.to_string() })?;
    let ended = runtime.block_on(nodes(open_files));
    // What still waits for a disk must not keep the process.
    runtime.shutdown_background();
    ended
}

fn offline_failed(error: OfflineError) -> Failure {
    let code = match &error {
        OfflineError::Usage(_) | OfflineError::File { .. } | OfflineError::Backup { .. } => exit_code::USAGE,
        OfflineError::NotConfirmed(_) | OfflineError::NotYet(_) => exit_code::FAILED,
        OfflineError::DataDir { .. }
        | OfflineError::Restore { .. }
        | OfflineError::Recover { .. }
        | OfflineError::Refound { .. } => exit_code::STORAGE,
    };
    Failure::Refused { code, error: error.to_string() }
}

/// Allows as many open files as the system lets this user have, since the usual soft limit is below the number of connections
/// that a node can serve. Returns how many this process may have open: connections, log, snapshots and the other nodes share
/// them.
fn raise_open_files_limit(nodes: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let useful = OPEN_FILES_MAX.saturating_mul(nodes);
    let wanted = maximum.map_or(useful, |maximum| maximum.min(useful));
    if let Some(current) = current.filter(|current| *current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum };
        if let Err(cause) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("cannot raise the limit on open files from {current} to {wanted}: {cause}");
            return current;
        }
        return wanted;
    }
    current.unwrap_or(useful)
}

type Ended = Result<(), Failure>;

/// Why the process ends before it was asked to, or otherwise than it was asked to.
enum Failure {
    /// It never served: the error is still to be said.
    Refused { code: u8, error: String },
    /// Its log says why.
    Logged { code: u8 },
}

async fn run_node(args: NodeArgs, open_files: u64) -> Ended {
    let mut signals = StopSignals::new()?;
    let settled = async {
        let may_come = |error: &ConfigError| matches!(error, ConfigError::NotYet(_));
        let config = patiently(ADDRESS_PATIENCE, || args.clone().config(open_files), may_come).await;
        let config = config.map_err(|error| config_failed(&error))?;
        let listeners = patiently(ADDRESS_PATIENCE, || listen_on_all(&config.listen), is_address_missing).await;
        Ok::<_, Failure>((config, listeners.map_err(start_failed)?))
    };
    let (config, listeners) = tokio::select! {
        settled = settled => settled?,
        _ = signals.next() => return Ok(()),
    };
    let starting = node_span(&config.name);
    let mut server = tokio::select! {
        started = Server::start(config, listeners) => started.map_err(start_failed)?,
        // What is being read can be read again.
        signal = signals.next() => {
            starting.in_scope(|| tracing::info!("stopping on {signal}, before serving"));
            return Ok(());
        }
    };
    tokio::select! {
        signal = signals.next() => server.span().in_scope(|| tracing::info!("stopping on {signal}")),
        failure = server.failed() => return Err(fatal(failure)),
    }
    tokio::select! {
        stopped = server.stop() => stopped.map_err(|failure| fatal(&failure)),
        _ = signals.next() => Err(interrupted()),
    }
}

/// Tries again for so long what fails only because an address is missing: while a machine boots, a name may be
/// unknown and an interface without its address for a while.
async fn patiently<T, E: Display>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
    is_address_missing: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    let mut is_warned = false;
    loop {
        match attempt() {
            Err(error) if is_address_missing(&error) && Instant::now() < deadline => {
                if !is_warned {
                    is_warned = true;
                    tracing::warn!("{error}; retrying for {} s", patience.as_secs());
                }
                tokio::time::sleep(ADDRESS_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

fn is_address_missing(error: &StartError) -> bool {
    matches!(error, StartError::Listen { cause, .. } if cause.kind() == ErrorKind::AddrNotAvailable)
}

async fn run_dev(args: DevArgs, open_files: u64) -> Ended {
    let DevArgs { nodes, base_port, data_dir } = args;
    let mut signals = StopSignals::new()?;
    let options = Options { nodes, base_port, data_dir: Some(data_dir.clone()), open_files };
    let mut nodes = tokio::select! {
        started = Nodes::start(&options) => started.map_err(dev_start_failed)?,
        _ = signals.next() => return Ok(()),
    };
    // Last of all that a start prints, or the log of the election would push it out of sight.
    tokio::select! {
        () = nodes.settled() => say(&banner(nodes.urls(), &data_dir, &kvctl_command())),
        _ = signals.next() => return stop_dev(nodes, &mut signals, &data_dir).await,
    }
    tokio::select! {
        signal = signals.next() => tracing::info!("stopping on {signal}"),
        failure = nodes.failed() => return Err(fatal(failure)),
    }
    stop_dev(nodes, &mut signals, &data_dir).await
}

async fn stop_dev(nodes: Nodes, signals: &mut StopSignals, data_dir: &Path) -> Ended {
    say(&format!("\nstopping; the data stays in {}", data_dir.display()));
    tokio::select! {
        stopped = nodes.stop() => stopped.map_err(|failure| fatal(&failure)),
        _ = signals.next() => Err(interrupted()),
    }
}

/// Prints for whoever looks on. If nobody does any more (`kvd dev | head`), the cluster runs all the same.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `kvctl` is the command that runs it, if there is one.
fn banner(urls: &[String], data_dir: &Path, kvctl: &str) -> String {
    let (version, count, dir) = (env!("CARGO_PKG_VERSION"), urls.len(), data_dir.display());
    let nodes: String = urls.iter().zip(1..).map(|(url, number)| format!("  node{number}  {url}\n")).collect();
    let (first, last) = (&urls[0], &urls[urls.len() - 1]);
    let endpoints = endpoints_flag(urls);
    format!(
        "kvd {version}: {count} nodes, data in {dir}\n\n{nodes}\ntry in another terminal:\n\n  \
         curl -X POST {first}/set -d '{{\"key\":\"color\",\"value\":\"blue\"}}'\n  \
         curl \"{last}/get?key=color\"\n  \
         {kvctl}{endpoints} status\n\n\
         Ctrl-C stops the cluster.\n"
    )
}

/// The command that runs kvctl for whoever has started this: by its name, if the shell finds it so; else the one beside
/// this program; else as cargo does, which builds it first.
fn kvctl_command() -> String {
    const NAME: &str = "kvctl";
    let in_path = |path: OsString| env::split_paths(&path).any(|dir| dir.join(NAME).is_file());
    if env::var_os("PATH").is_some_and(in_path) {
        return NAME.to_owned();
    }
    let beside = env::current_exe().ok().map(|program| program.with_file_name(NAME)).filter(|kvctl| kvctl.is_file());
    match (beside, env::current_dir()) {
        (Some(kvctl), Ok(dir)) => kvctl.strip_prefix(dir).unwrap_or(&kvctl).display().to_string(),
        (Some(kvctl), Err(_)) => kvctl.display().to_string(),
        (None, _) => "cargo run --release -p kvctl --".to_owned(),
    }
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

    /// Completes with the next of them; its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

fn config_failed(error: &ConfigError) -> Failure {
    Failure::Refused { code: config_code(error), error: error.to_string() }
}

fn config_code(error: &ConfigError) -> u8 {
    match error {
        ConfigError::Wrong(_) => exit_code::USAGE,
        ConfigError::NotYet(_) => exit_code::FAILED,
    }
}

/// An address may come, and a program that listens there may end. Rights, and kinds of addresses, come by no waiting.
fn listen_code(cause: &io::Error) -> u8 {
    let is_for_operator = cause.kind() == ErrorKind::PermissionDenied || is_errno(cause, Errno::AFNOSUPPORT);
    if is_for_operator { exit_code::USAGE } else { exit_code::FAILED }
}

fn is_errno(cause: &io::Error, errno: Errno) -> bool {
    cause.raw_os_error() == Some(errno.raw_os_error())
}

fn start_failed(error: StartError) -> Failure {
    Failure::Refused { code: start_code(&error), error: error.to_string() }
}

fn start_code(error: &StartError) -> u8 {
    match error {
        StartError::Listen { cause, .. } => listen_code(cause),
        StartError::OtherNode { .. } | StartError::OtherCluster { .. } => exit_code::USAGE,
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
    }
}

fn dev_start_failed(error: DevError) -> Failure {
    let code = match &error {
        DevError::Start(error) => start_code(error),
        DevError::Listen { cause, .. } => listen_code(cause),
        DevError::Ports { .. } | DevError::OtherNodes { .. } => exit_code::USAGE,
        DevError::Config(error) => config_code(error),
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
    tracing::warn!("exiting at once on the second signal; every acknowledged write is on disk");
    Failure::Logged { code: exit_code::INTERRUPTED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_waiting_heals_ends_with_2() {
        let address = "127.0.0.1:1".parse().expect("an address");
        for (errno, expected) in [
            (Errno::ADDRNOTAVAIL, exit_code::FAILED),
            (Errno::ADDRINUSE, exit_code::FAILED),
            (Errno::MFILE, exit_code::FAILED),
            (Errno::NOMEM, exit_code::FAILED),
            (Errno::ACCESS, exit_code::USAGE),
            (Errno::PERM, exit_code::USAGE),
            (Errno::AFNOSUPPORT, exit_code::USAGE),
        ] {
            let cause = || io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(start_code(&StartError::Listen { address, cause: cause() }), expected, "{errno:?}");
            let Failure::Refused { code, .. } =
                dev_start_failed(DevError::Listen { base_port: 1, address, cause: cause() })
            else {
                panic!("it never served")
            };
            assert_eq!(code, expected, "{errno:?}");
        }
        assert_eq!(config_code(&ConfigError::Wrong(String::new())), exit_code::USAGE);
        assert_eq!(config_code(&ConfigError::NotYet(String::new())), exit_code::FAILED);
    }

    #[tokio::test]
    async fn what_is_missing_is_waited_for_and_nothing_else_is() {
        let (long, short) = (Duration::from_secs(3600), Duration::from_millis(1));
        let mut attempts = 0;
        let comes = || {
            attempts += 1;
            if attempts < 3 { Err("missing") } else { Ok(()) }
        };
        assert_eq!(patiently(long, comes, |error| *error == "missing").await, Ok(()));
        assert_eq!(attempts, 3);
        assert_eq!(patiently(long, || Err::<(), _>("wrong"), |error| *error == "missing").await, Err("wrong"));
        let began = Instant::now();
        assert_eq!(patiently(short, || Err::<(), _>("missing"), |_| true).await, Err("missing"));
        assert!(began.elapsed() >= short);
    }
}
