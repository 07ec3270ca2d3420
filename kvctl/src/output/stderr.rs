//! Errors, warnings and words beside the result, on standard error.

use super::safe::safe_line;
use super::screen::{Tone, colour_wanted};
use std::io::{self, IsTerminal as _, Write as _};

/// Prints `kind: message` on standard error, as one line whatever the message holds.
pub(crate) fn complain(kind: &str, message: &str) {
    let mut err = io::stderr().lock();
    let tone = if kind == "error" { Tone::Bad } else { Tone::Doubtful };
    let prefix = format!("{kind}:");
    let prefix = if err.is_terminal() && colour_wanted() { tone.colour().colorize(prefix) } else { prefix };
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(err, "{prefix} {}", safe_line(message));
}

/// Prints a result on standard error, where standard output is for something else.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", safe_line(text));
}
