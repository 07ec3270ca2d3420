//! Runs the real binary and looks at what it prints, where, and how it ends.

#![allow(dead_code, reason = "each test file uses its part")]

use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for the slowest machine, short enough for a test that hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// kvctl, with none of the environment that would change what it does.
pub(crate) fn kvctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvctl"));
    for variable in ["KVCTL_ENDPOINTS", "KVCTL_TIMEOUT", "KVCTL_OUTPUT", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command.env("TERM", "xterm-256color").args(arguments).stdin(Stdio::null());
    command
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Checks that nothing was printed but one line `error: ...` on standard error.
    pub(crate) fn one_error(&self) -> &str {
        assert_eq!(self.stdout, "", "{self:?}");
        self.last_error()
    }

    /// Checks that standard error holds one line `error: ...`, whatever was printed before.
    pub(crate) fn last_error(&self) -> &str {
        let message = self.stderr.strip_prefix("error: ").and_then(|line| line.strip_suffix('\n'));
        let message = message.unwrap_or_else(|| panic!("not one error: {self:?}"));
        assert!(!message.is_empty() && !message.contains('\n'), "not one line: {self:?}");
        message
    }
}

/// Runs to the end.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    kvctl(arguments).output().expect("kvctl starts").into()
}

/// Waits for the end of a process that should end by itself.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return status.code();
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("the child can be killed");
    panic!("kvctl did not end");
}

/// An endpoint where nothing listens.
pub(crate) fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("a bound port"))
}

#[cfg(unix)]
pub(crate) mod terminal {
    //! A pseudo-terminal to run kvctl at.

    use super::wait;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::fs::File;
    use std::io::Read;
    use std::process::Command;
    use std::thread;

    /// Runs a command with its output and errors on a terminal; returns its exit code and what the terminal got.
    pub(crate) fn run(command: &mut Command) -> (Option<i32>, String) {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&controller).expect("access to it");
        unlockpt(&controller).expect("its other side");
        let path = ptsname(&controller, Vec::new()).expect("its name").into_string().expect("a name in UTF-8");
        let screen = File::options().read(true).write(true).open(path).expect("its other side opens");
        command.stdout(screen.try_clone().expect("a second handle")).stderr(screen);
        let mut child = command.spawn().expect("kvctl starts");
        // The reader sees the end when nobody holds the other side any more.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let reader = thread::spawn(move || {
            let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
            let mut controller = File::from(controller);
            while let Ok(length @ 1..) = controller.read(&mut chunk) {
                text.extend_from_slice(&chunk[..length]);
            }
            text
        });
        let code = wait(&mut child);
        let text = reader.join().expect("the reader does not panic");
        (code, String::from_utf8_lossy(&text).into_owned())
    }
}
