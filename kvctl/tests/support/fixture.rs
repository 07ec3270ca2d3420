//! kvctl and a cluster of three nodes.

use super::kvctl;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use testkit::{Ended, InProcess, until};

/// A cluster and its endpoints.
pub(crate) struct Fixture {
    pub(crate) cluster: InProcess,
}

impl Fixture {
    pub(crate) fn start() -> Self {
        Self { cluster: InProcess::start(3) }
    }

    /// Like [`Fixture::start`], but waits until every node has formed the cluster: a majority is enough to serve.
    pub(crate) fn formed() -> Self {
        let fixture = Self::start();
        let knows_all = |url: &String| fixture.json(&["members", "--endpoints", url])["members"][2].is_object();
        until("all nodes know all", || fixture.cluster.endpoints().iter().all(knows_all).then_some(()));
        fixture
    }

    pub(crate) fn kvctl(&self, arguments: &[&str]) -> Command {
        let mut command = kvctl(arguments);
        command.env("KVCTL_ENDPOINTS", self.cluster.endpoints().join(","));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        testkit::run(&mut self.kvctl(arguments))
    }

    /// Runs a command that must succeed without output on standard error.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}: {ended:?}");
        ended.stdout
    }

    /// Runs a command with `--output json`, whose output is one line.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.done(&[arguments, &["--output", "json"]].concat());
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Returns the number of keys in the store, according to the leader.
    pub(crate) fn keys(&self) -> u64 {
        until("there is a leader", || {
            let status: Value = serde_json::from_str(&self.run(&["status", "-o", "json"]).stdout).ok()?;
            let leader = status["nodes"].as_array()?.iter().find(|node| node["leader"] == true)?;
            leader["health"]["keys"].as_u64()
        })
    }

    /// Runs a command with these bytes on standard input.
    pub(crate) fn feed(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.kvctl(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kvctl starts");
        child.stdin.take().expect("standard input is a pipe").write_all(input).expect("kvctl reads it all");
        child.wait_with_output().expect("kvctl ends").into()
    }
}
