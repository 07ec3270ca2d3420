//! What reaches the screen: lines and tables for people, JSON for programs.
//!
//! Results go to standard output, and nothing else does; errors and warnings go to standard error, one line each.
//! Colour is for terminals, and for those only where `NO_COLOR` is not set. Keys, values and names come from
//! elsewhere, so what goes to a terminal has its control characters shown instead of obeyed: a value cannot move
//! the cursor or retitle the window of who reads it.

use clap::ValueEnum;
use serde::Serialize;
use std::env;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, StdoutLock, Write as _};
use tabled::builder::Builder;
use tabled::settings::object::{Columns, Rows};
use tabled::settings::{Alignment, Color, Padding, Remove, Style};
use terminal_size::{Width, terminal_size_of};

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// People: lines and tables
    Table,
    /// Programs: one JSON document per result, or per line where results keep coming
    Json,
}

/// Standard output, and what is known of who reads it.
pub(crate) struct Output {
    format: Format,
    screen: Screen,
    out: StdoutLock<'static>,
}

/// What the other end of the output can show.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Screen {
    /// Whether it is a terminal.
    terminal: bool,
    /// Characters in a line, where that is a limit.
    width: Option<usize>,
    /// Whether it is to have colours.
    colour: bool,
}

impl Output {
    /// Looks at standard output and the environment once.
    pub(crate) fn new(format: Format) -> Self {
        let out = io::stdout().lock();
        let terminal = out.is_terminal();
        let width = terminal_size_of(&out).map(|(Width(columns), _)| usize::from(columns));
        let screen = Screen { terminal, width, colour: terminal && colour_wanted() };
        Self { format, screen, out }
    }

    /// Whether the reader is a program.
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

    /// Prints one line; what is not to be obeyed in it has gone through [`safe_line`].
    pub(crate) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Prints a value and a newline: to a terminal in a harmless form, to anything else byte by byte.
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

    /// Writes bytes as they are, at once.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    /// `text` in `tone`, where the reader is to have colours.
    pub(crate) fn toned(&self, text: &str, tone: Tone) -> String {
        if self.screen.colour { tone.colour().colorize(text) } else { text.to_owned() }
    }
}

/// Clears the line that a progress bar may have left unfinished on the terminal.
pub(crate) fn clear_progress() {
    let mut err = io::stderr().lock();
    if err.is_terminal() {
        let _ = write!(err, "\r\u{1b}[2K");
    }
}

/// Prints `kind: message` on standard error, as one line whatever the message holds.
pub(crate) fn complain(kind: &str, message: &str) {
    let mut err = io::stderr().lock();
    let tone = if kind == "error" { Tone::Bad } else { Tone::Doubtful };
    let prefix = format!("{kind}:");
    let prefix = if err.is_terminal() && colour_wanted() { tone.colour().colorize(prefix) } else { prefix };
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(err, "{prefix} {}", safe_line(message));
}

/// Ends the process without error as soon as nobody reads its output any more: a command that may be silent for
/// hours would otherwise notice at its next line only.
#[cfg(unix)]
pub(crate) fn end_when_the_reader_is_gone() -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let watch = || {
        let out = io::stdout();
        loop {
            // No event is asked for: what comes is the hang-up that `poll` reports in any case.
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

/// Elsewhere the next line notices.
#[cfg(not(unix))]
pub(crate) fn end_when_the_reader_is_gone() -> io::Result<()> {
    Ok(())
}

/// Whether the environment leaves colours to the terminal (<https://no-color.org>).
fn colour_wanted() -> bool {
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    !no_colour && !dumb
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Doubtful,
    Bad,
}

impl Tone {
    fn colour(self) -> Color {
        match self {
            Self::Good => Color::FG_GREEN,
            Self::Doubtful => Color::FG_YELLOW,
            Self::Bad => Color::FG_RED,
        }
    }
}

/// A table in plain columns, one record a line, so that both eyes and `awk` find their way.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    tones: Vec<Option<Tone>>,
    numbers: Vec<usize>,
    dispensable: Vec<usize>,
}

impl Table {
    /// An empty table. A column whose name begins with `#` holds numbers, which are aligned to the right; one that
    /// begins with `?` is left out where the screen is too narrow for all.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let marked = |mark| (0..columns.len()).filter(|&at| columns[at].starts_with(mark)).collect();
        Self {
            header: columns.iter().map(|name| name.trim_start_matches(['#', '?']).to_owned()).collect(),
            numbers: marked('#'),
            dispensable: marked('?'),
            ..Self::default()
        }
    }

    /// Adds a row; a cell without a value is `-`.
    pub(crate) fn push<const N: usize>(&mut self, cells: [String; N], tone: Option<Tone>) {
        assert_eq!(N, self.header.len(), "a row has one cell for each column");
        let cell = |text: String| if text.is_empty() { "-".to_owned() } else { safe_line(&text) };
        self.rows.push(cells.into_iter().map(cell).collect());
        self.tones.push(tone);
    }

    /// The lines, without the last newline. A table wider than the screen does without its dispensable columns; one
    /// that is still too wide becomes a block of lines for each row, all columns in it.
    fn render(&self, screen: Screen) -> String {
        let fits = |table: &tabled::Table| screen.width.is_none_or(|width| table.total_width() <= width + GAP);
        let mut upright = self.upright(screen.colour);
        if fits(&upright) {
            return trimmed(&upright);
        }
        for &column in self.dispensable.iter().rev() {
            upright.with(Remove::column(Columns::one(column)));
        }
        if fits(&upright) { trimmed(&upright) } else { self.blocks(screen.colour) }
    }

    fn upright(&self, colour: bool) -> tabled::Table {
        let mut builder = Builder::new();
        builder.push_record(&self.header);
        for row in &self.rows {
            builder.push_record(row);
        }
        let mut table = plain(builder);
        for &column in &self.numbers {
            table.modify(Columns::one(column), Alignment::right());
        }
        if colour {
            table.modify(Rows::first(), Color::BOLD);
            for (tone, row) in self.tones.iter().zip(1..) {
                if let Some(tone) = tone {
                    table.modify(Rows::one(row), tone.colour());
                }
            }
        }
        table
    }

    fn blocks(&self, colour: bool) -> String {
        let block = |(row, tone): (&Vec<String>, &Option<Tone>)| {
            let mut builder = Builder::new();
            self.header.iter().zip(row).for_each(|(name, cell)| builder.push_record([name, cell]));
            let mut table = plain(builder);
            if colour {
                table.modify(Columns::first(), Color::BOLD);
                if let Some(tone) = tone {
                    table.modify(Columns::one(1), tone.colour());
                }
            }
            trimmed(&table)
        };
        self.rows.iter().zip(&self.tones).map(block).collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Table {
    /// Without colours and as wide as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Screen::default()))
    }
}

/// Blanks after each column; the last one's are not printed.
const GAP: usize = 2;

fn plain(builder: Builder) -> tabled::Table {
    let mut table = builder.build();
    table.with(Style::empty()).with(Padding::new(0, GAP, 0, 0));
    table
}

/// The table without the blanks that fill its last column.
fn trimmed(table: &tabled::Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Text on one line: every control character is shown as an escape, line breaks as blanks.
pub(crate) fn safe_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' | '\t' => safe.push(' '),
            '\r' => {}
            character => push_safe(&mut safe, character),
        }
    }
    safe
}

