//! The command line in this environment, and one line for one that makes no sense.

use crate::cli::Cli;
use crate::exit::{self, Exit};
use crate::hints;
use crate::output::{self, Format};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, ValueEnum as _};
use std::env;
use std::io::{self, Write as _};

/// The command line of kvctl, for this environment.
pub(crate) fn command() -> clap::Command {
    kvd_cli::without_empty_variables(Cli::command())
}

/// Says which variables were set that have no effect.
pub(crate) fn warn_of_variables() {
    for sentence in kvd_cli::unknown_variables(&Cli::command(), "KVCTL_") {
        output::warn(&sentence);
    }
}

/// Prints help or version, or says in one line on standard error what is wrong with the command line.
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
        // For clap a variable is an argument, and it says that the command is missing where a variable is set.
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

/// The arguments of this process. They need not be text, and one that is not names no command.
fn arguments() -> impl Iterator<Item = String> {
    env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned())
}

/// What is wrong, on one line, with the command that was meant where that is known.
fn explained(error: &clap::Error) -> String {
    let unknown = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some(word),
        _ => None,
    };
    match unknown.and_then(|word| Some((word, hints::instead_of(word)?))) {
        // What clap finds similar may do the opposite: of `put`, it takes `get` to be meant.
        Some((word, hint)) => one_line(&format!("error: unrecognized subcommand '{word}'\n\n{hint}"), arguments()),
        None => one_line(&error.to_string(), arguments()),
    }
}

/// The innermost command that is named among `arguments`.
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

/// The format that results and errors are to have. Found also in a command line that makes no sense, which is to be
/// complained of in it.
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

/// clap explains itself in paragraphs; this keeps all it says on one line, and says how the command that is among
/// `arguments` is used. (clap's own usage line names as required whatever the environment gives.)
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
