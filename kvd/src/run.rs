//! The daemon as a process: starts what the flags ask for, waits for a signal, exits with a code.

use crate::cli::{Cli, Command, DevArgs, exit_code};
use crate::config::Config;
use crate::dev::{DevError, Nodes, Options};
use crate::server::{FatalError, Server, StartError, listen};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::future::Future;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Open files that are enough for every connection served, and for the log.
const OPEN_FILES_WANTED: u64 = 16_384;

/// Runs the daemon to its end.
pub fn run(cli: Cli) -> ExitCode {
    if let Err(error) = crate::logging::init(cli.log_format) {
        return failed(exit_code::USAGE, &error);
    }
    raise_open_files_limit();
    // On a machine of its own one thread serves more than two would, and a node shares its machine
    // with the disk's threads anyway.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(exit_code::FAILED, &error),
    };
    let ended = match cli.command {
        Some(Command::Dev(args)) => runtime.block_on(run_dev(args)),
        None => match cli.node.config() {
            Ok(config) => runtime.block_on(run_node(config)),
            Err(error) => return failed(exit_code::USAGE, &error),
        },
    };
    match ended {
        Ok(()) => ExitCode::from(exit_code::DONE),
        Err((code, error)) => failed(code, &error),
    }
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

type Ended = Result<(), (u8, String)>;

async fn run_node(config: Config) -> Ended {
    let stopped = stop_signal()?;
    let listener = listen(config.listen).map_err(start_failed)?;
    let mut server = Server::start(config, listener).await.map_err(start_failed)?;
    tokio::select! {
        () = stopped => {}
        error = server.failed() => return Err(fatal(error)),
    }
    server.stop().await.map_err(fatal)
}

async fn run_dev(args: DevArgs) -> Ended {
    let DevArgs { nodes, base_port, data_dir } = args;
    let stopped = stop_signal()?;
    let options = Options { nodes, base_port, data_dir: Some(data_dir.clone()) };
    let mut nodes = Nodes::start(&options).await.map_err(|error| match error {
        DevError::Start(error) => start_failed(error),
        error @ (DevError::Ports { .. } | DevError::Listen { .. } | DevError::Config(_)) => {
            (exit_code::USAGE, error.to_string())
        }
        error @ DevError::Resources(_) => (exit_code::FAILED, error.to_string()),
    })?;
    banner(nodes.urls(), &data_dir);
    tokio::select! {
        () = stopped => {}
        error = nodes.failed() => return Err(fatal(error)),
    }
    println!("\nstopping; the data stays in {}", data_dir.display());
    nodes.stop().await.map_err(fatal)
}

fn banner(urls: &[String], data_dir: &std::path::Path) {
    let last = urls.last().map_or("", String::as_str);
    println!("kvd {}: {} nodes, data in {}\n", env!("CARGO_PKG_VERSION"), urls.len(), data_dir.display());
    for (url, number) in urls.iter().zip(1..) {
        println!("  node{number}  {url}");
    }
    println!("\ntry in another terminal:\n");
    println!("  curl -L -X POST {}/set -d '{{\"key\":\"color\",\"value\":\"blue\"}}'", urls[0]);
    println!("  curl \"{last}/get?key=color\"");
    println!("  cargo run --release -p kvctl --{} status", endpoints_flag(urls));
    println!("\nCtrl-C stops the cluster.\n");
}

/// What kvctl has to be told to find these nodes: nothing, if they are where it looks by itself.
fn endpoints_flag(urls: &[String]) -> String {
    let expected = ["http://127.0.0.1:8081", "http://127.0.0.1:8082", "http://127.0.0.1:8083"];
    if urls == expected { String::new() } else { format!(" --endpoints {}", urls.join(",")) }
}

/// Completes when the process is asked to end.
fn stop_signal() -> Result<impl Future<Output = ()>, (u8, String)> {
    let on = |kind| signal(kind).map_err(|cause| (exit_code::FAILED, format!("cannot wait for signals: {cause}")));
    let (mut interrupt, mut terminate): (Signal, Signal) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn start_failed(error: StartError) -> (u8, String) {
    let code = match &error {
        StartError::Listen { .. } | StartError::OtherCluster { .. } => exit_code::USAGE,
        StartError::DataDir { .. } | StartError::Storage { .. } | StartError::LogMissing { .. } => exit_code::STORAGE,
        StartError::Resources(_) => exit_code::FAILED,
    };
    (code, error.to_string())
}

fn fatal(error: FatalError) -> (u8, String) {
    let code = match &error {
        FatalError::Disk(_) => exit_code::STORAGE,
        FatalError::OtherCluster(_) => exit_code::USAGE,
        FatalError::Panicked => exit_code::FAILED,
    };
    (code, error.to_string())
}

fn failed(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}
