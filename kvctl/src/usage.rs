//! The command line in this environment, and one-line errors for invalid usage.

use crate::cli::Cli;
use crate::exit::{self, Exit};
use crate::hints;
use crate::output::{self, Format};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, ValueEnum as _};
use std::env;
use std::io::{self, Write as _};

/// Returns the command line of kvctl for this environment.
pub(crate) fn command() -> clap::Command {
    kvd_cli::without_empty_variables(Cli::command())
}

/// Warns of variables that are set and have no effect.
pub(crate) fn warn_of_variables() {
    for sentence in kvd_cli::unknown_variables(&Cli::command(), "KVCTL_") {
        output::warn(&sentence);
    }
}

/// Prints help or version, or in one line on standard error what is wrong with the command line.
pub(crate) fn report(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => Exit::Done,
            Err(cause) => exit::report(&cause.into()),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage
        }
        // clap counts a variable as an argument, and if one is set it reports that the command is missing.
        ErrorKind::MissingSubcommand => {
            let _ = write!(io::stderr(), "{}", named_among(arguments()).render_help().ansi());
            Exit::Usage
        }
        _ => {
            output::complain_of(exit::USAGE, &explained(error));
            Exit::Usage
        }
    }
}

/// Returns the arguments of this process. They need not be text, and an argument that is not text names no command.
fn arguments() -> impl Iterator<Item = String> {
    env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned())
}

/// Returns the error on one line, with the intended command if it is known.
fn explained(error: &clap::Error) -> String {
    let unknown = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    };
    match unknown.and_then(|word| Some((word, hints::instead_of(word)?))) {
        // The name that clap finds similar may do the opposite: for `put` it suggests `get`.
        Some((word, hint)) => one_line(&format!("error: unrecognized subcommand '{word}'\n\n{hint}"), arguments()),
        None => one_line(&error.to_string(), arguments()),
    }
}

/// Returns the innermost command that is named among `arguments`.
fn named_among(arguments: impl IntoIterator<Item = String>) -> clap::Command {
    let mut command = Cli::command();
    command.build();
    for word in arguments {
        if let Some(named) = command.find_subcommand(&word) {
            command = named.clone();
        }
    }
    command
}

/// Returns the format for results and errors. It is also found in an invalid command line, so that the error has that
/// format.
pub(crate) fn format() -> Format {
    let named = |name: &str| Format::from_str(name, true).ok();
    let mut format = env::var_os("KVCTL_OUTPUT").and_then(|name| named(&name.to_string_lossy()));
    let mut arguments = arguments().take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        let value = match argument.as_str() {
            "-o" | "--output" => arguments.next(),
            other => other.strip_prefix("--output=").or_else(|| other.strip_prefix("-o")).map(str::to_owned),
        };
        format = value.and_then(|name| named(name.trim_start_matches('='))).or(format);
    }
    format.unwrap_or(Format::Table)
}

/// Puts clap's explanation, which has several paragraphs, on one line, and adds the usage of the command that is among
/// `arguments`. (clap's own usage line lists everything as required, even if the environment gives it.)
fn one_line(explanation: &str, arguments: impl IntoIterator<Item = String>) -> String {
    let command = named_among(arguments);
    let mut line = String::new();
    for paragraph in explanation.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")) {
        let paragraph = match paragraph.strip_prefix("error: ") {
            Some(first) => first.to_owned(),
            None if paragraph.starts_with("Usage: ") => {
                command.clone().render_usage().to_string().replacen("Usage:", "usage:", 1)
            }
            None if paragraph.starts_with("For more information, try") => {
                format!("run `{} --help`", command.get_bin_name().unwrap_or("kvctl"))
            }
            None => paragraph,
        };
        if !paragraph.is_empty() {
            if !line.is_empty() {
                line.push_str("; ");
            }
            line.push_str(paragraph.trim_end_matches('.'));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_in_paragraphs_becomes_one_line() {
        let explanation = "error: the following required arguments were not provided:\n  <KEY>\n\n\
            Usage: kvctl get --endpoints <URL,...> <KEY>\n\nFor more information, try '--help'.\n";
        let line = "the following required arguments were not provided: <KEY>; \
            usage: kvctl get [OPTIONS] <KEY>; run `kvctl get --help`";
        assert_eq!(one_line(explanation, ["-o", "json", "get"].map(String::from)), line);
        let line =
            "unexpected argument 'x'; usage: kvctl snapshot info [OPTIONS] <FILE>; run `kvctl snapshot info --help`";
        let explanation = "error: unexpected argument 'x'\n\nUsage: kvctl ...\n\nFor more information, try '--help'.\n";
        assert_eq!(one_line(explanation, ["snapshot", "info", "f", "x"].map(String::from)), line);
        let line = "unrecognized subcommand 'frob'; usage: kvctl [OPTIONS] <COMMAND>; run `kvctl --help`";
        let explanation = "error: unrecognized subcommand 'frob'\n\nUsage: kvctl [OPTIONS] <COMMAND>\n\n\
            For more information, try '--help'.\n";
        assert_eq!(one_line(explanation, ["frob".to_owned()]), line);
    }
}
