//! The live line: the progress of a long command, on standard error, drawn only on a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io::{self, IsTerminal as _, Write as _};
use terminal_size::{Width, terminal_size_of};

/// Columns that the line leaves free at its end.
///
/// A terminal echoes an interrupt as `^C`. If the line were as wide as the terminal, the echo would go to the next
/// line, and the live line could no longer be cleared.
const FREE: u16 = 4;

/// Width of a terminal that does not report one.
const WIDTH_DEFAULT: u16 = 80;

/// Clears the line that the cursor is in (ECMA-48, EL).
const CLEAR: &str = "\r\u{1b}[2K";

/// Creates a line for `length` steps of `what`.
pub(crate) fn line(length: u64, what: &'static str) -> ProgressBar {
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::term_like(Box::new(Terminal))
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3}%  {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    ProgressBar::with_draw_target(Some(length), target).with_style(style).with_prefix(what)
}

/// Clears the line that a progress bar may have left unfinished on the terminal.
pub(crate) fn clear() {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "{CLEAR}");
    }
}

/// Standard error, reported a little narrower than it is.
#[derive(Debug)]
struct Terminal;

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        let width = terminal_size_of(io::stderr()).map_or(WIDTH_DEFAULT, |(Width(columns), _)| columns);
        width.saturating_sub(FREE)
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        step(lines, 'A')
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        step(lines, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        step(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        step(columns, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{text}")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        write!(io::stderr(), "{text}")
    }

    fn clear_line(&self) -> io::Result<()> {
        write!(io::stderr(), "{CLEAR}")
    }

    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Moves the cursor by this many steps, in the direction of the letter (ECMA-48, CUU and following).
fn step(steps: usize, direction: char) -> io::Result<()> {
    if steps == 0 { Ok(()) } else { write!(io::stderr(), "\u{1b}[{steps}{direction}") }
}
