//! Results, on standard output.

use super::safe::{safe_json, safe_text};
use super::screen::{Screen, Tone, colour_wanted};
use super::table::Table;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, IsTerminal as _, StdoutLock, Write as _};
use terminal_size::{Width, terminal_size_of};

/// Reader of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// People: lines and tables
    Table,
    /// Programs: one JSON document per result, or per line where results keep coming
    Json,
}

/// Standard output, and what is known about its reader.
pub(crate) struct Output {
    format: Format,
    screen: Screen,
    out: StdoutLock<'static>,
}

impl Output {
    /// Examines standard output and the environment once.
    pub(crate) fn new(format: Format) -> Self {
        let out = io::stdout().lock();
        let terminal = out.is_terminal();
        let width = terminal_size_of(&out).map(|(Width(columns), _)| usize::from(columns));
        let screen = Screen { terminal, width, colour: terminal && colour_wanted() };
        Self { format, screen, out }
    }

    /// Returns whether the reader is a program.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints one JSON document on a line of its own.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(document)?;
        if self.screen.terminal {
            text = safe_json(&text);
        }
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Prints one line. Text from elsewhere must have gone through [`super::safe_line`].
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Prints a value and a newline: to a terminal in a harmless form, otherwise byte by byte.
    pub(crate) fn value(&mut self, value: &[u8]) -> anyhow::Result<()> {
        if self.screen.terminal {
            return self.line(&safe_text(value));
        }
        self.raw(&[value, b"\n"].concat())
    }

    /// Prints a table.
    pub(crate) fn table(&mut self, table: &Table) -> anyhow::Result<()> {
        let text = table.render(self.screen);
        self.line(&text)
    }

    /// Writes bytes unchanged and flushes them.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    /// Returns whether the output goes to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.screen.terminal
    }

    /// Returns a writer for bytes that come in pieces, unchanged.
    pub(crate) fn bytes(&mut self) -> &mut StdoutLock<'static> {
        &mut self.out
    }

    /// Returns `text` in `tone` if the reader gets colours.
    pub(crate) fn toned(&self, text: &str, tone: Tone) -> String {
        if self.screen.colour { tone.colour().colorize(text) } else { text.to_owned() }
    }
}

/// Ends the process without error as soon as nobody reads its output any more. A command that may be silent for hours
/// would otherwise notice only at its next line.
#[cfg(unix)]
pub(crate) fn end_when_the_reader_is_gone() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let watch = || {
        let out = io::stdout();
        loop {
            // No event is requested: `poll` reports a hang-up in any case.
            let mut watched = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut watched, None) {
                Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => std::process::exit(0),
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    };
    std::thread::Builder::new().name("reader".into()).spawn(watch).map(drop)
}

/// On other systems the next line notices.
#[cfg(not(unix))]
pub(crate) fn end_when_the_reader_is_gone() -> io::Result<()> {
    Ok(())
}
