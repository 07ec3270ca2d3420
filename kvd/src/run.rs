//! The daemon as a process: starts as the flags say, waits for a signal, exits with a code.
//!
//! A refused start ends with one line on standard error that begins with `error: `. A node that fails later has already
//! logged the reason, and nothing is added to that.

use crate::cli::{Cli, Command, DevArgs, NodeArgs, exit_code};
use crate::config::{ConfigError, OPEN_FILES_MAX};
use crate::dev::{Cluster, DevError, Options};
use crate::logging::{LogFormat, Logging, node_span};
use crate::offline::{self, OfflineError};
use crate::server::{FatalError, Server, StartError, listen_on_all};
use crate::storage::StorageError;
use clap::{CommandFactory as _, FromArgMatches as _};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::fmt::Display;
use std::future;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Prefix of the daemon's environment variables.
const VARIABLES_PREFIX: &str = "KVD_";

/// Longest wait for a listen address that does not exist yet. A supervisor that gives up after five starts within a
/// minute, as `deploy/kvd.service` does, never gives up a node that only waits for its address.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two attempts to listen.
const ADDRESS_PAUSE: Duration = Duration::from_millis(200);

/// Runs the daemon to its end, with this command line (its first word is the program) and the environment.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = kvd_cli::without_empty_variables(Cli::command());
    let cli = match command.try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Failing to print help to a closed pipe is not an error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit_code::USAGE } else { exit_code::DONE });
        }
    };
    let logging = match Logging::begin(cli.log_format) {
        Ok(logging) => logging,
        Err(error) => {
            // If standard error is closed, nobody is left to tell.
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
        Some(Command::Dev(args)) => block_on(run_dev(args, cli.log_format)),
        None => block_on(run_node(cli.node, raise_open_files_limit())),
    }
}

/// Runs `work` on a runtime of one thread.
fn block_on(work: impl Future<Output = Ended>) -> Ended {
    // Even on a dedicated machine one thread serves more than two would, and a node shares its machine with the disk's
    // threads anyway.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Failure::Refused { code: exit_code::FAILED, error: cause.to_string() })?;
    let ended = runtime.block_on(work);
    // A task that still waits for a disk must not keep the process.
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

/// Raises the limit of open files to the most that the system allows this user, since the usual soft limit is below the
/// number of connections that a node can serve. Returns the limit for this process; connections, log, snapshots and the
/// streams to other nodes share it.
fn raise_open_files_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES_MAX, |maximum| maximum.min(OPEN_FILES_MAX));
    if let Some(current) = current.filter(|current| *current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum };
        if let Err(cause) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("cannot raise the limit on open files from {current} to {wanted}: {cause}");
            return current;
        }
        return wanted;
    }
    current.unwrap_or(OPEN_FILES_MAX)
}

type Ended = Result<(), Failure>;

/// Reason why the process ends unasked, or differently than asked.
enum Failure {
    /// The node never served: the error has yet to be printed.
    Refused { code: u8, error: String },
    /// The node's log has the reason.
    Logged { code: u8 },
}

async fn run_node(args: NodeArgs, open_files: u64) -> Ended {
    let mut signals = StopSignals::new(args.until_stdin_ends)?;
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
        // Anything that is being read can be read again.
        signal = signals.next() => {
            starting.in_scope(|| tracing::info!("stopping on {signal}, before serving"));
            return Ok(());
        }
    };
    let signal = tokio::select! {
        signal = signals.next() => signal,
        failure = server.failed() => return Err(fatal(failure)),
    };
    server.span().in_scope(|| tracing::info!("stopping on {signal}"));
    let stopped = async {
        match signal {
            END_OF_STDIN => server.stop_with_cluster().await,
            _ => server.stop().await,
        }
    };
    tokio::select! {
        stopped = stopped => stopped.map_err(|failure| fatal(&failure)),
        _ = signals.next() => Err(interrupted()),
    }
}

/// Retries for a limited time if an attempt fails only because an address is missing: while a machine boots, a name may
/// be unknown for a while, and an interface without its address.
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

async fn run_dev(args: DevArgs, log_format: LogFormat) -> Ended {
    let DevArgs { nodes, base_port, data_dir } = args;
    let mut signals = StopSignals::new(false)?;
    let mut cluster = Cluster::start(Options { nodes, base_port, data_dir, log_format }).map_err(dev_failed)?;
    let ended = tokio::select! {
        error = cluster.run() => Err(dev_failed(error)),
        signal = signals.next() => {
            tracing::info!("stopping on {signal}");
            Ok(())
        }
    };
    let stopped = tokio::select! {
        stopped = cluster.stop() => stopped.map_err(dev_failed),
        // Dropping the cluster kills its processes.
        _ = signals.next() => Err(interrupted()),
    };
    ended.and(stopped)
}

/// Counts as a signal: `kvd dev` stops, or has ended, and all nodes of its cluster stop too.
const END_OF_STDIN: &str = "the end of `kvd dev`";

/// Signals that ask the process to end. The first asks for a clean stop, another for an immediate end.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    /// Ends with standard input, if that end counts as a signal and has not come yet.
    stdin: Option<JoinHandle<()>>,
}

impl StopSignals {
    /// Starts to listen for signals, and for the end of standard input if `with_stdin` is set.
    fn new(with_stdin: bool) -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|cause| Failure::Refused {
                code: exit_code::FAILED,
                error: format!("cannot wait for signals: {cause}"),
            })
        };
        // An input that cannot be read counts as ended.
        let read = || drop(io::copy(&mut io::stdin(), &mut io::sink()));
        let stdin = with_stdin.then(|| tokio::task::spawn_blocking(read));
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())?, stdin })
    }

    /// Waits for the next signal and returns its name.
    async fn next(&mut self) -> &'static str {
        let Self { interrupt, terminate, stdin } = self;
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            () = stdin_ends(stdin) => END_OF_STDIN,
        }
    }
}

/// Completes at most once.
async fn stdin_ends(stdin: &mut Option<JoinHandle<()>>) {
    match stdin {
        Some(reading) => {
            // If the reading task panics, nobody reads any longer.
            let _ = reading.await;
            *stdin = None;
        }
        None => future::pending().await,
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

/// Returns the exit code for a failure to listen. An address may appear, and a program that listens there may end.
/// Missing rights and wrong kinds of addresses do not resolve themselves.
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

fn dev_failed(error: DevError) -> Failure {
    let code = match &error {
        DevError::Listen { cause, .. } => listen_code(cause),
        DevError::Ports { .. } | DevError::OtherNodes { .. } => exit_code::USAGE,
        DevError::Spawn { .. } => exit_code::FAILED,
        DevError::Ended { code, .. } => {
            // The node's own reason is the error.
            tracing::error!("{error}");
            return Failure::Logged { code: *code };
        }
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
            let Failure::Refused { code, .. } = dev_failed(DevError::Listen { base_port: 1, address, cause: cause() })
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
