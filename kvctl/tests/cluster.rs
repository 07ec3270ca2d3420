//! kvctl against a real cluster of three nodes: its output and exit codes.

mod support;

use serde_json::Value;
use std::io::{self, BufRead as _, BufReader};
use std::process::Stdio;
use support::fixture::Fixture;
use testkit::{Ended, InProcess, Port, Signal, run_at_terminal, run_at_terminal_of, send_signal, until, wait_for_end};

#[test]
fn a_key_is_written_read_and_deleted() {
    let fixture = Fixture::start();
    assert_eq!(fixture.done(&["set", "color", "blue"]), "ok  revision 2 (created)\n");
    assert_eq!(fixture.done(&["set", "color", "red"]), "ok  revision 3\n");
    assert_eq!(fixture.done(&["get", "color"]), "red\n");
    until("no node is behind", || (fixture.run(&["get", "color", "--stale"]).stdout == "red\n").then_some(()));
    assert_eq!(fixture.done(&["get", "color", "--stale", "--max-stale", "1m"]), "red\n");
    assert_eq!(fixture.done(&["get", "color", "--raw"]), "red");
    let item = fixture.json(&["get", "color"]);
    assert_eq!(
        item,
        serde_json::json!({"key": "color", "value": "red", "create_revision": 2, "mod_revision": 3, "version": 2})
    );
    assert_eq!(fixture.json(&["set", "size", "9"]), serde_json::json!({"revision": 4, "created": true}));
    assert_eq!(fixture.done(&["delete", "color"]), "ok  revision 5 (deleted)\n");
    assert_eq!(fixture.json(&["delete", "size"]), serde_json::json!({"revision": 6, "deleted": 1}));
    for command in ["get", "delete"] {
        let ended = fixture.run(&[command, "color"]);
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.one_error().contains("`color`"), "{ended:?}");
    }
}

#[test]
fn any_one_endpoint_will_do() {
    let fixture = Fixture::start();
    for endpoint in fixture.cluster.endpoints() {
        fixture.done(&["--endpoints", endpoint, "set", "color", endpoint]);
        assert_eq!(fixture.done(&["--endpoints", endpoint, "get", "color"]), format!("{endpoint}\n"));
    }
}

#[test]
fn a_condition_that_does_not_hold_is_exit_code_4() {
    let fixture = Fixture::start();
    fixture.done(&["set", "lock", "me", "--if-absent"]);
    for arguments in [
        &["set", "lock", "you", "--if-absent"][..],
        &["set", "lock", "you", "--if-revision", "99"],
        &["set", "lock", "you", "--if-value", "them"],
        &["set", "missing", "you", "--if-present"],
        &["delete", "lock", "--if-revision", "99"],
        &["delete", "lock", "--if-value", "you"],
        &["delete", "missing", "--if-revision", "2"],
    ] {
        let ended = fixture.run(arguments);
        assert_eq!(ended.code, Some(4), "{arguments:?}: {ended:?}");
        ended.one_error();
    }
    assert_eq!(fixture.done(&["get", "lock"]), "me\n");
    fixture.done(&["set", "lock", "you", "--if-revision", "2"]);
    fixture.done(&["set", "lock", "them", "--if-value", "you"]);
    fixture.done(&["set", "lock", "us", "--if-present"]);
    fixture.done(&["delete", "lock", "--if-value", "us"]);
}

#[test]
fn values_are_bytes_whichever_way_they_come() {
    let fixture = Fixture::start();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    for value in [&b""[..], b"two\nlines\n", b"\x00\xff\x1b[2J", &[7; 100_000]] {
        let ended = fixture.feed(&["set", "piped", "-"], value);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        std::fs::write(path, value).expect("the file is written");
        fixture.done(&["set", "filed", "--file", path]);
        for key in ["piped", "filed"] {
            let raw = fixture.kvctl(&["get", key, "--raw"]).output().expect("kvctl starts");
            assert_eq!(raw.stdout, value, "{key}");
        }
    }
    fixture.done(&["set", "number", "-5"]);
    fixture.done(&["set", "flag", "--", "--verbose"]);
    assert_eq!(fixture.done(&["get", "number"]) + &fixture.done(&["get", "flag"]), "-5\n--verbose\n");
    assert_eq!(fixture.feed(&["set", "binary", "-"], b"\xff").code, Some(0));
    assert_eq!(fixture.json(&["get", "binary"])["value_base64"], "/w==");
}

