//! A command that runs while a lock is held.

use crate::exit::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output;
use anyhow::Context as _;
use kvclient::{Error, Lock};
use std::ffi::OsString;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait between two looks at whether the command has ended.
const TICK: Duration = Duration::from_millis(20);

/// The command.
pub(super) struct Job {
    program: OsString,
    arguments: Vec<OsString>,
    /// Time between SIGTERM and SIGKILL.
    grace: Duration,
}

impl Job {
    /// Returns `None` if there is no command.
    pub(super) fn new(mut words: Vec<OsString>, grace: Duration) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        let arguments = words.split_off(1);
        words.pop().map(|program| Self { program, arguments, grace })
    }

    /// Runs the command under the lock, gives the lock up when it has ended, and ends this process with its exit code.
    pub(super) fn run(self, lock: Lock, interrupt: &Interrupt) -> anyhow::Result<()> {
        // The command must not go on without the lock, so this process outlives it.
        interrupt.hold();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command.env("KVD_LOCK_NAME", lock.name()).env("KVD_LOCK_TOKEN", lock.token().to_string());
        let name = self.program.display();
        let mut child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        let (ended, was_lost) = self.watch(&mut child, &lock, interrupt)?;
        let lock_name = output::safe_line(lock.name());
        let released = lock.release();
        let code = code(ended);
        match released {
            // The command may have run beside that of another holder. Success would hide it.
            Err(Error::LockLost { .. }) if code == 0 && !was_lost => return Err(lost(&lock_name).into()),
            _ if was_lost && code == 0 => return Err(lost(&lock_name).into()),
            Err(error) if !was_lost => output::warn(&format!("{error}; the lock is free after its --ttl")),
            Ok(_) | Err(_) => {}
        }
        std::process::exit(code)
    }

    /// Waits for the end of the command. Ends it if the lock is lost. Returns how it ended, and whether the lock was
    /// lost.
    fn watch(&self, child: &mut Child, lock: &Lock, interrupt: &Interrupt) -> anyhow::Result<(ExitStatus, bool)> {
        let (loss, mut passed_on, mut kill_at) = (lock.loss(), false, None);
        loop {
            if let Some(ended) = child.try_wait().context("cannot wait for the command")? {
                return Ok((ended, kill_at.is_some()));
            }
            match kill_at {
                None => {
                    if loss.wait_for(TICK) {
                        output::warn(&format!("{}; ending the command", lost(&output::safe_line(lock.name()))));
                        terminate(child);
                        kill_at = Instant::now().checked_add(self.grace);
                    }
                }
                Some(at) if Instant::now() >= at => {
                    child.kill().context("cannot end the command")?;
                    return Ok((child.wait().context("cannot wait for the command")?, true));
                }
                Some(_) => thread::sleep(TICK),
            }
            if interrupt.noticed() && !passed_on {
                passed_on = true;
                terminate(child);
            }
        }
    }
}

/// Returns the failure of a holder that has lost its lock.
pub(super) fn lost(name: &str) -> Failure {
    Failure::Other(format!("the lock `{name}` is lost: another may hold it"))
}

/// Asks a process to end. It may have ended already.
#[cfg(unix)]
fn terminate(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(child: &mut Child) {
    let _ = child.kill();
}

/// Returns the exit code for this process: that of the command, or 128 and the signal that ended it, as shells do.
fn code(ended: ExitStatus) -> i32 {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = ended.signal() {
            return 128 + signal;
        }
    }
    ended.code().unwrap_or(i32::from(Exit::Failed as u8))
}
