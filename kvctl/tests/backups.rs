//! Destinations of `kvctl snapshot save`: only regular files are replaced, and only the owner can read a backup.
#![cfg(unix)]

mod support;

use serde_json::Value;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use support::kvctl;
use testkit::{Ended, InProcess, run_at_terminal, until};

/// A cluster with one key, and a directory.
struct Fixture {
    cluster: InProcess,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn start() -> Self {
        let fixture = Self { cluster: InProcess::start(1), dir: tempfile::tempdir().expect("a directory") };
        let set = || testkit::run(&mut fixture.kvctl(&["set", "color", "blue"])).code == Some(0);
        until("the cluster takes writes", || set().then_some(()));
        fixture
    }

    fn kvctl(&self, arguments: &[&str]) -> Command {
        let mut command = kvctl(arguments);
        command.env("KVCTL_ENDPOINTS", self.cluster.endpoints().join(",")).current_dir(self.dir.path());
        command
    }

    /// Saves to a file, which must succeed without output on standard error.
    fn save(&self, arguments: &[&str]) {
        let ended = testkit::run(&mut self.kvctl(&[&["snapshot", "save"], arguments].concat()));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stdout.starts_with("ok  revision "), "{ended:?}");
    }

    /// Runs `kvctl snapshot info` on a backup that is fed to standard input.
    fn info(&self, backup: &Path) -> Value {
        let input = File::open(backup).expect("the backup");
        let ended: Ended =
            self.kvctl(&["snapshot", "info", "-", "-o", "json"]).stdin(input).output().expect("kvctl starts").into();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout).expect("JSON")
    }

    fn names(&self) -> Vec<String> {
        let name = |item: fs::DirEntry| item.file_name().into_string().expect("a name in UTF-8");
        let mut names: Vec<_> =
            fs::read_dir(self.dir.path()).expect("a directory").map(|item| name(item.expect("an item"))).collect();
        names.sort_unstable();
        names
    }
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_device_or_a_pipe_is_written_into_and_stays_what_it_is() {
    let fixture = Fixture::start();
    let at = |name: &str| fixture.dir.path().join(name);
    symlink("/dev/null", at("null")).expect("a link");
    for device in ["/dev/null", "null"] {
        for force in [&["--force"][..], &[]] {
            fixture.save(&[&[device], force].concat());
            assert!(fs::metadata("/dev/null").expect("a device").file_type().is_char_device(), "{device} {force:?}");
        }
    }
    assert!(at("null").symlink_metadata().expect("a link").is_symlink());

    assert!(Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo starts").success());
    let pipe = at("pipe");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        File::open(pipe).expect("the pipe").read_to_end(&mut bytes).expect("it can be read");
        bytes
    });
    fixture.save(&["pipe", "--force"]);
    fs::write(at("copy"), reader.join().expect("the reader does not panic")).expect("a file");
    assert_eq!(fixture.info(&at("copy"))["keys"], 1);
    assert!(at("pipe").symlink_metadata().expect("a pipe").file_type().is_fifo());

    if cfg!(target_os = "linux") {
        let ended = testkit::run(&mut fixture.kvctl(&["snapshot", "save", "/dev/full"]));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.one_error().starts_with("/dev/full did not receive a complete backup: "), "{ended:?}");
    }
    assert_eq!(fixture.names(), ["copy", "null", "pipe"], "nothing else is left behind");
}

#[test]
fn what_is_no_file_and_takes_no_backup_is_refused_with_a_sentence() {
    let fixture = Fixture::start();
    let at = |name: &str| fixture.dir.path().join(name);
    fs::create_dir(at("directory")).expect("a directory");
    symlink("nowhere", at("dangling")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    for (name, says) in [
        ("directory", "is a directory: give a file in it"),
        ("directory/", "is a directory: give a file in it"),
        ("missing/", "missing/ does not exist: create it"),
        ("dangling", "is a link to a file that does not exist"),
        ("socket", "is a socket"),
        ("missing/kvd.snap", "No such file or directory"),
    ] {
        for force in [&["--force"][..], &[]] {
            let ended = testkit::run(&mut fixture.kvctl(&[&["snapshot", "save", name], force].concat()));
            assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
            assert!(ended.one_error().contains(says), "{name}: {ended:?}");
        }
    }
    assert_eq!(fixture.names(), ["dangling", "directory", "socket"]);
}

#[test]
fn a_backup_is_private_whatever_it_replaces_and_a_link_to_it_stays() {
    let fixture = Fixture::start();
    let at = |name: &str| fixture.dir.path().join(name);
    fs::create_dir(at("elsewhere")).expect("a directory");
    fs::write(at("elsewhere/old.snap"), "an old one").expect("a file");
    fs::set_permissions(at("elsewhere/old.snap"), Permissions::from_mode(0o666)).expect("it is ours");
    symlink("elsewhere/old.snap", at("latest")).expect("a link");
    fixture.save(&["latest", "--force"]);
    assert!(at("latest").symlink_metadata().expect("a link").is_symlink());
    assert_eq!((mode(&at("elsewhere/old.snap")), &fixture.info(&at("latest"))["keys"]), (0o600, &1.into()));

    // Even if the umask of the process is 0.
    let save = fixture.kvctl(&["snapshot", "save", "new.snap"]);
    let mut shell = fixture.kvctl(&[]);
    let mut unmasked = Command::new("sh");
    unmasked.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(save.get_program()).args(save.get_args());
    unmasked.envs(shell.env("LANG", "C").get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = testkit::run(unmasked.current_dir(fixture.dir.path()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(mode(&at("new.snap")), 0o600);
}

#[test]
fn standard_output_gets_the_backup_and_standard_error_the_words() {
    let fixture = Fixture::start();
    let at = |name: &str| fixture.dir.path().join(name);
    // Under any of its names.
    let names: &[&str] = if cfg!(target_os = "linux") { &["-", "/dev/stdout", "/proc/self/fd/1"] } else { &["-"] };
    for name in names {
        for format in ["table", "json"] {
            let into = File::create(at("out")).expect("a file");
            let mut command = fixture.kvctl(&["snapshot", "save", name, "-o", format]);
            let output = command.stdout(into).stderr(Stdio::piped()).output().expect("kvctl starts");
            let words = String::from_utf8(output.stderr).expect("UTF-8");
            assert_eq!(output.status.code(), Some(0), "{name}: {words}");
            assert_eq!(words.lines().count(), 1, "{name}: {words}");
            match format {
                "json" => assert_eq!(serde_json::from_str::<Value>(&words).expect("JSON")["keys"], 1),
                _ => assert!(words.starts_with("ok  revision 2, 1 key, "), "{words}"),
            }
            assert_eq!(fixture.info(&at("out"))["keys"], 1, "{name}");
        }
    }
    let piped: Ended = fixture.kvctl(&["snapshot", "save", "./-"]).output().expect("kvctl starts").into();
    assert_eq!((piped.code, fixture.info(&at("-"))["keys"].as_u64()), (Some(0), Some(1)), "a file of this name");
    assert_eq!(fixture.names(), ["-", "out"]);

    let (code, text) = run_at_terminal(&mut fixture.kvctl(&["snapshot", "save", "-"]), "");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("a backup is binary data"), "{text}");
    // If the reader is gone, there is no backup.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let ended: Ended = fixture.kvctl(&["snapshot", "save", "-"]).stdout(writer).output().expect("kvctl starts").into();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().starts_with("standard output did not receive a complete backup: "), "{ended:?}");
}
