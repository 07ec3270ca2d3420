//! kvctl handles any input without a panic: arguments and variables that are not text, terminals of any size, closed
//! descriptors, and outputs that accept nothing.
#![cfg(unix)]

mod support;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use support::kvctl;
use testkit::{Ended, InProcess, Port, run_at_terminal_of, until};

/// The exit code of a panic.
const PANICKED: i32 = 101;

/// Returns bytes that are not text in any encoding that Rust knows.
fn no_text() -> OsString {
    OsStr::from_bytes(b"a\xff\xfeb\x1b[2J").to_owned()
}

/// Marks the place of those bytes among the arguments.
const NO_TEXT: &str = "NO_TEXT";

/// Returns kvctl with these arguments. Each [`NO_TEXT`] is replaced by bytes that are not text.
fn with(arguments: &[&str]) -> Command {
    let mut command = kvctl(&[]);
    command.args(arguments.iter().map(|&word| if word == NO_TEXT { no_text() } else { word.into() }));
    command
}

#[test]
fn an_argument_that_is_no_text_is_a_key_a_value_or_a_usage_error() {
    let nobody = Port::any();
    for arguments in [
        &[NO_TEXT][..],
        &["get", "k", NO_TEXT],
        &["set", "k", "v", NO_TEXT],
        &["lock", NO_TEXT, "true"],
        &["--endpoints", NO_TEXT, "get", "k"],
        &["--cluster", NO_TEXT, "get", "k"],
        &["--timeout", NO_TEXT, "get", "k"],
        &["--output", NO_TEXT, "get", "k"],
        &["member", "add", NO_TEXT],
        &["member", NO_TEXT],
        &["transfer-leader", NO_TEXT],
        &["snapshot", NO_TEXT],
        &["bench", "--workload", NO_TEXT],
        &["completions", NO_TEXT],
        &["help", NO_TEXT],
    ] {
        let ended = testkit::run(&mut with(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        let error = ended.one_error();
        assert!(!error.contains('\u{1b}') && error.contains("run `kvctl"), "{arguments:?}: {error}");
    }
    // A key, a value and a file name may be any bytes; no node answers, or there is no such file.
    let endpoint = nobody.url();
    for (arguments, code) in [
        (&["get", NO_TEXT][..], 5),
        (&["set", NO_TEXT, "v"], 5),
        (&["delete", NO_TEXT], 5),
        (&["list", NO_TEXT], 5),
        (&["history", NO_TEXT], 5),
        (&["set", "k", NO_TEXT], 5),
        (&["set", "k", "v", "--if-value", NO_TEXT], 5),
        (&["set", "k", "--file", NO_TEXT], 1),
        (&["snapshot", "save", NO_TEXT], 5),
        (&["snapshot", "info", NO_TEXT], 1),
    ] {
        let ended = testkit::run(&mut with(&[&["--endpoints", &endpoint, "--timeout", "200ms"], arguments].concat()));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        ended.one_error();
    }
}

#[test]
fn a_variable_that_is_no_text_is_a_usage_error_that_names_its_flag() {
    for (variable, flag) in [
        ("KVCTL_ENDPOINTS", "--endpoints"),
        ("KVCTL_CLUSTER", "--cluster"),
        ("KVCTL_TIMEOUT", "--timeout"),
        ("KVCTL_OUTPUT", "--output"),
    ] {
        let ended = testkit::run(kvctl(&["get", "k"]).env(variable, no_text()));
        assert_eq!(ended.code, Some(2), "{variable}: {ended:?}");
        let error = ended.one_error();
        assert!(error.contains(flag) || error.contains("UTF-8"), "{variable}: {error}");
    }
    for variable in ["NO_COLOR", "TERM", "COLUMNS", "LINES", "LANG", "HOME"] {
        let ended = testkit::run(kvctl(&["--help"]).env(variable, no_text()));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{variable}");
    }
}

/// Commands that print much, little, tables, lines and errors, run against a real cluster.
const COMMANDS: [&[&str]; 9] = [
    &[],
    &["--help"],
    &["set", "--help"],
    &["frobnicate"],
    &["get", "color"],
    &["get", "missing"],
    &["status"],
    &["member", "list"],
    &["snapshot", "info", "/dev/null"],
];

/// A command that draws a live line meanwhile, which takes time.
const BENCH: &[&str] = &["bench", "--seconds", "1", "--clients", "1", "--keys", "1", "--value-size", "0"];

fn cluster() -> InProcess {
    let cluster = InProcess::start(3);
    let set = || testkit::run(&mut at(&cluster, &["set", "color", "blue\u{1b}[2J\u{202e}"])).code == Some(0);
    until("the cluster takes writes", || set().then_some(()));
    cluster
}

fn at(cluster: &InProcess, arguments: &[&str]) -> Command {
    let mut command = kvctl(arguments);
    command.env("KVCTL_ENDPOINTS", cluster.endpoints().join(","));
    command
}

#[test]
fn a_terminal_may_have_any_size() {
    let cluster = cluster();
    for size in [(0, 0), (1, 1), (2, 1), (3, 0), (5, 2), (0, 24), (40, 1), (u16::MAX, u16::MAX)] {
        // A live line is tested only where it has no room, and where it has hardly any.
        let bench = Some(BENCH).filter(|_| matches!(size, (1, 1) | (5, 2)));
        for arguments in COMMANDS.into_iter().chain(bench) {
            let (code, text) = run_at_terminal_of(&mut at(&cluster, arguments), "", size);
            assert!(code.is_some_and(|code| code != PANICKED) && !text.contains("panicked"), "{size:?}: {text}");
        }
    }
}

#[test]
fn a_closed_descriptor_is_no_reason_to_panic() {
    let cluster = cluster();
    for closed in ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        for arguments in COMMANDS.into_iter().chain([&["set", "k", "-"][..], &["snapshot", "save", "-"]]) {
            let kvctl = at(&cluster, arguments);
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]).arg(kvctl.get_program()).args(arguments);
            shell.env("KVCTL_ENDPOINTS", cluster.endpoints().join(","));
            let ended = shell.output().expect("a shell starts");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.code().is_some_and(|code| code != PANICKED), "{arguments:?} {closed}: {said}");
            assert!(!said.contains("panicked"), "{arguments:?} {closed}: {said}");
        }
    }
}

#[test]
fn an_output_that_takes_nothing_is_an_error_and_a_reader_that_has_seen_enough_is_none() {
    let cluster = cluster();
    for arguments in COMMANDS {
        let well = testkit::run(&mut at(&cluster, arguments));
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let ended = Ended::from(at(&cluster, arguments).stdout(writer).output().expect("kvctl starts"));
        assert_eq!(ended.code, well.code, "{arguments:?}: {ended:?}");
        // If standard error accepts nothing either, only the exit code tells.
        let ended = Ended::from(at(&cluster, arguments).stderr(closed_pipe()).output().expect("kvctl starts"));
        assert_eq!(ended.code, well.code, "{arguments:?}: {ended:?}");
        if cfg!(target_os = "linux") {
            let ended = Ended::from(at(&cluster, arguments).stdout(full()).output().expect("kvctl starts"));
            let expected = if well.stdout.is_empty() { well.code } else { Some(1) };
            assert_eq!(ended.code, expected, "{arguments:?}: {ended:?}");
            let mut command = at(&cluster, arguments);
            let code = command.stdout(full()).stderr(full()).status().expect("kvctl starts").code();
            assert_eq!(code, expected, "{arguments:?}");
        }
    }
}

fn closed_pipe() -> Stdio {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Returns a device on which every write fails for lack of space.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}
