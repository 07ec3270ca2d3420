//! Flags and environment: their effects, and error messages that name the wrong setting.

use kvclient::Client;
use kvclient::api::ErrorCode;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use tempfile::TempDir;
use testkit::{Cluster, Node, Port, Signal, error_of, kvd, run, send_signal, until, wait_for_end};

/// Flags of a node, besides `--name`, that have a variable of the same name, each with an invalid value.
const BAD_VALUES: [(&str, &str); 9] = [
    ("--listen", "8081"),
    ("--peers", "node2"),
    ("--advertise-client-url", "node1"),
    ("--advertise-peer-url", "ftp://node1"),
    ("--storage", "paper"),
    ("--heartbeat-ms", "0"),
    ("--election-timeout-ms", "300"),
    ("--max-value-bytes", "0"),
    ("--log-format", "verse"),
];

/// Flags without a value.
const SWITCHES: [&str; 2] = ["--learner", "--expect-data"];

fn variable_of(flag: &str) -> String {
    format!("KVD_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase())
}

#[test]
fn settings_that_will_not_do_are_refused_with_2_and_a_sentence() {
    let peers = |peers: &'static str| vec!["--name", "node1", "--peers", peers];
    for (arguments, says) in [
        (vec![], "--name is missing"),
        (vec!["--name", "node 1"], "--name \"node 1\""),
        (peers("node2=http://127.0.0.1:2,node3=http://127.0.0.1:3"), "but not this node, --name node1"),
        (peers("node1=http://127.0.0.1:1,node1=http://127.0.0.1:2"), "--peers names node1 twice"),
        (peers("node1=http://127.0.0.1:1,node2=http://127.0.0.1:1"), "the same URL"),
        (peers("node1=127.0.0.1:8081"), "--peers needs URLs: node1=http://127.0.0.1:8081"),
        (peers("node1=https://127.0.0.1:8081"), "only http:// is served"),
        (peers("node1"), "--peers node1: expected name=URL"),
        (vec!["--name", "node1", "--listen", "here"], "--listen here"),
        (vec!["--name", "node1", "--heartbeat-ms", "100"], "begin at twice --heartbeat-ms"),
        (vec!["dev", "--nodes", "3", "--base-port", "65534"], "--base-port 65534"),
    ] {
        let ended = run(kvd().args(&arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.error().contains(says), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn every_flag_is_a_variable_too_and_refused_by_its_name() {
    for (flag, value) in BAD_VALUES {
        let by_flag = run(kvd().args(["--name", "node1", flag, value]));
        let by_variable = run(kvd().env("KVD_NAME", "node1").env(variable_of(flag), value));
        for ended in [by_flag, by_variable] {
            assert_eq!(ended.code, Some(2), "{flag}: {ended:?}");
            let sentence = ended.stderr.lines().next().unwrap_or_default();
            assert!(sentence.starts_with("error: ") && sentence.contains(flag), "{flag}: {ended:?}");
        }
    }
}

#[test]
fn a_flag_without_a_value_is_a_variable_that_is_on_or_off() {
    // Without --join the learner flag is refused, and a heartbeat of zero is always refused.
    for (value, learner) in [("1", true), ("true", true), ("yes", true), ("0", false), ("false", false), ("off", false)]
    {
        for flag in SWITCHES {
            let mut command = kvd();
            command.args(["--name", "node1", "--heartbeat-ms", "0"]).env(variable_of(flag), value);
            let ended = run(&mut command);
            assert_eq!(ended.code, Some(2), "{flag} {value}: {ended:?}");
            let is_learner = ended.error().starts_with("--learner is for nodes that join");
            assert_eq!(is_learner, learner && flag == "--learner", "{flag} {value}: {ended:?}");
        }
    }
    for flag in SWITCHES {
        let ended = run(kvd().args(["--name", "node1"]).env(variable_of(flag), "maybe"));
        assert!(ended.code == Some(2) && ended.stderr.contains(flag), "{ended:?}");
    }
}

#[test]
fn help_teaches_every_flag_every_variable_and_every_exit_code() {
    let help = run(kvd().arg("--help"));
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let flags = BAD_VALUES.iter().map(|(flag, _)| *flag).chain(["--name", "--data-dir"]);
    for flag in flags {
        assert!(help.stdout.contains(&format!("{flag} <")), "{flag}\n{}", help.stdout);
        assert!(help.stdout.contains(&format!("[env: {}", variable_of(flag))), "{flag}\n{}", help.stdout);
    }
    for flag in SWITCHES {
        assert!(help.stdout.contains(&format!("{flag}\n")), "{flag}\n{}", help.stdout);
        assert!(help.stdout.contains(&format!("[env: {}", variable_of(flag))), "{flag}\n{}", help.stdout);
    }
    for words in ["kvd dev", "RUST_LOG", "Exit codes:", "\n  0  ", "\n  1  ", "\n  2  ", "\n  3  ", "\n  130  "] {
        assert!(help.stdout.contains(words), "{words}\n{}", help.stdout);
    }
    let longest = help.stdout.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?} characters in a line\n{}", help.stdout);
    let dev = run(kvd().args(["dev", "--help"])).stdout;
    for flag in ["--nodes", "--base-port", "--data-dir"] {
        assert!(dev.contains(&format!("{flag} <")) && dev.contains("[env: KVD_DEV_"), "{flag}\n{dev}");
    }
}

#[test]
fn a_filter_for_logs_that_cannot_be_understood_is_refused() {
    // An unknown word alone would be a valid filter for a module that does not exist, and log nothing.
    for filter in ["kvd=loud", "verbose"] {
        let ended = run(kvd().args(["--name", "node1"]).env("RUST_LOG", filter));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.error().starts_with(&format!("RUST_LOG={filter}: ")), "{ended:?}");
    }
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    // A heartbeat of zero is always refused, so an error about it shows that the other flags were accepted.
    let mut command = kvd();
    command.args(["--name", "node1", "--heartbeat-ms", "0"]);
    for flag in BAD_VALUES.iter().map(|(flag, _)| *flag).chain(SWITCHES) {
        command.env(variable_of(flag), "");
    }
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.only_error().contains("--heartbeat-ms"), "{ended:?}");
    let ended = run(kvd().args(["restore", "no-such-file"]).env("KVD_NAME", "").env("KVD_DATA_DIR", "d"));
    assert!(ended.code == Some(2) && ended.stderr.contains("--name"), "in subcommands too: {ended:?}");
}

#[test]
fn a_variable_that_no_flag_reads_is_warned_of() {
    let ended = run(kvd().args(["--name", "node1", "--heartbeat-ms", "0"]).env("KVD_PEER", "node2=http://a"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let warning = "KVD_PEER is set but has no effect: kvd has no such variable; did you mean KVD_PEERS?";
    assert!(
        ended.stderr.lines().next().is_some_and(|line| line.contains(" WARN ") && line.ends_with(warning)),
        "{ended:?}"
    );
}

#[test]
fn a_port_in_use_is_refused_by_the_name_of_its_flag() {
    let dir = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("a bound port");
    let (listen, base_port) = (taken.to_string(), taken.port().to_string());
    for (arguments, says) in [
        (["--name", "node1", "--listen", &listen].as_slice(), format!("--listen {listen}: ")),
        (&["dev", "--nodes", "1", "--base-port", &base_port], format!("--base-port {base_port}: ")),
    ] {
        let ended = run(kvd().args(arguments).arg("--data-dir").arg(dir.path()));
        // The program at that address may end.
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.error().starts_with(&says), "{ended:?}");
        assert!(ended.error().contains("another program listens there"), "{ended:?}");
    }
}

#[test]
fn a_node_can_be_set_up_by_its_environment_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::new("node1", Port::any(), dir.path());
    let mut command = kvd();
    command.env("KVD_NAME", "solo").env("KVD_LISTEN", node.address()).env("KVD_DATA_DIR", node.data_dir());
    command.env("KVD_ADVERTISE_CLIENT_URL", "http://solo.example:1").env("KVD_MAX_VALUE_BYTES", "4");
    command.env("KVD_HEARTBEAT_MS", "50").env("KVD_ELECTION_TIMEOUT_MS", "100..200").env("KVD_LOG_FORMAT", "json");
    node.start_as(command);
    until("it serves", || node.post("/set", r#"{"key":"a","value":"1234"}"#).ok().filter(|reply| reply.status == 200));
    let reply = node.post("/set", r#"{"key":"a","value":"12345"}"#).expect("it answers");
    assert_eq!((reply.status, error_of(&reply).code), (413, ErrorCode::TooLarge));
    let health = node.health().expect("it answers");
    assert_eq!((health.id.as_str(), health.members[0].client_url.as_str()), ("solo", "http://solo.example:1"));
    assert!(node.log().lines().all(|line| line.starts_with('{')), "{}", node.log());
    assert!(node.data_dir().join("identity.json").exists());
}

#[test]
fn a_node_without_a_disk_serves_until_it_stops() {
    let mut cluster = Cluster::start_with(1, "--storage", "memory");
    let client = cluster.client();
    client.set("color", "blue").expect("it serves");
    assert!(client.get("color").expect("it serves").is_some());
    assert!(!cluster[0].data_dir().exists(), "it leaves nothing on the disk");
    assert_eq!(cluster[0].terminate(), Some(0));
    cluster[0].start();
    assert_eq!(cluster.client().get("color").expect("it serves"), None);
}

/// Returns a string that is not text in any encoding that Rust knows.
fn no_text() -> OsString {
    OsStr::from_bytes(b"a\xff\xfeb").to_owned()
}

#[test]
fn no_argument_and_no_variable_makes_a_panic() {
    for flag in BAD_VALUES.map(|(flag, _)| flag).into_iter().chain(["--name", "--join"]) {
        let by_flag = run(kvd().arg(flag).arg(no_text()));
        let by_variable = run(kvd().env("KVD_NAME", "node1").env(variable_of(flag), no_text()));
        for ended in [by_flag, by_variable] {
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{flag}: {ended:?}");
            assert!(ended.stderr.starts_with("error: "), "{flag}: {ended:?}");
        }
    }
    for arguments in [&["dev", "--nodes"][..], &["dev", "--base-port"], &["restore"], &["recover", "--data-dir"], &[]] {
        let ended = run(kvd().args(arguments).arg(no_text()));
        assert!(matches!(ended.code, Some(2 | 3)), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn outputs_that_are_closed_or_full_are_no_reason_to_end_otherwise() {
    let full = || File::options().write(true).open("/dev/full").expect("/dev/full");
    let arguments = [&["--help"][..], &["--version"], &["frobnicate"], &["--name", "node 1"], &["restore", "missing"]];
    for arguments in arguments {
        let expected = run(kvd().args(arguments)).code;
        assert!(expected.is_some_and(|code| code <= 2), "{arguments:?}");
        let code = kvd().args(arguments).stdout(full()).stderr(full()).status().expect("it starts").code();
        assert_eq!(code, expected, "{arguments:?}");
        for closed in [">&-", "2>&-", "<&- >&- 2>&-"] {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]).arg(kvd().get_program()).args(arguments);
            assert_eq!(run(&mut shell).code, expected, "{arguments:?} {closed}");
        }
    }

    // A node whose log cannot be written still serves.
    let dir = TempDir::new().expect("a directory");
    let port = Port::any();
    let mut command = kvd();
    command.args(["--name", "node1", "--listen", &format!("127.0.0.1:{}", port.number())]);
    command.arg("--data-dir").arg(dir.path()).stdout(full()).stderr(full());
    let mut child = command.spawn().expect("it starts");
    let client = Client::connect([port.url()]).expect("a URL");
    client.set("color", "blue").expect("it serves");
    send_signal(&child, Signal::TERM);
    assert_eq!(wait_for_end(&mut child), Some(0));
}
