//! kvctl against a real cluster: changes as they happen.

#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use support::fixture::Fixture;
use testkit::{Ended, Signal, send_signal};

/// A watch in the background.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(fixture: &Fixture, arguments: &[&str]) -> Self {
        let mut command = fixture.kvctl(&[&["watch"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
        let lines = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    fn interrupt(self) -> Ended {
        send_signal(&self.child, Signal::INT);
        self.child.wait_with_output().expect("kvctl ends").into()
    }
}

#[test]
fn a_line_tells_of_each_change_and_an_interrupt_where_to_go_on() {
    let fixture = Fixture::start();
    fixture.done(&["set", "app/a", "1"]);
    let mut watch = Watching::start(&fixture, &["--prefix", "app/", "--from", "2", "--prev"]);
    assert_eq!(watch.line(), "2  put     app/a  1\n");
    for write in [&["set", "color", "blue"][..], &["set", "app/a", "two"], &["delete", "app/a"]] {
        fixture.done(write);
    }
    assert_eq!(watch.line(), "4  put     app/a  two  (before: 1)\n");
    assert_eq!(watch.line(), "5  delete  app/a  (before: two)\n");
    let ended = watch.interrupt();
    assert_eq!((ended.code, ended.one_error()), (Some(130), "interrupted; go on with --from 6"), "{ended:?}");
}

#[test]
fn programs_get_each_change_as_a_line_of_json() {
    let fixture = Fixture::start();
    fixture.done(&["set", "color", "blue"]);
    fixture.done(&["delete", "color"]);
    let mut watch = Watching::start(&fixture, &["color", "--from", "1", "-o", "json"]);
    let put: Value = serde_json::from_str(&watch.line()).expect("JSON");
    assert_eq!((&put["revision"], &put["type"], &put["item"]["value"]), (&json!(2), &json!("put"), &json!("blue")));
    let delete: Value = serde_json::from_str(&watch.line()).expect("JSON");
    assert_eq!(delete, json!({"revision": 3, "type": "delete", "key": "color"}));
    let ended = watch.interrupt();
    let error: Value = serde_json::from_str(&ended.stderr).expect("JSON");
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&json!("interrupted"), &json!(130)));
}

#[test]
fn a_command_runs_for_each_change_in_turn_until_one_fails() {
    let fixture = Fixture::start();
    for write in [&["set", "job/a", "first"][..], &["set", "job/b", "second"], &["delete", "job/a"]] {
        fixture.done(write);
    }
    // Fails for the last one.
    let script = r#"echo "$KVD_REVISION $KVD_TYPE $KVD_KEY ${KVD_VALUE-none}"; read -r json; echo "$json"; [ "$KVD_TYPE" = put ]"#;
    let ended = fixture.run(&["watch", "--prefix", "job/", "--from", "1", "--exec", "sh", "-c", script]);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let spoken: Vec<_> = lines.iter().step_by(2).collect();
    assert_eq!(spoken, [&"2 put job/a first", &"3 put job/b second", &"4 delete job/a none"], "{ended:?}");
    let read: Value = serde_json::from_str(lines[1]).expect("JSON on its standard input");
    assert_eq!((&read["revision"], &read["item"]["value"]), (&json!(2), &json!("first")));
    let failed =
        "`sh` has failed: exit status: 1; it was to handle the change of `job/a` at revision 4: go on with --from 4";
    assert_eq!((ended.code, ended.stderr), (Some(1), format!("error: {failed}\n")));

    let ended = fixture.run(&["watch", "job/b", "--from", "1", "--exec", "/nothing/here"]);
    assert!(ended.one_error().contains("`/nothing/here` cannot be started"), "{ended:?}");
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_past_that_is_forgotten_ends_a_watch_with_what_to_do() {
    let fixture = Fixture::start();
    for value in ["a", "b", "c"] {
        fixture.done(&["set", "color", value]);
    }
    fixture.done(&["compact", "4"]);
    let ended = fixture.run(&["watch", "color", "--from", "2"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.one_error().contains('4'), "{ended:?}");
}
