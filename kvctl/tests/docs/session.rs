//! Runs the blocks of a page, like a reader who has just built kvd and kvctl.

use crate::page::{Block, Fate, Kind, commands};
use crate::patterns::{Ports, common_form, is_passed_over, matches};
use rustix::process::{Pid, Signal, kill_process_group};
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::{DEADLINE, Port, run, until, without_settings};

/// Number of nodes on pages: three, and one that joins.
const NODES: u16 = 4;

/// Pause between two checks of another terminal's output.
const POLL: Duration = Duration::from_millis(20);

/// Time for background processes to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// The command that `kvd dev` prints for killing its leader, up to the process id.
const KILL: &str = "kill -9 ";

/// Separates the output of a command from its exit code.
const END_OF_COMMAND: char = '\u{1e}';

/// Replaces cargo: everything that a page builds with it has been built.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
  "run --release -p kvd -- "*) shift 5; exec kvd "$@" ;;
  "run --release -p kvctl -- "*) shift 5; exec kvctl "$@" ;;
esac
echo "the stand-in for cargo does not know: $*" >&2
exit 1
"#;

/// Makes curl show no progress, as on a terminal to which it prints a reply.
const CURLRC: &str = "silent\nshow-error\n";

/// The reader of one page: a directory, ports, and running processes.
pub(crate) struct Session {
    running: Vec<Running>,
    ports: Ports,
    _held: Vec<Port>,
    /// Declared after the processes, so that it is removed when nothing writes there any more.
    dir: TempDir,
}

/// A background command, with all processes that it starts.
struct Running {
    child: Child,
    output: PathBuf,
    /// Output required by the end, in common form.
    shown: Vec<String>,
    line: usize,
}

