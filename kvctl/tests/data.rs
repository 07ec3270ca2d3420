//! kvctl against a real cluster: ranges, the past, transactions, leases, export and import.

mod support;

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use support::fixture::Fixture;
use testkit::{run_at_terminal, until};

/// Keys of an import that takes long enough to be interrupted.
const MANY: u32 = 60_000;

fn set_all(fixture: &Fixture, keys: &[&str]) {
    keys.iter().for_each(|key| drop(fixture.done(&["set", key, &format!("value of {key}")])));
}

/// Returns the documents that a command prints, one a line.
fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn keys_are_listed_in_many_ways() {
    let fixture = Fixture::start();
    set_all(&fixture, &["app/a", "app/b/1", "app/b/2", "color"]);
    let value = "KEY      VALUE\napp/a    value of app/a\napp/b/1  value of app/b/1\napp/b/2  value of app/b/2\n";
    assert_eq!(fixture.done(&["list", "app/"]), value);
    assert_eq!(fixture.done(&["ls", "app/", "--keys-only"]), "app/a\napp/b/1\napp/b/2\n");
    assert_eq!(fixture.done(&["ls", "--keys-only", "--reverse", "--limit", "2"]), "color\napp/b/2\n");
    assert_eq!(fixture.done(&["ls", "app/", "-d", "/"]), "KEY     VALUE\napp/a   value of app/a\napp/b/  -\n");
    assert_eq!(
        fixture.done(&["ls", "app/", "-d", "/", "-l"]),
        "KEY     SIZE  VERSION  REVISION  LEASE\napp/a   14 B        1         2  -\napp/b/     -        -         -  -\n"
    );
    assert_eq!(fixture.done(&["ls", "--count"]), "4\n");
    assert_eq!(fixture.json(&["ls", "app/", "--count"]), json!({"count": 3}));
    assert_eq!(fixture.done(&["ls", "--revision", "2", "-k"]), "app/a\n");
    until("no node is behind", || (fixture.run(&["ls", "--stale", "--count"]).stdout == "4\n").then_some(()));

    let lines = documents(&fixture.done(&["ls", "app/", "-d", "/", "-o", "json"]));
    assert_eq!((&lines[0]["key"], &lines[0]["value"]), (&json!("app/a"), &json!("value of app/a")));
    assert_eq!(lines[1], json!({"prefix": "app/b/"}));
    assert_eq!(fixture.done(&["ls", "nothing"]), "KEY  VALUE\n".trim_start_matches("KEY  VALUE\n"));
    let (code, text) = run_at_terminal(&mut fixture.kvctl(&["ls", "nothing"]), "");
    assert_eq!((code, text.trim_end()), (Some(0), "no key begins with `nothing`"));
}

#[test]
fn a_prefix_is_deleted_once_that_is_confirmed() {
    let fixture = Fixture::start();
    set_all(&fixture, &["app/a", "app/b", "color"]);
    let delete = ["delete", "--prefix", "app/"];
    let (code, text) = run_at_terminal(&mut fixture.kvctl(&delete), "n\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("Delete 2 keys with the prefix `app/`? [y/N]") && text.contains("nothing was deleted"),
        "{text}"
    );
    assert_eq!(fixture.done(&["ls", "--count"]), "3\n");
    let (code, text) = run_at_terminal(&mut fixture.kvctl(&delete), "yes\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ok  revision 5 (2 keys deleted)"), "{text}");
    assert_eq!(fixture.run(&delete).code, Some(3));

    set_all(&fixture, &["app/a"]);
    let (code, text) = run_at_terminal(&mut fixture.kvctl(&[&delete[..], &["--yes"]].concat()), "");
    assert!(code == Some(0) && !text.contains('?'), "{text}");
    set_all(&fixture, &["app/a"]);
    assert_eq!(fixture.json(&delete), json!({"revision": 9, "deleted": 1}), "a program is not asked");
    assert_eq!(fixture.done(&["ls", "-k"]), "color\n");
}

