//! SIGINT and SIGTERM: a command ends with exit code 130, at once or, if it has something to show, soon.

use crate::exit::{self, Exit};
use crate::{output, progress};
use std::sync::{Arc, Mutex, PoisonError};

/// Effect of a signal on the running command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// Nothing is lost: end at once.
    End,
    /// Print this and end at once.
    EndWith(&'static str),
    /// Let the command finish by itself; the next signal ends it at once.
    Notice,
    /// Like `Notice`, once a signal has arrived.
    Noticed,
    /// Let the command finish by itself, however many signals arrive.
    Hold,
    /// Like `Hold`, once a signal has arrived.
    Held,
}

/// The signals of this process, and the running command's reaction to them.
#[derive(Clone)]
pub(crate) struct Interrupt {
    reaction: Arc<Mutex<Reaction>>,
}

impl Interrupt {
    /// Installs a handler for signals, each of which ends the process at once.
    ///
    /// # Errors
    /// If the system refuses the handler.
    pub(crate) fn install() -> Result<Self, ctrlc::Error> {
        let interrupt = Self { reaction: Arc::new(Mutex::new(Reaction::End)) };
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.signal())?;
        Ok(interrupt)
    }

    /// Makes a signal print `remark` before it ends the process.
    pub(crate) fn remark(&self, remark: &'static str) {
        self.react(Reaction::EndWith(remark));
    }

    /// Makes the first signal only set a flag: the command promises to check [`Interrupt::noticed`] often.
    pub(crate) fn notice(&self) {
        self.react(Reaction::Notice);
    }

    /// Makes signals only set a flag, like [`Interrupt::notice`], even after the first: for a command that has work to
    /// finish before it ends.
    pub(crate) fn hold(&self) {
        self.react(Reaction::Hold);
    }

    /// Returns whether a signal has arrived since [`Interrupt::notice`] or [`Interrupt::hold`].
    pub(crate) fn noticed(&self) -> bool {
        let reaction = *self.reaction.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(reaction, Reaction::Noticed | Reaction::Held)
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
            Reaction::Hold | Reaction::Held => {
                *reaction = Reaction::Held;
                return;
            }
            Reaction::EndWith(remark) => output::complain_of(exit::INTERRUPTED, remark),
            Reaction::Noticed => progress::clear(),
            Reaction::End => {}
        }
        std::process::exit(i32::from(Exit::Interrupted as u8));
    }
}
