//! Errors, warnings and words beside the result, on standard error.

use super::safe::{safe_json, safe_line};
use super::screen::{Tone, colour_wanted};
use super::stdout::Format;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// Who reads standard error.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Says who reads standard error: people, who are told until this is said, or programs.
pub(crate) fn complain_in(format: Format) {
    // Whoever said it first is right: it is said once.
    let _ = FORMAT.set(format);
}

/// An error for a program.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Complaint {
    /// What went wrong, in a word; it is told first.
    #[serde(skip)]
    pub(crate) code: &'static str,
    /// Whether the request may have changed anything, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) applied: Option<kvclient::api::Applied>,
    /// The exit code.
    pub(crate) exit: u8,
    /// The item that a condition was held against; null where there was no such key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Option<kvclient::api::Item>>,
}

/// Prints an error, as one line whatever the message holds.
pub(crate) fn complain_of(complaint: Complaint, message: &str) {
    #[derive(Serialize)]
    struct Told<'a> {
        code: &'static str,
        message: &'a str,
        #[serde(flatten)]
        complaint: Complaint,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        error: Told<'a>,
    }
    match FORMAT.get() {
        Some(Format::Json) => document(&Document { error: Told { code: complaint.code, message, complaint } }),
        Some(Format::Table) | None => complain("error", Tone::Bad, message),
    }
}

/// Prints a warning, as one line whatever the message holds.
pub(crate) fn warn(message: &str) {
    #[derive(Serialize)]
    struct Told<'a> {
        message: &'a str,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        warning: Told<'a>,
    }
    match FORMAT.get() {
        Some(Format::Json) => document(&Document { warning: Told { message } }),
        Some(Format::Table) | None => complain("warning", Tone::Doubtful, message),
    }
}

fn document(document: &impl Serialize) {
    // Strings alone are always JSON.
    let text = serde_json::to_string(document).unwrap_or_default();
    let mut err = io::stderr().lock();
    let text = if err.is_terminal() { safe_json(&text) } else { text };
    let _ = writeln!(err, "{text}");
}

fn complain(kind: &str, tone: Tone, message: &str) {
    let mut err = io::stderr().lock();
    let prefix = format!("{kind}:");
    let prefix = if err.is_terminal() && colour_wanted() { tone.colour().colorize(prefix) } else { prefix };
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(err, "{prefix} {}", safe_line(message));
}

/// Prints a result on standard error, where standard output is for something else.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", safe_line(text));
}