#[test]
fn the_past_is_shown_until_it_is_forgotten() {
    let fixture = Fixture::start();
    fixture.done(&["set", "color", "blue"]);
    fixture.done(&["set", "color", "green"]);
    fixture.done(&["delete", "color"]);
    let table = "\
REVISION  CHANGE  VERSION  VALUE  LEASE
       4  delete        -  -      -
       3  put           2  green  -
       2  put           1  blue   -
";
    assert_eq!(fixture.done(&["history", "color"]), table);
    assert_eq!(fixture.json(&["history", "color"])["changes"][0], json!({"type": "delete", "revision": 4}));
    assert_eq!(fixture.done(&["get", "color", "--revision", "2"]), "blue\n");
    let missing = fixture.run(&["get", "color", "--revision", "4"]);
    assert_eq!(missing.code, Some(3));
    assert!(missing.one_error().contains("not found at revision 4"), "{missing:?}");
    let future = fixture.run(&["get", "color", "--revision", "99"]);
    assert_eq!(future.code, Some(1));
    assert!(future.one_error().contains("yet to come"), "{future:?}");
    assert_eq!(fixture.run(&["history", "shape"]).code, Some(3));

    assert_eq!(fixture.done(&["compact", "3"]), "ok  revision 4 (readable from 3 on)\n");
    let forgotten = fixture.run(&["get", "color", "--revision", "2", "-o", "json"]);
    let error: Value = serde_json::from_str(forgotten.stderr.trim()).expect("JSON");
    assert_eq!((forgotten.code, &error["error"]["code"]), (Some(1), &json!("compacted")), "{forgotten:?}");
    assert_eq!(fixture.done(&["get", "color", "--revision", "3"]), "green\n");
}