/// A value for a terminal: lines and tabs as they are, other control characters and bytes that are no UTF-8 as
/// escapes.
fn safe_text(value: &[u8]) -> String {
    let mut safe = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => safe.push(character),
                character => push_safe(&mut safe, character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

/// JSON escapes the control characters of ASCII but passes the others on; in JSON, these are inside strings only.
fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if is_obeyed(character) {
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

fn push_safe(safe: &mut String, character: char) {
    if is_obeyed(character) {
        safe.extend(character.escape_default());
    } else {
        safe.push(character);
    }
}

/// Whether a terminal acts upon this character instead of showing it: control characters, and those that turn the
/// direction of what follows, which can make text look like other text.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "#KEYS"]);
        table.push(["node1".into(), "leader".into(), "12345".into()], Some(Tone::Good));
        table.push(["node2".into(), String::new(), "7".into()], None);
        table
    }

    #[test]
    fn a_table_has_plain_columns_with_numbers_to_the_right() {
        let lines = "\
NAME   STATE    KEYS
node1  leader  12345
node2  -           7";
        assert_eq!(table().render(Screen::default()), lines);
    }

    #[test]
    fn a_table_wider_than_the_screen_does_with_less_and_then_with_blocks() {
        let mut wide = Table::new(&["A", "?B", "C", "?D", "E"]);
        wide.push(["aaaa", "bbbb", "cccc", "dddd", "eeee"].map(String::from), None);
        wide.push(["1", "2", "3", "4", "5"].map(String::from), None);
        let screen = |width| Screen { width: Some(width), ..Screen::default() };
        let all = "A     B     C     D     E\naaaa  bbbb  cccc  dddd  eeee\n1     2     3     4     5";
        let less = "A     C     E\naaaa  cccc  eeee\n1     3     5";
        let blocks = "A  aaaa\nB  bbbb\nC  cccc\nD  dddd\nE  eeee\n\nA  1\nB  2\nC  3\nD  4\nE  5";
        for (width, lines) in [(28, all), (27, less), (16, less), (15, blocks), (2, blocks)] {
            assert_eq!(wide.render(screen(width)), lines, "{width} columns");
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let plain = table().render(Screen::default());
        let coloured = table().render(Screen { colour: true, ..Screen::default() });
        assert!(coloured.contains("\u{1b}[32m"), "{coloured:?}");
        let mut stripped = coloured;
        while let Some(start) = stripped.find('\u{1b}') {
            let end = stripped[start..].find('m').expect("a colour ends with m");
            stripped.replace_range(start..=start + end, "");
        }
        let stripped = stripped.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(stripped, plain);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let evil = "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}d\r\n\te";
        assert_eq!(safe_line(evil), r"a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}d  e");
        assert_eq!(safe_text(evil.as_bytes()), "a\\u{1b}]0;title\\u{7}b\\u{9b}2Jc\\u{202e}d\\r\n\te");
        assert_eq!(safe_text(b"\xff\x00blue\xc3"), r"\xff\u{0}blue\xc3");
        assert_eq!(safe_text("größe 🙂".as_bytes()), "größe 🙂");
        let mut cells = Table::new(&["NAME"]);
        cells.push([evil.to_owned()], None);
        assert!(!cells.render(Screen::default()).contains('\u{1b}'));
    }

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let json = serde_json::to_string("\u{1b}\u{7f}\u{9b}\u{202e}ö").expect("a string is JSON");
        let safe = safe_json(&json);
        assert!(safe.is_ascii() || !safe.chars().any(is_obeyed), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).ok(), serde_json::from_str(&json).ok());
    }
}