impl Running {
    /// Ends all its processes. They first get a signal to stop: nodes of `kvd dev` are in process groups of their own,
    /// and `kvd dev` waits for them.
    fn kill(&mut self) {
        let group = Pid::from_child(&self.child);
        let asked = kill_process_group(group, Signal::TERM);
        let began = Instant::now();
        while asked.is_ok() && runs(group) && began.elapsed() < STOP_TIME_MAX {
            thread::sleep(POLL);
        }
        // Processes of the group that have ended need no signal.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Returns whether a process of this group runs. A process that has ended remains until its parent asks for its exit
/// code.
fn runs(group: Pid) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let stats = processes.flatten().filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    // After the name of the program: state, parent, group.
    let group = group.to_string();
    stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned())).any(|rest| {
        let fields: Vec<&str> = rest.split(' ').take(3).collect();
        fields[0] != "Z" && fields.last() == Some(&&*group)
    })
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Session {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let held = Port::row(NODES);
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        fs::create_dir(dir.path().join("work")).expect("a directory");
        symlink(env::current_exe().expect("the path of this program"), bin.join("kvd")).expect("a link");
        symlink(env!("CARGO_BIN_EXE_kvctl"), bin.join("kvctl")).expect("a link");
        fs::write(bin.join("cargo"), CARGO).expect("a file");
        fs::write(dir.path().join(".curlrc"), CURLRC).expect("a file");
        fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).expect("a program");
        let ports = Ports(held.iter().map(Port::number).collect());
        Self { running: Vec::new(), ports, _held: held, dir }
    }

    /// Runs a block.
    ///
    /// # Errors
    /// A sentence about the difference between the run and the page.
    pub(crate) fn run(&mut self, block: &Block) -> Result<(), String> {
        match &block.fate {
            Fate::Run if block.kind == Kind::Other => Ok(()),
            Fate::Run if block.kind == Kind::Sh => self.run_sh(&block.text),
            Fate::Run => self.run_console(&block.text),
            Fate::Background => {
                self.end()?;
                let text = self.local(&block.text, None);
                self.start(&text, block)?;
                self.wait_until_ready(&text);
                Ok(())
            }
            Fate::OtherTerminal => {
                let text = self.local(&block.text, None);
                self.start(&text, block)?;
                self.wait_until_ready(&text);
                Ok(())
            }
            Fate::ThreeMachines => {
                self.end()?;
                let texts: Vec<String> = (1..=3).map(|machine| self.local(&block.text, Some(machine))).collect();
                texts.iter().try_for_each(|text| self.start(text, block))?;
                texts.iter().for_each(|text| self.wait_until_ready(text));
                Ok(())
            }
            Fate::NotRun | Fate::ByCompose | Fate::File(_) => Ok(()),
        }
    }

    /// Ends the background commands.
    ///
    /// # Errors
    /// If a command has not printed what the page shows.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        let running = std::mem::take(&mut self.running);
        for running in running.iter().filter(|running| !running.shown.is_empty()) {
            let shown: Vec<String> = running.shown.iter().cloned().chain(["...".to_owned()]).collect();
            let began = Instant::now();
            loop {
                let printed = self.lines(&fs::read_to_string(&running.output).unwrap_or_default());
                if matches(&shown, &printed) {
                    break;
                }
                if began.elapsed() > DEADLINE {
                    return Err(difference(running.line, &running.shown, &printed));
                }
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    // --- Kinds of blocks -----------------------------------------------------------------------------------------

    fn run_sh(&self, text: &str) -> Result<(), String> {
        let ended = run(&mut self.shell(&["-e", "-c", &self.local(text, None)]));
        if ended.code == Some(0) {
            Ok(())
        } else {
            Err(format!("ended with {:?}\n{}{}", ended.code, ended.stdout, ended.stderr))
        }
    }

    fn run_console(&self, text: &str) -> Result<(), String> {
        let commands = commands(text);
        let mut script = "exec 2>&1\n".to_owned();
        for (command, _) in &commands {
            script.push_str(&format!("{}\nprintf '{END_OF_COMMAND}%s\\n' $?\n", self.local(command, None)));
        }
        let ended = run(&mut self.shell(&["-c", &script]));
        let mut rest = &*ended.stdout;
        for (command, shown) in &commands {
            let (printed, after) = rest.split_once(END_OF_COMMAND).ok_or(format!("`{command}` broke off: {rest}"))?;
            let (code, after) = after.split_once('\n').unwrap_or_default();
            rest = after;
            let (shown, printed) = (self.lines(&shown.join("\n")), self.lines(printed));
            if !matches(&shown, &printed) {
                return Err(format!("`{command}`: {}", difference(0, &shown, &printed)));
            }
            let may_fail = shown.iter().any(|line| line.starts_with("error"));
            if code != "0" && !may_fail {
                return Err(format!("`{command}` ended with {code}"));
            }
        }
        Ok(())
    }

    fn start(&mut self, text: &str, block: &Block) -> Result<(), String> {
        let (text, shown) = match block.kind {
            Kind::Console => match &commands(text)[..] {
                [(command, shown)] => (command.clone(), self.lines(&shown.join("\n"))),
                _ => return Err("one command for another terminal".to_owned()),
            },
            Kind::Sh | Kind::Other => (text.to_owned(), Vec::new()),
        };
        let output = self.dir.path().join(format!("output-{}-{}", block.line, self.running.len()));
        let file = File::create(&output).expect("a file");
        let mut command = self.shell(&["-e", "-c", &text]);
        command.stdout(file.try_clone().expect("a file")).stderr(file).process_group(0);
        let child = command.spawn().expect("a shell starts");
        let speaks = !shown.is_empty();
        self.running.push(Running { child, output: output.clone(), shown, line: block.line });
        if speaks {
            // What comes next on the page happens while it listens.
            until("the other terminal shows a line", || fs::read_to_string(&output).ok()?.contains('\n').then_some(()));
        }
        Ok(())
    }

    /// Waits until every node that these commands start knows a leader.
    fn wait_until_ready(&self, text: &str) {
        let of_dev = text.contains("kvd dev") || text.contains("-p kvd -- dev");
        let listening = text.split("--listen ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        let dev = self.ports.0.iter().take(3).filter(|_| of_dev).map(|port| format!("127.0.0.1:{port}"));
        for address in listening.map(str::to_owned).chain(dev) {
            let probe = format!("curl -fs -o /dev/null http://{address}/readyz");
            until(&format!("{address} is ready"), || {
                (run(&mut self.shell(&["-c", &probe])).code == Some(0)).then_some(())
            });
        }
    }

    // --- Words ---------------------------------------------------------------------------------------------------

    /// Returns a shell in the reader's directory, without environment variables that would change the behaviour of
    /// programs.
    fn shell(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        without_settings(&mut command);
        let path = env::var("PATH").unwrap_or_default();
        let endpoints: Vec<String> =
            self.ports.0.iter().take(3).map(|port| format!("http://127.0.0.1:{port}")).collect();
        command
            .args(arguments)
            .current_dir(self.dir.path().join("work"))
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .env("HOME", self.dir.path())
            .env("CURL_HOME", self.dir.path())
            .env("KVD_DEV_BASE_PORT", self.ports.0[0].to_string())
            .env("KVCTL_ENDPOINTS", endpoints.join(","))
            .stdin(Stdio::null());
        command
    }

    /// Returns commands of the page with our ports and directories instead of those on the page. On each of several
    /// machines a node has its own name, address and directory.
    fn local(&self, text: &str, machine: Option<usize>) -> String {
        let mut text = text.to_owned();
        if let Some(machine) = machine {
            text = text.replace("--name node1", &format!("--name node{machine}"));
            text = text.replace("--listen 10.0.0.1:", &format!("--listen 10.0.0.{machine}:"));
        }
        let home = machine.map_or("machine".to_owned(), |machine| format!("machine{machine}"));
        let home: &Path = &self.dir.path().join(home);
        fs::create_dir_all(home.join("var/lib")).expect("a directory");
        let text = text.replace("/var/lib/kvd", &format!("{}", home.join("var/lib/kvd").display()));
        self.with_pid(&self.ports.ours(&text))
    }

    /// Returns the commands with the process id that `kvd dev` printed last instead of the one on the page.
    fn with_pid(&self, text: &str) -> String {
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        let Some((before, after)) = text.split_once(KILL) else { return text.to_owned() };
        let pid = until("kvd dev names its leader", || {
            let outputs = self.running.iter().map(|running| fs::read_to_string(&running.output).unwrap_or_default());
            outputs.filter_map(|output| Some(digits(output.rsplit_once(KILL)?.1))).next_back()
        });
        format!("{before}{KILL}{pid}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
    }

    /// Returns lines in common form, without our directories.
    fn lines(&self, text: &str) -> Vec<String> {
        let text = text.replace(&format!("{}/", self.dir.path().join("machine").display()), "/");
        let lines = text.trim_end().lines().map(|line| common_form(line, &self.ports));
        lines.filter(|line| !is_passed_over(line)).collect()
    }
}

fn difference(line: usize, shown: &[String], printed: &[String]) -> String {
    let at = if line > 0 { format!("line {line}: ") } else { String::new() };
    format!("{at}the page shows\n{}\n--- and printed was\n{}\n---", shown.join("\n"), printed.join("\n"))
}
