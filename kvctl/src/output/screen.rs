//! Capabilities of a terminal, and the meaning of colours.

use std::env;
use tabled::settings::Color;

/// Capabilities of the other end of the output.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Screen {
    /// True if it is a terminal.
    pub(super) terminal: bool,
    /// Characters in a line, if that is limited.
    pub(super) width: Option<usize>,
    /// True if colours are used.
    pub(super) colour: bool,
}

/// Returns whether the environment permits colours on terminals (<https://no-color.org>).
pub(super) fn colour_wanted() -> bool {
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    !no_colour && !dumb
}

/// Meaning of a colour.
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
