//! A node in a process of its own, which is restarted when it has ended.

use super::error::DevError;
use crate::cli::exit_code;
use crate::server::STOP_TIME_MAX;
use rustix::process::{Pid, Signal, kill_process};
use std::env;
use std::ffi::OsString;
use std::future;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep_until, timeout};

/// Time between the end of a process and the next start: long enough to see how the other nodes do without it.
pub(super) const RESTART_PAUSE: Duration = Duration::from_secs(5);

/// A node whose processes end this many times in a row before they have caught up is not restarted.
const FAILURES_MAX: u32 = 3;

/// Time beyond [`STOP_TIME_MAX`] for a process to end. After that it is killed.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// A node, whether it runs or not.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) url: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    state: State,
    /// Number of processes in a row that ended before they had caught up.
    failures: u32,
}

#[derive(Debug)]
enum State {
    Running(Box<Process>),
    /// It has ended, and restarts at this time.
    Pausing {
        until: Instant,
    },
    /// It has ended and is not restarted.
    GivenUp,
}

#[derive(Debug)]
struct Process {
    child: Child,
    pid: u32,
    /// The process stops when this is dropped.
    lifeline: Option<ChildStdin>,
    has_caught_up: bool,
}

/// Event in the life of a node.
#[derive(Debug)]
pub(super) enum Event {
    /// Its process has ended.
    Ended(Ended),
    /// It is time to restart it.
    Due,
}

/// The end of a process.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) pid: u32,
    /// Description of the end, as the rest of a sentence about the node.
    pub(super) how: String,
    /// Its exit code, or a code that stands for a signal.
    pub(super) code: u8,
}

impl Node {
    /// Starts a node with these flags.
    pub(super) fn start(name: String, url: String, arguments: Vec<OsString>) -> Result<Self, DevError> {
        let program = env::current_exe().map_err(|cause| DevError::Spawn { name: name.clone(), cause })?;
        let mut node = Self { name, url, program, arguments, state: State::GivenUp, failures: 0 };
        node.spawn().map_err(|cause| DevError::Spawn { name: node.name.clone(), cause })?;
        Ok(node)
    }

    /// Starts a process of the node.
    fn spawn(&mut self) -> io::Result<()> {
        let mut command = Command::new(&self.program);
        if let Some(name) = env::args_os().next() {
            command.arg0(name);
        }
        // Variables that are set for nodes in general never applied to nodes of `kvd dev`.
        let variables = env::vars_os().map(|(name, _)| name);
        variables.filter(|name| name.as_encoded_bytes().starts_with(b"KVD_")).for_each(|name| {
            command.env_remove(name);
        });
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid = child.id().expect("nobody has waited for it yet");
        // Waiting for the process would close this pipe.
        let lifeline = child.stdin.take();
        self.state = State::Running(Box::new(Process { child, pid, lifeline, has_caught_up: false }));
        Ok(())
    }

    /// Restarts the node. If that fails, it is tried again after another pause.
    pub(super) fn restart(&mut self) {
        if let Err(cause) = self.spawn() {
            tracing::warn!("cannot start {}: {cause}", self.name);
            self.state = State::Pausing { until: Instant::now() + RESTART_PAUSE };
        }
    }

    /// Returns the id of its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process().map(|process| process.pid)
    }

    fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Running(process) => Some(process),
            State::Pausing { .. } | State::GivenUp => None,
        }
    }

    /// Returns whether its process runs and serves.
    pub(super) fn has_caught_up(&self) -> bool {
        self.process().is_some_and(|process| process.has_caught_up)
    }

    /// Notes that its process serves. Returns whether that is news.
    pub(super) fn set_caught_up(&mut self) -> bool {
        let State::Running(process) = &mut self.state else { return false };
        self.failures = 0;
        !std::mem::replace(&mut process.has_caught_up, true)
    }

    /// Returns whether it is never restarted.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp)
    }

    /// Waits for the end of its process, or until it is time for the next one.
    pub(super) async fn next_event(&mut self) -> Event {
        match &mut self.state {
            State::Running(process) => {
                let ended = process.ended().await;
                self.failures += u32::from(!process.has_caught_up);
                // A restart does not help in these cases.
                let is_useless = ended.code == exit_code::USAGE || self.failures >= FAILURES_MAX;
                let until = Instant::now() + RESTART_PAUSE;
                self.state = if is_useless { State::GivenUp } else { State::Pausing { until } };
                Event::Ended(ended)
            }
            State::Pausing { until } => {
                sleep_until(*until).await;
                Event::Due
            }
            State::GivenUp => future::pending().await,
        }
    }

    /// Stops its process after its requests in flight, and waits for its end.
    pub(super) async fn stop(&mut self) -> Result<(), DevError> {
        let State::Running(process) = &mut self.state else { return Ok(()) };
        drop(process.lifeline.take());
        if let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) {
            // A process that was paused by hand would not notice. If it has ended, this does nothing.
            let _ = kill_process(pid, Signal::CONT);
        }
        let ended = match timeout(STOP_TIME_MAX + STOP_MARGIN, process.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                // It may have ended by itself meanwhile.
                let _ = process.child.start_kill();
                process.ended().await
            }
        };
        self.state = State::GivenUp;
        let Ended { how, code, .. } = ended;
        if code == exit_code::DONE { Ok(()) } else { Err(DevError::Ended { name: self.name.clone(), how, code }) }
    }
}

impl Process {
    async fn ended(&mut self) -> Ended {
        let status = self.child.wait().await.expect("nobody else waits for this process");
        Ended { pid: self.pid, how: how(status), code: code(status) }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) if signal == Signal::KILL.as_raw() => "was killed (SIGKILL)".to_owned(),
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, code) => format!("ended with exit code {}", code.unwrap_or_default()),
    }
}

fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit_code::FAILED)
}