#[test]
fn a_value_too_large_for_the_cluster_is_any_other_error() {
    let fixture = Fixture::start();
    let ended = fixture.feed(&["set", "large", "-"], &vec![b'x'; 2 << 20]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains("--max-value-bytes"), "{ended:?}");
}

#[test]
fn status_shows_every_member_and_one_leader() {
    let fixture = Fixture::start();
    fixture.done(&["set", "color", "blue"]);
    let table = fixture.done(&["status"]);
    let rows: Vec<_> = table.lines().collect();
    assert_eq!(rows.len(), 4, "{table}");
    let columns: Vec<_> = rows[0].split_whitespace().collect();
    assert_eq!(columns, ["NAME", "STATE", "LEADER", "TERM", "APPLIED", "LAG", "KEYS", "URL"]);
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{table}");
    assert_eq!(rows.iter().filter(|row| row.contains('*')).count(), 1, "{table}");
    for endpoint in fixture.cluster.endpoints() {
        assert!(table.contains(endpoint), "{endpoint} is missing:\n{table}");
    }

    let status = fixture.json(&["status"]);
    assert_eq!((&status["healthy"], &status["voters"], &status["quorum"]), (&true.into(), &3.into(), &2.into()));
    let leader = fixture.json(&["leader"]);
    assert_eq!((&status["leader"], &status["term"]), (&leader["id"], &leader["term"]));
    let ids =
        |list: &Value| -> Vec<_> { list.as_array().expect("a list").iter().map(|entry| entry["id"].clone()).collect() };
    assert_eq!(ids(&status["nodes"]), ids(&fixture.json(&["members"])["members"]));
}