#[test]
fn a_transaction_comes_from_a_file_or_from_standard_input() {
    let fixture = Fixture::start();
    let lock = br#"{"if":   [{"key": "lock", "absent": true}],
        "then": [{"set": {"key": "lock", "value": "me"}}, {"list": {}}],
        "else": [{"get": {"key": "lock"}}]}"#;
    let first = fixture.feed(&["txn"], lock);
    let table = "\
ok  revision 2, executed `then`: all compares held
NUMBER  OPERATION  RESULT
1       set        created
2       list       1 key
";
    assert_eq!((first.code, first.stdout.as_str()), (Some(0), table), "{first:?}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), lock).expect("the file is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let second = fixture.done(&["txn", path]);
    assert!(second.starts_with("ok  revision 2, executed `else`: a compare did not hold\n"), "{second}");
    let reply = fixture.json(&["txn", path]);
    assert_eq!((&reply["succeeded"], &reply["results"][0]["value"]), (&json!(false), &json!("me")));

    for (text, complaint) in [
        (&b"{"[..], "standard input is not a transaction: EOF"),
        (br#"{"than":[]}"#, "unknown field `than`"),
        (br#"{"then":[{"set":{"key":"a","value":"1"}},{"delete":{"key":"a"}}]}"#, "invalid request"),
    ] {
        let refused = fixture.feed(&["txn", "-"], text);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.one_error().contains(complaint), "{refused:?}");
    }
}

#[test]
fn a_lease_is_granted_kept_alive_shown_and_revoked() {
    let fixture = Fixture::start();
    let id = fixture.done(&["lease", "grant", "1m"]);
    let id = id.trim();
    fixture.done(&["set", "service/1", "here", "--lease", id]);
    fixture.done(&["set", "color", "blue", "--lease", id]);
    fixture.done(&["set", "color", "green", "--keep-lease"]);
    assert_eq!(fixture.json(&["get", "color"])["lease"], json!(id));
    assert_eq!(fixture.done(&["lease", "keep-alive", id, "--once"]), format!("ok  {id} lives for 1m 0s\n"));
    let shown = fixture.json(&["lease", "show", id, "--keys"]);
    let keys = json!([{"key": "color"}, {"key": "service/1"}]);
    assert_eq!((&shown["lease"], &shown["keys"], &shown["items"]), (&json!(id), &json!(2), &keys));
    let table = fixture.done(&["lease", "list"]);
    assert!(table.starts_with("LEASE ") && table.lines().nth(1).is_some_and(|row| row.starts_with(id)), "{table}");
    assert_eq!(documents(&fixture.done(&["lease", "list", "-o", "json"]))[0]["lease"], json!(id));
    assert!(fixture.done(&["lease", "revoke", id]).ends_with("(2 keys deleted)\n"));
    for arguments in [
        &["lease", "revoke", id][..],
        &["lease", "show", id],
        &["lease", "keep-alive", id],
        &["set", "color", "red", "--lease", id],
    ] {
        let ended = fixture.run(arguments);
        assert_eq!(ended.code, Some(3), "{arguments:?}: {ended:?}");
        assert!(ended.one_error().contains(id), "{ended:?}");
    }
    assert_eq!(fixture.done(&["ls", "--count"]), "0\n");

    let chosen = "00000000000004d2";
    assert_eq!(fixture.json(&["lease", "grant", "30", "--id", chosen]), json!({"lease": chosen, "ttl_ms": 30_000}));
    assert_eq!(fixture.run(&["lease", "grant", "30", "--id", chosen]).code, Some(1));
}

#[test]
fn a_key_with_a_time_of_its_own_ends_by_itself() {
    let fixture = Fixture::start();
    let line = fixture.done(&["set", "session", "alice", "--ttl", "500ms"]);
    assert_eq!(line, "ok  revision 2 (created), ends after 500 ms\n");
    until("it has ended", || (fixture.run(&["get", "session"]).code == Some(3)).then_some(()));
    assert_eq!(fixture.json(&["history", "session"])["changes"][0]["type"], "delete");
}

#[test]
fn what_is_exported_is_imported_elsewhere() {
    let (from, to) = (Fixture::start(), Fixture::start());
    set_all(&from, &["app/a", "app/b", "color"]);
    assert_eq!(from.feed(&["set", "binary", "-"], b"\xff\x00").code, Some(0));
    from.done(&["set", "session", "alice", "--ttl", "1m"]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("all.jsonl");
    let path = file.to_str().expect("a path in UTF-8");
    assert_eq!(from.done(&["export", path]), "ok  5 keys of revision 6\n");
    assert_eq!(from.run(&["export", path]).code, Some(1), "it exists");
    let lines = documents(&fs::read_to_string(path).expect("the file"));
    assert_eq!(lines.last(), Some(&json!({"end": true, "revision": 6, "count": 5})));

    let imported = to.run(&["import", path]);
    assert_eq!(
        (imported.code, imported.stdout.as_str()),
        (Some(0), "ok  revision 2, 5 keys imported\n"),
        "{imported:?}"
    );
    assert!(imported.stderr.contains("1 key was attached to a lease, and is imported without"), "{imported:?}");
    assert_eq!(to.done(&["get", "app/a"]), "value of app/a\n");
    assert_eq!(to.json(&["get", "binary"])["value_base64"], "/wA=");
    assert_eq!(to.json(&["get", "session"]).get("lease"), None);
    let again = to.run(&["import", path]);
    assert_eq!(again.code, Some(1));
    assert!(again.one_error().contains("has been imported already; with --again"), "{again:?}");
    assert_eq!(to.run(&["import", path, "--again"]).code, Some(0));
    assert!(to.done(&["ls", "kvctl/", "-k"]).starts_with("kvctl/import/"));
    let exported = to.run(&["export"]);
    assert_eq!(exported.stdout.lines().count(), 6, "what imports remember is left out: {exported:?}");

    let some = from.run(&["export", "--prefix", "app/"]);
    assert_eq!((some.code, some.stdout.lines().count()), (Some(0), 3), "{some:?}");
    to.done(&["delete", "--prefix", "app/"]);
    let piped = to.feed(&["import", "--prefix", "app/b", "-o", "json"], some.stdout.as_bytes());
    let outcome: Value = serde_json::from_str(&piped.stdout).expect("JSON");
    assert_eq!((piped.code, &outcome["keys"]), (Some(0), &json!(1)), "{piped:?}");
    assert_eq!(to.done(&["ls", "app/", "-k"]), "app/b\n");

    let cut = some.stdout.lines().next().expect("a line");
    let piped = to.feed(&["import"], format!("{cut}\n{cut}\n").as_bytes());
    assert_eq!(piped.code, Some(0), "{piped:?}");
    assert!(piped.stderr.contains("it may be cut short"), "{piped:?}");
    assert_eq!(to.json(&["get", "app/a"])["version"], 2, "a key that comes twice is written twice");
}

#[test]
fn a_prefix_that_is_too_large_for_one_revision_is_deleted_in_several() {
    let fixture = Fixture::start();
    let value = vec![b'v'; 1 << 20];
    for number in 0..18 {
        let key = format!("big/{number}");
        assert_eq!(fixture.feed(&["set", &key, "-"], &value).code, Some(0));
    }
    let line = fixture.done(&["delete", "--prefix", "big/", "--yes"]);
    assert!(line.contains("(18 keys deleted, in 2 revisions)"), "{line}");
    assert_eq!(fixture.done(&["ls", "big/", "--count"]), "0\n");
}

#[test]
fn an_export_that_was_interrupted_goes_on_at_its_revision() {
    let fixture = Fixture::start();
    set_all(&fixture, &["app/a", "app/b", "app/c"]);
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| dir.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let (path, part, about) = (place("f"), place("f.part"), place("f.part.json"));
    fixture.done(&["export", &path]);
    let whole = fs::read_to_string(&path).expect("the file");
    // What an interrupt in the middle of the second line leaves behind.
    let cluster = fixture.json(&["status"])["cluster"].as_str().expect("an id").to_owned();
    let cut = whole.find("app/b").expect("it is there");
    let leave = |revision: u64| {
        fs::remove_file(&path).expect("the file");
        fs::write(&part, &whole[..cut]).expect("the part is written");
        let left = json!({"cluster": cluster, "prefix": [], "revision": revision, "total": 3});
        fs::write(&about, left.to_string()).expect("it is written");
    };
    leave(4);
    set_all(&fixture, &["app/b", "app/d"]);
    let rest = fixture.run(&["export", &path]);
    assert_eq!((rest.code, rest.stdout.as_str()), (Some(0), "ok  3 keys of revision 4\n"), "{rest:?}");
    assert!(rest.stderr.contains("going on behind 1 key of revision 4"), "{rest:?}");
    assert_eq!(fs::read_to_string(&path).expect("the file"), whole);
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1);
    // Another export has nothing to do with it; a revision that is forgotten is not gone on with.
    leave(4);
    assert_eq!(fixture.done(&["export", &path, "--prefix", "app/d"]), "ok  1 key of revision 6\n");
    leave(4);
    fixture.done(&["compact", "6"]);
    let anew = fixture.run(&["export", &path]);
    assert_eq!((anew.code, anew.stdout.as_str()), (Some(0), "ok  4 keys of revision 6\n"), "{anew:?}");
    assert!(anew.stderr.contains("its revision is no longer kept: beginning anew"), "{anew:?}");
}

#[test]
fn an_import_that_was_interrupted_goes_on_and_writes_each_key_once() {
    let fixture = Fixture::start();
    let mut lines = String::new();
    for number in 0..MANY {
        writeln!(lines, r#"{{"key":"many/{number:06}","value":"v"}}"#).expect("a string");
    }
    writeln!(lines, r#"{{"end":true,"revision":1,"count":{MANY}}}"#).expect("a string");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), lines).expect("the file is written");
    let path = file.path().to_str().expect("a path in UTF-8");

    let mut command = fixture.kvctl(&["import", path]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
    until("it has begun", || (fixture.run(&["get", "many/000000"]).code == Some(0)).then_some(()));
    testkit::send_signal(&child, testkit::Signal::INT);
    let ended: testkit::Ended = child.wait_with_output().expect("it ends").into();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.one_error().contains("run the same command again to go on: interrupted"), "{ended:?}");

    let rest = fixture.json(&["import", path]);
    let (keys, before) = (rest["keys"].as_u64().expect("a number"), rest["lines_done_before"].as_u64());
    assert_eq!(before, Some(u64::from(MANY) - keys), "{rest}");
    assert!(before > Some(0), "{rest}");
    let listed = documents(&fixture.done(&["ls", "many/", "-o", "json"]));
    assert_eq!(listed.len(), MANY as usize);
    assert!(listed.iter().all(|item| item["version"] == 1));
}

#[cfg(unix)]
#[test]
fn keys_are_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let fixture = Fixture::start();
    let with_key = |before: &[&str], after: &[&str]| {
        let mut command = fixture.kvctl(before);
        command.arg(OsStr::from_bytes(b"key/\xff\x01")).args(after);
        testkit::run(&mut command)
    };
    assert_eq!(with_key(&["set"], &["blue"]).code, Some(0));
    assert_eq!(with_key(&["get"], &[]).stdout, "blue\n");
    assert_eq!(with_key(&["list", "--count"], &[]).stdout, "1\n");
    let line: Value = serde_json::from_str(&fixture.done(&["ls", "-o", "json"])).expect("JSON");
    assert_eq!(line["key_base64"], "a2V5L/8B", "{line}");
    assert_eq!(with_key(&["history"], &["-o", "json"]).code, Some(0));
    let ended = with_key(&["delete"], &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let missing = with_key(&["get"], &[]);
    assert_eq!((missing.code, missing.one_error().contains("key/\\xff\\x01")), (Some(3), true), "{missing:?}");
}
