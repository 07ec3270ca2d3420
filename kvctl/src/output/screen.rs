//! What a terminal can show, and what colours say on it.

use std::env;
use tabled::settings::Color;

/// What the other end of the output can show.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Screen {
    /// Whether it is a terminal.
    pub(super) terminal: bool,
    /// Characters in a line, where that is a limit.
    pub(super) width: Option<usize>,
    /// Whether it is to have colours.
    pub(super) colour: bool,
}

/// Whether the environment leaves colours to the terminal (<https://no-color.org>).
pub(super) fn colour_wanted() -> bool {
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
    pub(super) fn colour(self) -> Color {
        match self {
            Self::Good => Color::FG_GREEN,
            Self::Doubtful => Color::FG_YELLOW,
            Self::Bad => Color::FG_RED,
        }
    }
}
