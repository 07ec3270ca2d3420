//! What the command line may say: the values of flags, and one line for a command line that makes no sense.
//!
//! A value is refused here, before anything is sent, so that every slip of the keyboard is a usage error
//! (exit 2) that names the flag.

use crate::Cli;
use crate::exit::Exit;
use crate::output;
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use kvclient::api::KEY_BYTES_MAX;
use std::env;
use std::time::Duration;

/// The shortest `--timeout`.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// The longest `--timeout`, which is also the client's: the cluster remembers for an hour which writes it has applied.
const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 60);

/// The command line of kvctl, for this environment. A variable that is empty counts as one that is not set, as
/// `KVCTL_ENDPOINTS= kvctl ...` means it.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    let empty = |argument: &clap::Arg| {
        argument.get_env().is_some_and(|name| env::var_os(name).is_some_and(|value| value.is_empty()))
    };
    let unset: Vec<clap::Id> =
        command.get_arguments().filter(|&argument| empty(argument)).map(|argument| argument.get_id().clone()).collect();
    for id in unset {
        command = command.mut_arg(id, |argument| argument.env(None));
    }
    command
}

/// Prints help or version, or says in one line on standard error what is wrong with the command line.
pub(crate) fn report(error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Help that goes to a closed pipe is no error.
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Exit::Usage
        }
        _ => {
            output::complain("error", &one_line(&error.to_string(), env::args().skip(1)));
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

/// A key: neither empty nor longer than the cluster takes.
pub(crate) fn key(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a key has at least one byte".into()),
        1..=KEY_BYTES_MAX => Ok(text.to_owned()),
        length => Err(format!("{length} bytes are too many, a key has at most {KEY_BYTES_MAX}")),
    }
}

/// An endpoint: a URL, or `host:port` for `http://host:port`.
pub(crate) fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim();
    let address = text.strip_prefix("http://").unwrap_or(text);
    // A number alone is a host as well, by the rules for URLs, but nobody writes 0.0.39.97 as 10081.
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no host: add one, such as 127.0.0.1:{host}"));
    }
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !address.is_empty() && !text.contains("://") && !has_port {
        return Err(format!("`{text}` has no port: add it, such as {text}:8081"));
    }
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // The client knows what a good endpoint is; asked here, its answer names the flag.
    match kvclient::Client::connect([&url]) {
        Ok(_) => Ok(url),
        Err(error) => Err(error.to_string()),
    }
}

/// A time limit with a unit, or in plain seconds.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let limit = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|cause| cause.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|cause| cause.to_string()),
    };
    match limit {
        Ok(limit) if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&limit) => Ok(limit),
        Ok(_) => Err("it must be between 1ms and 30m".into()),
        Err(cause) => Err(format!("{cause}; say 5s, 500ms or 1m 30s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_has_a_unit_or_is_in_seconds() {
        for (text, ms) in [
            ("5s", 5000),
            ("500ms", 500),
            ("5", 5000),
            ("0.25", 250),
            ("1.5s", 1500),
            ("1m 30s", 90_000),
            (" 2s ", 2000),
        ] {
            assert_eq!(timeout(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "soon", "5 parsecs", "0", "0s", "-1", "-1s", "NaN", "inf", "1e300", "31m", "1us"] {
            assert!(timeout(text).is_err(), "{text:?} was accepted as {:?}", timeout(text));
        }
    }

    #[test]
    fn an_endpoint_may_leave_out_its_scheme() {
        for (text, url) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("localhost:8081", "http://localhost:8081"),
            (" [::1]:8081 ", "http://[::1]:8081"),
            ("http://db.example:80", "http://db.example:80"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(url), "{text}");
        }
        for text in ["", "http://", "ftp://127.0.0.1", "127.0.0.1:99999", "a b", "a b:1"] {
            assert!(endpoint(text).is_err(), "{text:?} was accepted as {:?}", endpoint(text));
        }
        for (text, hint) in [
            ("10081", "127.0.0.1:10081"),
            ("http://10081", "127.0.0.1:10081"),
            ("10081:8081", "no host"),
            ("localhost", "localhost:8081"),
            ("[::1]", "[::1]:8081"),
        ] {
            let error = endpoint(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_is_neither_empty_nor_too_long() {
        assert_eq!(key("k").as_deref(), Ok("k"));
        assert!(key("").is_err());
        assert!(key(&"k".repeat(KEY_BYTES_MAX)).is_ok());
        assert!(key(&"k".repeat(KEY_BYTES_MAX + 1)).is_err());
    }

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
