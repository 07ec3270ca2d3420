//! The commands of `deploy/README.md` for a lost majority, exactly as printed, run by an administrator who made the
//! backup and by the user that the service runs as.
//!
//! They run in a separate mount namespace, with a directory for `/var/lib`, a user `kvd` and a `sudo`, so that they do
//! not change the machine. Only root may do that.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use testkit::{Cluster, kvd, run, run_at_terminal, skip};

const README: &str = include_str!("../../../deploy/README.md");

/// Replacement for `sudo -u kvd COMMAND` and `sudo COMMAND`, which some machines lack.
const SUDO: &str = r#"#!/bin/sh
if [ "$1" = -u ]; then shift 2; exec setpriv --reuid=kvd --regid=kvd --clear-groups "$@"; fi
exec "$@"
"#;

/// Prepares the environment of the commands, then runs them in a shell that exits at the first failure. `$1` is the
/// directory with the tools, the backup and the contents of `/var/lib`.
const SCRIPT: &str = r#"set -e
mount --bind "$1/lib" /var/lib
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
PATH="/var/lib/tools:$PATH"
export PATH
unset KVD_LISTEN
cd "$1"
"#;

/// Returns the lines of the document's root command blocks that contain this word.
fn commands(word: &str) -> Vec<&'static str> {
    let section = README.split("## When a majority is lost").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("it has text");
    let blocks = section.split("<!-- not run: needs root -->\n```sh\n").skip(1);
    let lines = blocks.filter_map(|block| block.split("```").next()).flat_map(str::lines);
    lines.filter(|line| line.contains(word)).collect()
}

fn in_namespace(dir: &Path, commands: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{SCRIPT}{commands}"), "sh"]).arg(dir);
    command
}

fn executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn the_commands_for_a_lost_majority_work_as_they_are_printed() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client.set("color", "blue").expect("it serves");
    let dir = cluster[0].data_dir().with_extension("machine");
    let tools = dir.join("lib/tools");
    fs::create_dir_all(&tools).expect("a directory");
    fs::copy(kvd().get_program(), tools.join("kvd")).expect("the program");
    fs::write(tools.join("sudo"), SUDO).expect("a file");
    for file in [tools.join("kvd"), tools.join("sudo"), tools.clone(), dir.join("lib")] {
        executable(&file);
    }
    for (file, line) in [("passwd", "kvd:x:10001:10001::/var/lib/kvd:/bin/sh\n"), ("group", "kvd:x:10001:\n")] {
        let known = fs::read_to_string(Path::new("/etc").join(file)).expect("every machine has it");
        let others = known.lines().filter(|line| !line.starts_with("kvd:")).map(|line| format!("{line}\n"));
        fs::write(dir.join(file), others.collect::<String>() + line).expect("a file");
    }
    let probe = run(&mut in_namespace(&dir, "sudo -u kvd kvd --version"));
    if probe.code != Some(0) {
        return skip(&format!("it may not make a mount namespace or change its user: {}", probe.stderr.trim()));
    }

    // As `kvctl snapshot save` leaves it: readable only by its owner.
    let mut backup = Vec::new();
    client.save_snapshot(&mut backup, |_| {}).expect("it gives a backup");
    fs::write(dir.join("kvd.snap"), &backup).expect("a file");
    fs::set_permissions(dir.join("kvd.snap"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    let restore = [commands("sudo install"), commands("kvd restore")].concat();
    assert_eq!(restore.len(), 2, "{restore:?}");
    let ended = run(&mut in_namespace(&dir, &restore.join("\n")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("restored 1 key at revision 1099511627776 from standard input"), "{ended:?}");

    let recover = commands("kvd recover").into_iter().find(|line| line.starts_with("sudo")).expect("it is there");
    let (code, screen) = run_at_terminal(&mut in_namespace(&dir, recover), "y\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("recovered 1 key at revision"), "{screen}");
}
