//! One daemon: its process, its data, its log.

use super::child::{KillOnDrop, send_signal, wait_for_end};
use super::program::Program;
use crate::http::{self, Reply};
use crate::port::Port;
use crate::wait::until;
use kvclient::Health;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// Place of the time in user mode among the numbers of `/proc/PID/stat` behind the name; the time in the kernel
/// follows.
const STAT_USER_TIME: usize = 11;

/// The hard limit on open files of nodes that have a limit.
const OPEN_FILES_MAX: u64 = 1024;

/// Lines of a node's log that a failed test shows.
const LOG_LINES_SHOWN: usize = 40;

/// A node of a cluster. Dropping it kills its process.
#[derive(Debug)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    address: String,
    /// Reserves the port of that address for this node, where other processes could take it.
    port: Option<Port>,
    program: Program,
    /// Command through which its processes are started.
    starter: Vec<String>,
    data_dir: PathBuf,
    /// Standard error of its processes, one after the other.
    log: PathBuf,
    /// Standard output of its processes, one after the other.
    output: PathBuf,
    /// Flags and their values.
    flags: BTreeMap<String, OsString>,
    env: Vec<(String, String)>,
    process: Option<Child>,
    paused: bool,
}

impl Node {
    /// Returns a node that keeps data and log in `dir`, not started yet.
    pub fn new(name: &str, port: Port, dir: &Path) -> Self {
        let address = format!("127.0.0.1:{}", port.number());
        let mut node = Self::at(name, address, dir);
        node.port = Some(port);
        node
    }

    /// Does the same with an address that no other process can take.
    pub fn at(name: &str, address: String, dir: &Path) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            address,
            port: None,
            program: Program::Kvd,
            starter: Vec::new(),
            data_dir: dir.join(name),
            log: dir.join(format!("{name}.log")),
            output: dir.join(format!("{name}.out")),
            flags: BTreeMap::new(),
            env: Vec::new(),
            process: None,
            paused: false,
        };
        node.set_flag("--name", name);
        node.set_flag("--listen", node.address.clone());
        node.set_flag("--data-dir", node.data_dir.clone());
        node
    }

    /// Sets a flag for all starts from now on.
    pub fn set_flag(&mut self, flag: &str, value: impl Into<OsString>) {
        self.flags.insert(flag.to_owned(), value.into());
    }

    /// Leaves a flag out of all starts from now on.
    pub fn remove_flag(&mut self, flag: &str) {
        self.flags.remove(flag);
    }

    /// Adds a variable to its environment for all starts from now on.
    pub fn add_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Makes its processes run another program from now on.
    pub fn set_program(&mut self, program: Program) {
        self.program = program;
    }

    /// From now on, starts its processes through a command that replaces itself with another command.
    pub fn run_through(&mut self, starter: &[impl AsRef<str>]) {
        self.starter = starter.iter().map(|word| word.as_ref().to_owned()).collect();
    }

    /// Returns the host and port where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the URL where clients and other nodes reach it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Returns the command line that starts it.
    pub fn command(&self) -> Command {
        self.command_with("--name", &self.name)
    }

    /// Does the same with another value for one flag.
    pub fn command_with(&self, flag: &str, value: impl Into<OsString>) -> Command {
        let mut flags = self.flags.clone();
        flags.insert(flag.to_owned(), value.into());
        let words = flags.into_iter().flat_map(|(flag, value)| [flag.into(), value]);
        let mut command = self.program.command(&self.starter, words);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts its process and returns at once.
    #[track_caller]
    pub fn start(&mut self) {
        self.start_as(self.command());
    }

    /// Starts a process with another command line in its place.
    #[track_caller]
    pub fn start_as(&mut self, mut command: Command) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let open = |path| File::options().create(true).append(true).open(path).expect("a file for what it says");
        self.process = Some(command.stdout(open(&self.output)).stderr(open(&self.log)).spawn().expect("kvd starts"));
    }

    /// Returns whether it was started, and neither killed nor paused.
    pub fn is_running(&self) -> bool {
        self.process.is_some() && !self.paused
    }

    /// Sends SIGKILL, and waits until the process has ended.
    pub fn kill(&mut self) {
        let mut child = self.process.take().expect("a running node");
        self.paused = false;
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }

    /// Sends SIGTERM, and waits; returns the exit code.
    #[track_caller]
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits until it ends by itself; returns the exit code.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        let code = wait_for_end(self.process.as_mut().expect("a running node"));
        self.process = None;
        code
    }

    /// Returns the exit code if it has ended by itself.
    pub fn has_ended(&mut self) -> Option<Option<i32>> {
        let child = self.process.as_mut().expect("a running node");
        let status = child.try_wait().expect("a child can be waited for")?;
        self.process = None;
        Some(status.code())
    }

    /// Sends SIGSTOP: from now on the process does nothing, and its connections stay open.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
    }

    /// Sends SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send_signal(self.process.as_ref().expect("a running node"), signal);
    }

    /// Returns its resident memory in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Returns the peak resident memory of its process in bytes. The kernel tracks it, so no peak is missed.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, what: &str) -> u64 {
        let child = self.process.as_ref().expect("a running node");
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("the state of a process");
        let size = status.lines().find_map(|line| line.strip_prefix(what)).expect("its memory");
        let kib: u64 = size.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kib * 1024
    }

    /// Returns the processor time that its process has taken so far, all threads together.
    pub fn cpu_time(&self) -> Duration {
        let child = self.process.as_ref().expect("a running node");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("the state of a process");
        // The name of the program comes second, in parentheses, and may contain anything.
        let (_, rest) = stat.rsplit_once(')').expect("the name of the program");
        let ticks = rest.split_whitespace().skip(STAT_USER_TIME).take(2).map(|ticks| ticks.parse::<u64>());
        let ticks: u64 = ticks.map(|ticks| ticks.expect("a number")).sum();
        Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second()).expect("a small number")
    }

    /// Returns the number of its open files and connections.
    pub fn open_files(&self) -> usize {
        let child = self.process.as_ref().expect("a running node");
        std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("the state of a process").count()
    }

    /// Limits its open files and connections from now on. Those that are open stay open.
    pub fn limit_open_files(&self, limit: u64) {
        let child = self.process.as_ref().expect("a running node");
        let limit = Rlimit { current: Some(limit), maximum: Some(limit.max(OPEN_FILES_MAX)) };
        prlimit(Some(Pid::from_child(child)), Resource::Nofile, limit).expect("a child can be limited");
    }

    /// Returns its health; `None` while it does not answer.
    pub fn health(&self) -> Option<Health> {
        self.get("/health").ok().map(|reply| reply.json())
    }

    /// Sends it a request, over a connection for this one request.
    pub fn get(&self, target: &str) -> std::io::Result<Reply> {
        http::get(&self.url(), target)
    }

    /// Does the same with a body.
    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> std::io::Result<Reply> {
        http::post(&self.url(), target, body)
    }

    /// Returns its log since its first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns its output since its first start.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it has logged a line that contains this text, and returns the line.
    #[track_caller]
    pub fn logged(&self, what: &str) -> String {
        let line = || self.log().lines().find(|line| line.contains(what)).map(str::to_owned);
        until(&format!("{} logs {what:?}", self.name), line)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.take().map(KillOnDrop));
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("--- last {} of {} lines of {}\n{}", shown.len(), lines.len(), self.name, shown.join("\n"));
        }
    }
}
