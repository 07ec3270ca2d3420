//! Processes of a test, none of which outlives it.

use crate::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use std::borrow::BorrowMut;
use std::process::Child;

/// A process that does not outlive its test.
#[derive(Debug)]
pub(crate) struct KillOnDrop<C: BorrowMut<Child>>(pub(crate) C);

impl<C: BorrowMut<Child>> Drop for KillOnDrop<C> {
    fn drop(&mut self) {
        // A process that has ended needs no killing.
        let _ = self.0.borrow_mut().kill();
        let _ = self.0.borrow_mut().wait();
    }
}

/// Sends a signal to a process.
pub fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a child can be signalled");
}

/// Returns the exit code of a process that should end soon; `None` if a signal killed it. Kills it before the test
/// fails.
#[track_caller]
pub fn wait_for_end(child: &mut Child) -> Option<i32> {
    let child = KillOnDrop(child);
    until("a process ends", || child.0.try_wait().expect("a child can be waited for")).code()
}
