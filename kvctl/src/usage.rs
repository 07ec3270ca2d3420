//! The command line in this environment, and one line for one that makes no sense.

use crate::cli::Cli;
use crate::exit::{self, Exit};
use crate::output;
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use std::env;

/// The command line of kvctl, for this environment.
pub(crate) fn command() -> clap::Command {
    kvd_cli::without_empty_variables(Cli::command())
}

/// Says which variables were set that have no effect.
pub(crate) fn warn_of_variables() {
    for sentence in kvd_cli::unknown_variables(&Cli::command(), "KVCTL_") {
        output::complain("warning", &sentence);
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
        _ => {
            // An argument need not be text, and one that is not names no command.
            let arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
            output::complain("error", &one_line(&error.to_string(), arguments));
            Exit::Usage
        }
    }
}

/// clap explains itself in paragraphs; this keeps all it says on one line, and says how the command that is among
/// `arguments` is used. (clap's own usage line names as required whatever the environment gives.)
fn one_line(explanation: &str, arguments: impl IntoIterator<Item = String>) -> String {
    let mut command = Cli::command();
    command.build();
    for word in arguments {
        if let Some(named) = command.find_subcommand(&word) {
            command = named.clone();
        }
    }
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
