//! SIGINT and SIGTERM: a command ends with exit code 130, at once or, where it has something to show, soon.

use crate::exit::{self, Exit};
use crate::{output, progress};
use std::sync::{Arc, Mutex, PoisonError};

/// What a signal does to the command that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// Nothing is lost: end at once.
    End,
    /// Say this and end at once.
    EndWith(&'static str),
    /// Let the command finish by itself; the next signal ends it at once.
    Notice,
    /// As after `Notice`, once a signal has come.
    Noticed,
}

/// The signals of this process, and how the running command takes them.
#[derive(Clone)]
pub(crate) struct Interrupt {
    reaction: Arc<Mutex<Reaction>>,
}

impl Interrupt {
    /// Listens for signals from now on, each of which ends the process at once.
    ///
    /// # Errors
    /// When the system refuses the handler.
    pub(crate) fn install() -> Result<Self, ctrlc::Error> {
        let interrupt = Self { reaction: Arc::new(Mutex::new(Reaction::End)) };
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.signal())?;
        Ok(interrupt)
    }

    /// Has a signal say `remark` before it ends the process.
    pub(crate) fn remark(&self, remark: &'static str) {
        self.react(Reaction::EndWith(remark));
    }

    /// Has the first signal only be noticed: the command promises to look at [`Interrupt::noticed`] often.
    pub(crate) fn notice(&self) {
        self.react(Reaction::Notice);
    }

    /// Whether a signal came since [`Interrupt::notice`].
    pub(crate) fn noticed(&self) -> bool {
        *self.reaction.lock().unwrap_or_else(PoisonError::into_inner) == Reaction::Noticed
    }

    fn react(&self, reaction: Reaction) {
        *self.reaction.lock().unwrap_or_else(PoisonError::into_inner) = reaction;
    }

    fn signal(&self) {
        let mut reaction = self.reaction.lock().unwrap_or_else(PoisonError::into_inner);
        match *reaction {
            Reaction::Notice => {
                *reaction = Reaction::Noticed;
                return;
            }
            Reaction::EndWith(remark) => output::complain_of(exit::INTERRUPTED, remark),
            Reaction::Noticed => progress::clear(),
            Reaction::End => {}
        }
        std::process::exit(i32::from(Exit::Interrupted as u8));
    }
}
