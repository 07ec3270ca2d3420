//! kvctl without a cluster: usage, help, exit codes, closed pipes, terminals, signals.

mod support;

use std::io::{self, BufRead as _, BufReader};
use std::process::Stdio;
use support::{kvctl, run};
use testkit::{Ended, Port, Signal, run_at_terminal, send_signal, wait_for_end};

#[test]
fn a_senseless_command_line_is_a_usage_error_on_one_line() {
    for (arguments, complaint) in [
        (&["frobnicate"][..], "unrecognized subcommand 'frobnicate'"),
        (&["get"], "<KEY>"),
        (&["get", ""], "at least one byte"),
        (&["get", "k", "extra"], "unexpected argument 'extra'"),
        (&["set", "k"], "<VALUE>"),
        (&["set", "k", "v", "--file", "f"], "--file"),
        (&["set", "k", "v", "--if-absent", "--if-revision", "7"], "--if-revision"),
        (&["set", "k", "v", "--if-revision", "seven"], "--if-revision"),
        (&["get", "k", "--timeout", "soon"], "--timeout"),
        (&["get", "k", "--timeout", "0"], "between 1ms and 30m"),
        (&["get", "k", "--output", "xml"], "possible values: table, json"),
        (&["get", "k", "--endpoints", "ftp://localhost:1"], "--endpoints"),
        (&["get", "k", "--endpoints", "127.0.0.1:8081,"], "--endpoints"),
        (&["get", "k", "--endpoints", "8081"], "127.0.0.1:8081"),
        (&["get", "k", "--endpoints", "localhost"], "localhost:8081"),
        (&["snapshot", "save"], "<FILE>"),
        (&["snapshot", "restore", "f"], "unrecognized subcommand 'restore'"),
        (&["put", "k", "v"], "unrecognized subcommand 'put'; to write a key: `kvctl set KEY VALUE`"),
        (&["del", "k"], "to delete a key: `kvctl delete KEY`"),
        (&["rm", "k"], "to delete a key: `kvctl delete KEY`"),
        (&["bench", "--clients", "0"], "--clients"),
        (&["bench", "--workload", "fast"], "possible values: set, get, mixed"),
        (&["completions", "cmd"], "possible values: bash"),
    ] {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        let message = ended.one_error();
        assert!(message.contains(complaint), "{arguments:?}: {message}");
    }
}

#[test]
fn what_is_no_backup_is_told_with_the_place_where_it_shows() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("some.snap");
    let path = file.to_str().expect("a path in UTF-8");
    let ended = run(&["snapshot", "info", path]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains("some.snap: No such file"), "{ended:?}");
    for (bytes, complaint) in [
        ("", "some.snap: the snapshot is damaged at byte 0: it is cut short"),
        ("kvd-snp\n", "damaged at byte 0: it is cut short"),
        ("these are some bytes that begin in another way", "some.snap is not a kvd snapshot"),
        ("kvd-snp\n\x07\0\0\0                      ", "format version 7"),
    ] {
        std::fs::write(&file, bytes).expect("a file");
        let ended = run(&["snapshot", "info", path]);
        assert_eq!(ended.code, Some(1), "{bytes:?}: {ended:?}");
        assert!(ended.one_error().contains(complaint), "{bytes:?}: {ended:?}");
    }
    // An existing file is found before kvctl looks for a node.
    let ended = run(&["--endpoints", &Port::any().url(), "snapshot", "save", path]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains("already exists: use another name, or --force"), "{ended:?}");
    let ended = run(&["--endpoints", &Port::any().url(), "--timeout", "0.2", "snapshot", "save", path, "--force"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.one_error().contains("some.snap was not written: no node could be reached"), "{ended:?}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing is left behind");
}

#[test]
fn an_environment_variable_is_checked_like_its_flag() {
    for (variable, value) in [("KVCTL_ENDPOINTS", "http://"), ("KVCTL_TIMEOUT", "-1"), ("KVCTL_OUTPUT", "xml")] {
        let ended = testkit::run(kvctl(&["get", "k"]).env(variable, value));
        assert_eq!(ended.code, Some(2), "{variable}={value}: {ended:?}");
        ended.one_error();
    }
}

