//! Commands that end by themselves, with their output.

use super::child::{KillOnDrop, wait_for_end};
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread;

/// Exit code and output of a command.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Ended {
    /// Returns the error in the last line of standard error, after any log lines.
    #[track_caller]
    pub fn error(&self) -> &str {
        let errors: Vec<&str> = self.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        match errors[..] {
            [error] if self.stderr.ends_with(&format!("error: {error}\n")) => error,
            _ => panic!("not one error at the end: {self:?}"),
        }
    }

    /// Returns the error that is the only line of standard error, whatever was printed before.
    #[track_caller]
    pub fn only_error(&self) -> &str {
        let error = self.error();
        assert_eq!(self.stderr.lines().count(), 1, "more than the error: {self:?}");
        error
    }

    /// Does the same, and checks that nothing was printed.
    #[track_caller]
    pub fn one_error(&self) -> &str {
        assert_eq!(self.stdout, "", "{self:?}");
        self.only_error()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a command that should end by itself.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut child = KillOnDrop(child);
    let stdout = read_beside(child.0.stdout.take().expect("a pipe"));
    let stderr = read_beside(child.0.stderr.take().expect("a pipe"));
    let code = wait_for_end(&mut child.0);
    let joined = |reader: thread::JoinHandle<Vec<u8>>| text(reader.join().expect("the reader does not panic"));
    Ended { code, stdout: joined(stdout), stderr: joined(stderr) }
}

/// Reads to the end on its own thread, so that a command with much output is not held up.
fn read_beside(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the output is UTF-8")
}
