//! Errors, warnings and messages besides the result, on standard error.

use super::safe::{safe_json, safe_line};
use super::screen::{Tone, colour_wanted};
use super::stdout::Format;
use serde::Serialize;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// The reader of standard error.
static FORMAT: OnceLock<Format> = OnceLock::new();

/// Sets the reader of standard error: people, which is the default, or programs.
pub(crate) fn complain_in(format: Format) {
    // This is called once; a later call has no effect.
    let _ = FORMAT.set(format);
}

/// An error for a program.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Complaint {
    /// The error in one word; printed first.
    #[serde(skip)]
    pub(crate) code: &'static str,
    /// Effect that the request may have had, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) applied: Option<kvclient::api::Applied>,
    /// The exit code.
    pub(crate) exit: u8,
    /// The item that the condition was compared with; null if there was no such key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Option<kvclient::api::Item>>,
}

/// Prints an error, on one line whatever the message contains.
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

/// Prints a warning, on one line whatever the message contains.
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
    // A document of strings always has a JSON form.
    let text = serde_json::to_string(document).unwrap_or_default();
    let mut err = io::stderr().lock();
    let text = if err.is_terminal() { safe_json(&text) } else { text };
    let _ = writeln!(err, "{text}");
}

fn complain(kind: &str, tone: Tone, message: &str) {
    let mut err = io::stderr().lock();
    let prefix = format!("{kind}:");
    let prefix = if err.is_terminal() && colour_wanted() { tone.colour().colorize(prefix) } else { prefix };
    // If standard error is closed, nobody is left to be told.
    let _ = writeln!(err, "{prefix} {}", safe_line(message));
}

/// Prints a result on standard error, if standard output is used for something else.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", safe_line(text));
}
