//! `kvctl watch-leader`: a line for each change of leader, until interrupted.
//!
//! The changes come from [`kvclient::LeaderWatch`], which moves on to another node when the one it listens to goes
//! away. A [`pulse`] measures how long there was no leader.

mod pulse;

use crate::context::Context;
use crate::output::{self, Tone};
use crate::units;
use anyhow::Context as _;
use clap::Args;
use kvclient::api::NodeUrl;
use kvclient::{Client, LeaderChange};
use pulse::Pulse;
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// Print a line for each change of leader, until interrupted
///
/// A line has the time (UTC), the term, the old and the new leader, and how long clients were without one: kvctl reads
/// a key twenty times a second to measure that. The first line shows the present leader. The command keeps running
/// whatever nodes fail.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl watch-leader
  kvctl watch-leader -o json | jq '.without_leader_ms'")]
pub(crate) struct WatchLeader {}

impl WatchLeader {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        output::end_when_the_reader_is_gone().context("cannot start a thread")?;
        explain_if_there_is_none(&context.client)?;
        let pulse = Pulse::start(context.client.clone()).context("cannot start a thread")?;
        for mut change in context.client.watch_leader() {
            if change.leader.is_some() && change.previous.is_some() {
                let doubted = change.without_leader.unwrap_or_default() + NEWS;
                let since = Instant::now().checked_sub(doubted).unwrap_or_else(Instant::now);
                change.without_leader = pulse.longest(since).max(change.without_leader);
            }
            if change.leader.is_none() && change.previous.is_some() {
                explain_if_there_is_none(&context.client)?;
            }
            if context.output.is_json() {
                context.output.json(&Line::from(&change))?;
            } else {
                let tone = if change.leader.is_some() { Tone::Good } else { Tone::Bad };
                let line = context.output.toned(&text(&change), tone);
                context.output.line(&line)?;
            }
        }
        Ok(())
    }
}

/// A read that waited for a new leader may end this much earlier than the watch reports that leader: the time for which
/// the watch listens to a node that hangs, and a little more.
const NEWS: Duration = Duration::from_secs(5);

/// Asks for the leader besides the watch, and says why there is none. The watch cannot distinguish an endpoint that is
/// wrong, or now leads to another cluster, from one that is down.
fn explain_if_there_is_none(client: &Client) -> anyhow::Result<()> {
    let client = client.clone();
    let ask = move || {
        if let Err(error) = client.leader() {
            output::warn(&format!("{error}; watching until there is one"));
        }
    };
    thread::Builder::new().name("ask".into()).spawn(ask).context("cannot start a thread")?;
    Ok(())
}

fn text(change: &LeaderChange) -> String {
    if change.leader.is_none() && change.previous.is_none() {
        return format!("{}  no leader yet", units::moment(change.at));
    }
    let name = |node: &Option<NodeUrl>| node.as_ref().map_or("none".to_owned(), |node| output::safe_line(&node.id));
    let url = change.leader.as_ref().map(|node| format!("  {}", output::safe_line(&node.url))).unwrap_or_default();
    let gap = match change.without_leader {
        Some(gap) => format!("  after {} without a leader", units::short(gap)),
        None => String::new(),
    };
    format!(
        "{}  term {}  {} -> {}{url}{gap}",
        units::moment(change.at),
        change.term,
        name(&change.previous),
        name(&change.leader)
    )
}

/// A change of leader, for programs.
#[derive(Serialize)]
struct Line<'a> {
    at: String,
    term: u64,
    previous: Option<&'a NodeUrl>,
    leader: Option<&'a NodeUrl>,
    without_leader_ms: Option<u64>,
}

impl<'a> From<&'a LeaderChange> for Line<'a> {
    fn from(change: &'a LeaderChange) -> Self {
        Self {
            at: units::moment(change.at),
            term: change.term,
            previous: change.previous.as_ref(),
            leader: change.leader.as_ref(),
            without_leader_ms: change.without_leader.map(units::ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_line_says_who_leads_or_that_nobody_does() {
        let node = |id: &str| Some(NodeUrl { id: id.into(), url: format!("http://{id}:1") });
        let none =
            LeaderChange { at: SystemTime::UNIX_EPOCH, term: 0, previous: None, leader: None, without_leader: None };
        let gap = Some(Duration::from_millis(310));
        for (change, line) in [
            (none.clone(), "no leader yet"),
            (LeaderChange { term: 5, leader: node("a"), ..none.clone() }, "term 5  none -> a  http://a:1"),
            (LeaderChange { term: 6, previous: node("a"), ..none.clone() }, "term 6  a -> none"),
            (
                LeaderChange { term: 7, previous: node("a"), leader: node("b"), without_leader: gap, ..none },
                "term 7  a -> b  http://b:1  after 310 ms without a leader",
            ),
        ] {
            assert_eq!(text(&change), format!("1970-01-01T00:00:00.000Z  {line}"));
        }
    }
}