#[test]
fn a_backup_is_saved_to_a_file_and_looked_into() {
    let fixture = Fixture::start();
    fixture.done(&["set", "color", "blue"]);
    fixture.done(&["set", "shape", "round"]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("kvd.snap");
    let path = file.to_str().expect("a path in UTF-8");
    let line = fixture.done(&["snapshot", "save", path]);
    assert!(line.starts_with("ok  revision 3, 2 keys, "), "{line}");

    let info = fixture.json(&["snapshot", "info", path]);
    let bytes = std::fs::read(&file).expect("the backup");
    let expected = (&3.into(), &2.into(), &bytes.len().into(), &1.into());
    assert_eq!((&info["revision"], &info["keys"], &info["bytes"], &info["format"]), expected, "{info}");
    let status = fixture.json(&["status"]);
    let index = info["last_log_index"].as_u64().expect("an index");
    assert!(index <= status["nodes"][0]["health"]["commit_index"].as_u64().expect("an index"), "{info} {status}");
    assert_eq!(info["term"], status["term"]);
    let table = fixture.done(&["snapshot", "info", path]);
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(
        (rows[0][..3].join(" "), rows[1][..2].join(" ")),
        ("REVISION KEYS BYTES".into(), "3 2".into()),
        "{table}"
    );

    // The state is the one that the node would start from, and the same again if nothing has changed.
    let mut decoder = kvd::storage::snapshot::Decoder::new();
    decoder.feed(&bytes);
    assert!(matches!(decoder.next_part(), Ok(Some(kvd::storage::snapshot::Part::Head(head)))
        if kvclient::api::hex_id(head.cluster_id) == info["cluster_id"].as_str().expect("an id")));
    let again = fixture.json(&["snapshot", "save", path, "--force", "--stale"]);
    assert_eq!((&again["state_hash"], &again["file"]), (&info["state_hash"], &info["file"]));
    let refused = fixture.run(&["snapshot", "save", path]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing is left behind");

    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(&file, damaged).expect("a file");
    let ended = fixture.run(&["snapshot", "info", path]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let complaint = format!("kvd.snap: the snapshot is damaged at byte {}: ", bytes.len() - 28);
    assert!(ended.one_error().contains(&complaint), "{ended:?}");
}

#[test]
fn members_come_and_go() {
    let fixture = Fixture::formed();
    let members = fixture.json(&["member", "list"]);
    assert_eq!(members, fixture.json(&["members"]));
    // It waits to join through an endpoint where no node listens, so it is added by hand.
    let nobody = Port::any();
    let node = InProcess::join("waiting", &nobody.url());
    let url = node.endpoints()[0].as_str();
    let table = fixture.done(&["member", "add", url, "--learner"]);
    let row = table.lines().find(|line| line.starts_with("waiting ")).unwrap_or_else(|| panic!("{table}"));
    let columns: Vec<_> = row.split_whitespace().collect();
    assert_eq!(columns, ["waiting", "learner", "learner", url, url]);
    fixture.done(&["member", "add", url, "--learner"]);

    // A node of this cluster is a member already, and one of another cluster cannot be added.
    let own = fixture.cluster.endpoints()[0].clone();
    assert_eq!(fixture.json(&["member", "add", &own])["members"].as_array().map(Vec::len), Some(4));
    let stranger = Fixture::formed();
    let ended = fixture.run(&["member", "add", &stranger.cluster.endpoints()[0]]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains("is not waiting to join"), "{ended:?}");

    let ended = fixture.run(&["member", "promote", "waiting"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains("waiting has not caught up yet"), "{ended:?}");
    let ended = fixture.run(&["member", "remove", "nobody"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains(r#"no member named "nobody" (members: node1"#), "{ended:?}");
    let ended = fixture.run(&["member", "replace", "node1", "waiting"]);
    assert!(ended.one_error().contains("waiting has not caught up yet"), "{ended:?}");

    let ended = fixture.run(&["member", "update", "nobody", "--peer-url", "127.0.0.1:9"]);
    assert!(ended.one_error().contains(r#"no member named "nobody""#), "{ended:?}");
    let ended = fixture.run(&["member", "update", "waiting", "--peer-url", &own]);
    assert!(ended.one_error().contains(&format!("{own} is the URL of ")), "{ended:?}");
    assert_eq!(fixture.run(&["member", "update", "waiting"]).code, Some(2), "it says nothing that changes");
    fixture.done(&["member", "update", "waiting", "--peer-url", url, "--client-url", url]);

    let leader = fixture.json(&["leader"])["id"].as_str().expect("a name").to_owned();
    for name in ["waiting", &leader] {
        let left = fixture.json(&["member", "remove", name]);
        let left: Vec<_> = left["members"].as_array().expect("a list").iter().map(|member| &member["id"]).collect();
        assert!(!left.contains(&&Value::from(name)), "{left:?}");
    }
    fixture.done(&["set", "color", "blue"]);
}

#[test]
fn bench_measures_every_workload_and_removes_its_keys() {
    let fixture = Fixture::start();
    fixture.done(&["set", "bench/mine", "stays"]);
    for (workload, operations) in [("set", &["set"][..]), ("get", &["get"]), ("mixed", &["set", "get", "all"])] {
        let load = ["--clients", "4", "--seconds", "1", "--keys", "20", "--workload", workload];
        let report = fixture.json(&[&["bench"], &load[..]].concat());
        let measured = report["operations"].as_array().expect("a list");
        assert_eq!(measured.iter().map(|row| &row["operation"]).collect::<Vec<_>>(), operations);
        for row in measured {
            let latency = |name: &str| row["latency_us"][name].as_u64().expect("microseconds");
            assert!(row["count"].as_u64() > Some(0) && row["errors"].as_object().is_some_and(|all| all.is_empty()));
            assert!(
                0 < latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"),
                "{row}"
            );
        }
        assert_eq!(fixture.keys(), 1, "{workload}");
    }
    assert_eq!(fixture.done(&["get", "bench/mine"]), "stays\n");
}

#[cfg(unix)]
mod unix {
    use super::*;

    #[test]
    fn a_terminal_shows_the_control_characters_of_a_value_instead_of_obeying_them() {
        let fixture = Fixture::start();
        assert_eq!(fixture.feed(&["set", "evil", "-"], b"\x1b]0;title\x07\xff\nnext").code, Some(0));
        let (code, text) = run_at_terminal(&mut fixture.kvctl(&["get", "evil"]), "");
        assert_eq!((code, text.as_str()), (Some(0), "\\u{1b}]0;title\\u{7}\\xff\r\nnext\r\n"));
        let (_, table) = run_at_terminal(&mut fixture.kvctl(&["status"]), "");
        assert!(table.contains("\u{1b}[32m"), "the leader is not green: {table:?}");
        let (_, table) = run_at_terminal(fixture.kvctl(&["status"]).env("NO_COLOR", "1"), "");
        assert!(!table.contains('\u{1b}'), "{table:?}");
    }

    #[test]
    fn a_backup_is_for_its_owner_alone_and_its_progress_is_for_terminals() {
        use std::os::unix::fs::PermissionsExt as _;
        let fixture = Fixture::start();
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("kvd.snap");
        let mut command = fixture.kvctl(&["snapshot", "save", file.to_str().expect("a path in UTF-8")]);
        let (code, text) = run_at_terminal(&mut command, "");
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("saving [") && text.contains("100%"), "{text:?}");
        assert!(
            text.ends_with("\r\n") && text.lines().last().is_some_and(|line| line.contains("ok  revision 1, 0 keys"))
        );
        let mode = std::fs::metadata(file).expect("the backup").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn watch_leader_tells_who_leads_until_it_is_interrupted() {
        let fixture = Fixture::start();
        let leader = fixture.json(&["leader"]);
        for format in ["table", "json"] {
            let mut command = fixture.kvctl(&["watch-leader", "--output", format]);
            let mut child = command.stdout(Stdio::piped()).spawn().expect("kvctl starts");
            let mut line = String::new();
            let stdout = child.stdout.take().expect("standard output is a pipe");
            let mut lines = BufReader::new(stdout);
            lines.read_line(&mut line).expect("a line");
            if format == "json" {
                let change: Value = serde_json::from_str(&line).expect("JSON");
                assert_eq!((&change["term"], &change["leader"]["id"]), (&leader["term"], &leader["id"]));
            } else {
                let words: Vec<_> = line.split_whitespace().collect();
                let (term, id) = (leader["term"].to_string(), leader["id"].as_str().expect("a name"));
                assert_eq!(words[1..6], ["term", &term, "none", "->", id], "{line}");
            }
            send_signal(&child, Signal::INT);
            assert_eq!(wait_for_end(&mut child), Some(130));
        }
    }

    #[test]
    fn watch_leader_ends_without_error_when_its_reader_has_seen_enough() {
        let fixture = Fixture::start();
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut command = fixture.kvctl(&["watch-leader"]);
        let mut child = command.stdout(writer).spawn().expect("kvctl starts");
        drop(command);
        let mut reader = BufReader::new(reader);
        reader.read_line(&mut String::new()).expect("a line");
        drop(reader);
        assert_eq!(wait_for_end(&mut child), Some(0));
    }

    #[test]
    fn an_interrupted_bench_ends_early_with_exit_code_130() {
        let fixture = Fixture::start();
        let mut command = fixture.kvctl(&["bench", "--keys", "10", "--seconds", "3600", "--output", "json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
        until("the bench has written its keys", || (fixture.keys() == 10).then_some(()));
        send_signal(&child, Signal::INT);
        let ended = Ended::from(child.wait_with_output().expect("kvctl ends"));
        assert_eq!(ended.code, Some(130), "{ended:?}");
        let error: Value = serde_json::from_str(&ended.stderr).expect("JSON");
        assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&"interrupted".into(), &130.into()), "{error}");
        // Its measurements up to then, if there are any.
        if let Some(report) = ended.stdout.lines().next() {
            let report: Value = serde_json::from_str(report).expect("JSON");
            assert_eq!(report["interrupted"], true);
        }
        assert_eq!(fixture.keys(), 0);
    }

    #[test]
    fn status_fits_a_terminal_of_80_columns_and_tells_more_on_a_wide_one() {
        let fixture = Fixture::formed();
        fixture.done(&["set", "color", "blue"]);
        for (columns, more) in [(80, false), (132, true)] {
            let (code, text) = run_at_terminal_of(fixture.kvctl(&["status"]).env("NO_COLOR", "1"), "", (columns, 24));
            assert_eq!((code, text.lines().count()), (Some(0), 4), "a line for each node:\n{text}");
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)), "{text}");
            assert_eq!(text.contains("VERSION") && text.contains("COMMIT"), more, "{text}");
        }
    }
}

#[test]
fn leadership_goes_where_it_is_told_to() {
    let fixture = Fixture::start();
    for node in ["node2", "node3", "node3"] {
        let leader = fixture.json(&["transfer-leader", node]);
        assert_eq!(leader["id"], node, "{leader}");
        assert_eq!(fixture.json(&["leader"]), leader);
    }
    let table = fixture.done(&["transfer-leader"]);
    assert!(table.starts_with("NAME   TERM  URL\nnode"), "{table}");
    assert!(!table.contains("node3"), "to another: {table}");
    let ended = fixture.run(&["transfer-leader", "node9"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains(r#"no member named "node9" (members: node1, node2"#), "{ended:?}");
}

#[test]
fn a_cluster_is_asked_for_by_its_id_and_no_other_answers() {
    let (ours, theirs) = (Fixture::formed(), Fixture::formed());
    ours.done(&["set", "owner", "ours"]);
    theirs.done(&["set", "owner", "theirs"]);
    let id = ours.json(&["status"])["cluster"].as_str().expect("an id").to_owned();
    let their_id = theirs.json(&["status"])["cluster"].as_str().expect("an id").to_owned();
    let mixed = [theirs.cluster.endpoints(), ours.cluster.endpoints()].concat().join(",");
    for _ in 0..10 {
        assert_eq!(ours.done(&["--endpoints", &mixed, "--cluster", &id, "get", "owner"]), "ours\n");
    }
    let ended: Ended = theirs.kvctl(&["get", "owner"]).env("KVCTL_CLUSTER", &id).output().expect("kvctl starts").into();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let message = ended.one_error();
    assert!(message.contains(&id) && message.contains(&their_id), "{message}");
    assert_eq!(theirs.run(&["--cluster", "5d0c", "get", "owner"]).code, Some(2));
}

#[test]
fn an_error_for_a_program_is_a_line_of_json() {
    let fixture = Fixture::formed();
    fixture.done(&["set", "color", "blue"]);
    let nobody = Port::any();
    let nowhere = nobody.url();
    for (arguments, code, applied, exit) in [
        (&["get", "missing"][..], "key_not_found", None, 3),
        (&["set", "color", "red", "--if-absent"], "condition_failed", Some("no"), 4),
        (&["set", "color", "red", "--endpoints", &nowhere], "unreachable", Some("no"), 5),
        (&["member", "remove", "nobody"], "member_not_found", Some("no"), 1),
        (&["snapshot", "info", "/dev/null"], "failed", None, 1),
        (&["frobnicate"], "usage", Some("no"), 2),
        (&["set", "color"], "usage", Some("no"), 2),
    ] {
        let flags = [&["--output", "json"][..], &["--output=json"], &["-o", "json"], &["-ojson"], &["-o=json"]];
        for flag in flags {
            let ended = fixture.run(&[flag, arguments].concat());
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(exit), ""), "{arguments:?}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            let error = serde_json::from_str::<Value>(&ended.stderr).expect("JSON")["error"].clone();
            assert_eq!((&error["code"], &error["exit"]), (&code.into(), &exit.into()), "{arguments:?}: {error}");
            assert_eq!(error["applied"].as_str(), applied, "{arguments:?}: {error}");
            assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{error}");
            assert_eq!(error["current"]["value"] == "blue", code == "condition_failed", "{error}");
        }
    }
    let by_variable = testkit::run(fixture.kvctl(&["get"]).env("KVCTL_OUTPUT", "json"));
    assert!(by_variable.stderr.starts_with("{\"error\":{"), "{by_variable:?}");
    let value = fixture.run(&["set", "flag", "--if-absent", "--", "-ojson", "x"]);
    assert!(value.one_error().contains("unexpected argument 'x'"), "what follows `--` is no flag: {value:?}");
}
