//! kvctl against a real cluster: locks and elections.

#![cfg(unix)]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use support::fixture::Fixture;
use testkit::{Ended, Signal, send_signal, until};

/// A command in the background.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(fixture: &Fixture, arguments: &[&str]) -> Self {
        let mut command = fixture.kvctl(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("kvctl starts");
        let lines = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    fn end(self, signal: Signal) -> Ended {
        send_signal(&self.child, signal);
        self.child.wait_with_output().expect("kvctl ends").into()
    }
}

fn waiters(fixture: &Fixture, name: &str) -> usize {
    fixture.json(&["lock", name, "--show"])["waiters"].as_array().expect("a list").len()
}

#[test]
fn a_command_runs_under_the_lock_and_its_exit_code_is_passed_on() {
    let fixture = Fixture::start();
    let told = fixture.done(&["lock", "jobs", "--", "sh", "-c", "echo $KVD_LOCK_NAME $KVD_LOCK_TOKEN"]);
    assert_eq!(told, "jobs 2\n");
    let ended = fixture.run(&["lock", "jobs", "--", "sh", "-c", "exit 7"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(7), ""));
    let ended = fixture.run(&["lock", "jobs", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(128 + 9), ""));
    let ended = fixture.run(&["lock", "jobs", "--", "/nothing/here"]);
    assert!(ended.one_error().contains("cannot start `/nothing/here`"), "{ended:?}");
    let state = fixture.json(&["lock", "jobs", "--show"]);
    assert_eq!((&state["holder"], &state["waiters"]), (&Value::Null, &json!([])), "it is given up each time");
}

#[test]
fn locks_are_had_in_turn_and_whoever_does_not_wait_is_refused() {
    let fixture = Fixture::start();
    let mut first = Running::start(&fixture, &["lock", "jobs"]);
    assert_eq!(first.line(), "ok  holds jobs, token 2\n");
    let refused = fixture.run(&["lock", "jobs", "--wait", "0s", "--", "true"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let mut second = Running::start(&fixture, &["lock", "jobs", "--", "echo", "second"]);
    until("the second waits", || (waiters(&fixture, "jobs") == 1).then_some(()));
    let third = Running::start(&fixture, &["lock", "jobs", "--", "echo", "third"]);
    until("the third waits", || (waiters(&fixture, "jobs") == 2).then_some(()));
    let table = fixture.done(&["lock", "jobs", "--show"]);
    let states: Vec<_> = table.lines().map(|line| line.split_whitespace().next().expect("a word")).collect();
    assert_eq!(states, ["STATE", "holds", "waits", "waits"], "{table}");

    // One who stops waiting leaves the queue.
    let left = third.end(Signal::INT);
    assert_eq!(left.code, Some(130), "{left:?}");
    until("its place is given up", || (waiters(&fixture, "jobs") == 1).then_some(()));
    let released = first.end(Signal::INT);
    assert_eq!((released.code, released.one_error()), (Some(130), "interrupted; `jobs` was given up"));
    assert_eq!(second.line(), "second\n");
}

#[test]
fn a_signal_is_passed_on_and_the_lock_is_given_up_after_the_command() {
    let fixture = Fixture::start();
    let script = "trap 'echo ending; exit 3' TERM; echo began; while :; do sleep 0.05; done";
    let mut job = Running::start(&fixture, &["lock", "jobs", "--", "sh", "-c", script]);
    assert_eq!(job.line(), "began\n");
    let ended = job.end(Signal::TERM);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(3), ""), "{ended:?}");
    assert_eq!(fixture.json(&["lock", "jobs", "--show"])["holder"], Value::Null);
}

#[test]
fn a_command_whose_lock_is_lost_is_ended_gently_and_then_for_good() {
    let fixture = Fixture::start();
    for (script, code) in [
        ("trap 'exit 9' TERM; echo began; while :; do sleep 0.05; done", 9),
        ("trap '' TERM; echo began; while :; do sleep 0.05; done", 137),
    ] {
        let lock = ["lock", "jobs", "--ttl", "600ms", "--grace", "200ms", "--", "sh", "-c", script];
        let mut job = Running::start(&fixture, &lock);
        assert_eq!(job.line(), "began\n");
        let lease = fixture.json(&["lock", "jobs", "--show"])["holder"]["lease"].as_str().expect("an id").to_owned();
        fixture.done(&["lease", "revoke", &lease]);
        let ended: Ended = job.child.wait_with_output().expect("kvctl ends").into();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("the lock `jobs` is lost: another may hold it; ending the command"), "{ended:?}");
    }
}

#[test]
fn an_election_has_one_winner_and_everybody_hears_of_it() {
    let fixture = Fixture::start();
    let mut listener = Running::start(&fixture, &["elect", "service/leader", "--listen"]);
    assert!(listener.line().starts_with("nobody, at revision "));
    let mut first = Running::start(&fixture, &["elect", "service/leader", "10.0.0.1:80"]);
    assert_eq!(first.line(), "ok  holds service/leader, token 2\n");
    assert_eq!(listener.line(), "token 2  10.0.0.1:80\n");
    let serve = "trap 'exit 0' TERM; echo leads; while :; do sleep 0.05; done";
    let mut second = Running::start(&fixture, &["elect", "service/leader", "10.0.0.2:80", "--", "sh", "-c", serve]);
    until("the second stands", || (waiters(&fixture, "service/leader") == 1).then_some(()));
    assert_eq!(first.end(Signal::TERM).code, Some(130));
    assert_eq!(second.line(), "leads\n");
    let line =
        until("the listener hears of it", || Some(listener.line()).filter(|line| line.ends_with("10.0.0.2:80\n")));
    assert!(line.starts_with("token "), "{line}");
    let mut late = Running::start(&fixture, &["elect", "service/leader", "--listen", "-o", "json"]);
    let told: Value = serde_json::from_str(&late.line()).expect("JSON");
    assert_eq!(late.end(Signal::INT).code, Some(130));
    assert_eq!(told["holder"]["value"], "10.0.0.2:80", "{told}");
    assert_eq!(second.end(Signal::TERM).code, Some(0));
    assert_eq!(listener.end(Signal::INT).code, Some(130));
}