#[test]
fn help_teaches_commands_flags_and_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for part in [
        "set",
        "get",
        "delete",
        "status",
        "members",
        "member",
        "leader",
        "watch-leader",
        "snapshot",
        "bench",
        "completions",
    ] {
        assert!(help.stdout.contains(&format!("  {part} ")), "{part} is missing:\n{}", help.stdout);
        let of_command = run(&[part, "--help"]);
        assert_eq!((of_command.code, of_command.stderr.as_str()), (Some(0), ""), "{part}");
        assert!(of_command.stdout.contains("--endpoints"), "{part}:\n{}", of_command.stdout);
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "130"] {
        let listed = help.stdout.lines().any(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(listed, "exit code {code} is missing:\n{}", help.stdout);
    }
    for variable in ["KVCTL_ENDPOINTS", "KVCTL_TIMEOUT", "KVCTL_OUTPUT"] {
        assert!(help.stdout.contains(variable), "{variable} is missing:\n{}", help.stdout);
    }
    for group in [&[][..], &["snapshot"], &["member"]] {
        // Even with flags from the environment, no command was given.
        let mut with_variables = kvctl(group);
        with_variables.env("KVCTL_ENDPOINTS", "127.0.0.1:8081").env("KVCTL_TIMEOUT", "5s");
        for nothing in [run(group), testkit::run(&mut with_variables)] {
            assert_eq!(nothing.code, Some(2));
            assert!(nothing.stderr.contains("Usage:") && nothing.stderr.contains("Commands:"), "{nothing:?}");
        }
    }
    for command in ["save", "info"] {
        let of_command = run(&["snapshot", command, "--help"]);
        assert!(of_command.stdout.contains("kvd.snap"), "{command}:\n{}", of_command.stdout);
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(run(&["--version"]).stdout, concat!("kvctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_unreachable_cluster_is_exit_code_5() {
    let nobody = Port::any();
    let endpoint = nobody.url();
    for arguments in [
        &["get", "k"][..],
        &["get", "k", "--stale"],
        &["set", "k", "v"],
        &["delete", "k"],
        &["members"],
        &["leader"],
        &["bench", "--seconds", "1"],
    ] {
        let arguments = [&["--endpoints", &endpoint, "--timeout", "200ms"], arguments].concat();
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(5), "{arguments:?}: {ended:?}");
        let message = ended.one_error();
        assert!(message.contains("--endpoints"), "{arguments:?} does not say what to do: {message}");
    }
}

#[test]
fn the_status_of_an_unreachable_cluster_is_exit_code_5() {
    let nobody = Port::any();
    let endpoint = nobody.url();
    let ended = run(&["--endpoints", &endpoint, "--timeout", "200ms", "status"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    ended.only_error();
}

#[test]
fn without_a_server_it_is_said_within_a_second_where_one_was_looked_for() {
    let nobody = [Port::any(), Port::any(), Port::any()];
    let urls = nobody.each_ref().map(Port::url);
    for arguments in [
        &["get", "k"][..],
        &["get", "k", "--stale"],
        &["set", "k", "v"],
        &["delete", "k"],
        &["status"],
        &["leader"],
        &["members"],
        &["transfer-leader"],
        &["snapshot", "save", "-"],
        &["bench"],
    ] {
        let began = std::time::Instant::now();
        let ended = run(&[&["--endpoints", &urls.join(","), "--timeout", "30s"], arguments].concat());
        // One second, and the time that a busy machine takes to start a process.
        assert!(began.elapsed() < std::time::Duration::from_secs(3), "{arguments:?}: {:?}", began.elapsed());
        assert_eq!(ended.code, Some(5), "{arguments:?}: {ended:?}");
        let error = ended.one_error();
        assert!(urls.iter().all(|url| error.contains(url)), "{arguments:?}: {error}");
        assert!(error.contains("`kvd dev` starts a test cluster"), "{arguments:?}: {error}");
    }
}

#[test]
fn the_environment_names_the_endpoints_too() {
    let nobody = Port::any();
    let endpoint = nobody.url();
    let address = endpoint.trim_start_matches("http://");
    let mut command = kvctl(&["get", "k"]);
    let ended = testkit::run(command.env("KVCTL_ENDPOINTS", address).env("KVCTL_TIMEOUT", "0.2"));
    assert_eq!(ended.code, Some(5), "{ended:?}");
}

#[test]
fn an_empty_variable_counts_as_one_that_is_not_set() {
    let nobody = Port::any();
    let mut command = kvctl(&["--endpoints", &nobody.url(), "--timeout", "200ms", "get", "k"]);
    command.env("KVCTL_ENDPOINTS", "").env("KVCTL_TIMEOUT", "").env("KVCTL_OUTPUT", "");
    let ended = testkit::run(&mut command);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let ended = testkit::run(kvctl(&["get"]).env("KVCTL_ENDPOINTS", ""));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.one_error().ends_with("; usage: kvctl get [OPTIONS] <KEY>; run `kvctl get --help`"), "{ended:?}");
    let ended = run(&["--endpoints", "", "get", "k"]);
    assert_eq!(ended.code, Some(2), "an empty flag was typed: {ended:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_any_other_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing").display().to_string();
    for file in [missing, folder.path().display().to_string()] {
        let ended = run(&["set", "k", "--file", &file]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.one_error().contains(&file), "{ended:?}");
    }
}

#[test]
fn completions_are_scripts_that_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["watch-leader", "if-absent", "endpoints"] {
            assert!(script.stdout.contains(word), "{shell} does not know {word}");
        }
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [&["completions", "bash"][..], &["--help"]] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let output = kvctl(arguments).stdout(writer).output().expect("kvctl starts");
        let ended = Ended::from(output);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_nothing_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = kvctl(&["completions", "bash"]).stdout(full).output().expect("kvctl starts");
    let ended = Ended::from(output);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended.one_error();
}

#[cfg(unix)]
mod unix {
    use super::*;

    #[test]
    fn colour_is_for_terminals_and_never_with_no_color() {
        let nobody = Port::any();
        let endpoint = nobody.url();
        let arguments = ["--endpoints", &endpoint, "--timeout", "200ms", "get", "k"];
        let (code, text) = run_at_terminal(&mut kvctl(&arguments), "");
        assert_eq!(code, Some(5), "{text}");
        assert!(text.starts_with("\u{1b}[31merror:\u{1b}[39m "), "{text:?}");
        for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let (code, text) = run_at_terminal(kvctl(&arguments).env(variable, value), "");
            assert_eq!(code, Some(5), "{text}");
            assert!(text.starts_with("error: "), "{variable}: {text:?}");
        }
        run(&arguments).one_error();
    }

    #[test]
    fn an_interrupt_is_exit_code_130() {
        let nobody = Port::any();
        let endpoint = nobody.url();
        for signal in [Signal::INT, Signal::TERM] {
            let mut command = kvctl(&["--endpoints", &endpoint, "--timeout", "200ms", "watch-leader"]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
            // Once it warns that no node answers, it is certainly watching.
            let mut warning = String::new();
            let stderr = child.stderr.take().expect("standard error is a pipe");
            BufReader::new(stderr).read_line(&mut warning).expect("a line");
            assert!(warning.starts_with("warning: ") && warning.contains("watching"), "{warning}");
            send_signal(&child, signal);
            assert_eq!(wait_for_end(&mut child), Some(130));
        }
    }

    #[test]
    fn a_watch_ends_without_error_when_its_reader_is_gone() {
        let nobody = Port::any();
        let endpoint = nobody.url();
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut command = kvctl(&["--endpoints", &endpoint, "watch-leader"]);
        let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().expect("kvctl starts");
        drop(command);
        drop(reader);
        assert_eq!(wait_for_end(&mut child), Some(0));
    }
}
