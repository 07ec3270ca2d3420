//! One cluster for all examples of a documentation.
//!
//! rustdoc compiles the examples into one program, and runs each in its own process, so they share no variables. They
//! share the process that starts them, and a directory named after it. There the first example leaves the address of a
//! host: its own program, started once more, which becomes the host when it asks for the cluster. The host ends as soon
//! as the process that starts the examples has ended, for whatever reason.
//!
//! Examples take turns, so that each has the cluster to itself, without any keys at first.

use crate::in_process::InProcess;
use crate::wait::until;
use kvclient::{Client, Range};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::env;
use std::fs::{self, File, TryLockError};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Tells a process that it must be the host, and for which process's end it waits.
const HOST_UNTIL_END_OF: &str = "TESTKIT_HOST_UNTIL_END_OF";

/// File that the host keeps locked while it runs, with the URL of a node on each line.
const ENDPOINTS: &str = "endpoints";

/// File locked by the example whose turn it is.
const TURN: &str = "turn";

/// File with the host's output.
const LOG: &str = "log";

/// The cluster of the examples, during the turn of one of them.
#[derive(Debug)]
pub struct DocCluster {
    endpoints: Vec<String>,
    _turn: File,
}

impl DocCluster {
    /// Waits for a turn, and starts the cluster if no earlier example has.
    pub fn take_turn() -> Self {
        if let Ok(pid) = env::var(HOST_UNTIL_END_OF) {
            host_until_end_of(pid.parse().expect("the id of a process"));
        }
        // Read once: an orphan has a different parent, which may never end.
        let parent = parent_id();
        let dir = dir_of_children(parent);
        fs::create_dir_all(&dir).expect("a directory");
        let turn = File::create(dir.join(TURN)).expect("a file");
        turn.lock().expect("a turn comes");
        let endpoints = hosted(&dir).unwrap_or_else(|| start_host(&dir, parent));
        let client = Client::connect(&endpoints).expect("URLs of nodes");
        client.delete_range(Range::All).expect("the cluster forms and serves");
        Self { endpoints, _turn: turn }
    }

    /// Returns the nodes' URLs, in the order of their names: `node1`, `node2`, `node3`.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }
}

/// Returns the directory where the children of a process find each other.
fn dir_of_children(parent: u32) -> PathBuf {
    env::temp_dir().join(format!("kvd-examples-{parent}"))
}

/// Returns the cluster of the host, if a host is running.
fn hosted(dir: &Path) -> Option<Vec<String>> {
    let file = File::open(dir.join(ENDPOINTS)).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let text = fs::read_to_string(dir.join(ENDPOINTS)).expect("it can be read");
            Some(text.lines().map(str::to_owned).collect())
        }
        Ok(()) => None,
        Err(TryLockError::Error(cause)) => panic!("{}: {cause}", dir.display()),
    }
}

/// Starts a host that runs as long as the parent of the examples, and waits for its cluster.
fn start_host(dir: &Path, parent: u32) -> Vec<String> {
    let log = dir.join(LOG);
    let mut command = Command::new(env::current_exe().expect("the path of this program"));
    command.env(HOST_UNTIL_END_OF, parent.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    // If the host shared its output, a reader of the example's output would wait for the end of the host as well.
    let mut host = command.stderr(File::create(&log).expect("a file")).spawn().expect("the host starts");
    until("there is a cluster for the examples", || {
        let ended = host.try_wait().expect("a child can be waited for");
        assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(&log).unwrap_or_default());
        hosted(dir)
    })
}

/// Keeps a cluster running for the children of a process, and exits after that process has ended.
fn host_until_end_of(parent: u32) -> ! {
    /// If all examples run as threads of one process, one of them is the host and the others wait here for its end.
    static HOST: Mutex<()> = Mutex::new(());
    let _host = HOST.lock();
    let pid = i32::try_from(parent).ok().and_then(Pid::from_raw).expect("the id of a process");
    let Ok(parent_ends) = pidfd_open(pid, PidfdFlags::empty()) else { std::process::exit(0) };
    let cluster = InProcess::start(3);
    let dir = dir_of_children(parent);
    // It gets its name only when it is locked and complete.
    let unfinished = dir.join(format!("{ENDPOINTS}.tmp"));
    let file = File::create(&unfinished).expect("a file");
    file.lock().expect("nobody else has it");
    fs::write(&unfinished, cluster.endpoints().join("\n")).expect("it can be written");
    fs::rename(&unfinished, dir.join(ENDPOINTS)).expect("it can be renamed");
    while poll(&mut [PollFd::new(&parent_ends, PollFlags::IN)], None).is_err() {}
    // If it stays behind, no process takes it for the directory of a running host.
    let _ = fs::remove_dir_all(dir);
    std::process::exit(0)
}
