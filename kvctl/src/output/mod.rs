//! Output: lines and tables for people, JSON for programs.
//!
//! Results go to standard output, and nothing else does. Errors and warnings go to standard error, one line each, and
//! with `--output json` one document each. Only terminals get colour, and only if `NO_COLOR` is not set. Keys, values
//! and names come from elsewhere, so on a terminal their control characters are shown instead of obeyed: a value cannot
//! move the cursor or change the title of the reader's window.

mod safe;
mod screen;
mod stderr;
mod stdout;
mod table;

pub(crate) use safe::{safe_line, short_line};
pub(crate) use screen::Tone;
pub(crate) use stderr::{Complaint, complain_in, complain_of, say, warn};
pub(crate) use stdout::{Format, Output, end_when_the_reader_is_gone};
pub(crate) use table::Table;
