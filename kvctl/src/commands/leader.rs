//! `kvctl leader`, `kvctl transfer-leader`: which node leads, and which one shall.

use crate::context::Context;
use crate::output::Table;
use clap::Args;
use kvclient::LeaderReply;

/// Show who leads
///
/// Exit code 5 when nobody does.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl leader
  curl \"$(kvctl leader -o json | jq -r .url)/health\"")]
pub(crate) struct Leader {}

impl Leader {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        let leader = context.client.leader()?;
        show(context, leader)
    }
}

/// Hand leadership over to another node
///
/// The leader brings the other node up to date, then that one takes over, without anyone waiting for an election
/// timeout; writes of kvctl and kvclient wait for that moment. To be done before the leader's machine goes down for
/// maintenance, or to keep leadership on the fastest one.
///
/// If the node does not take over within an election timeout, the old leader goes on, and the exit code is 1.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl transfer-leader                 to the most up-to-date voter
  kvctl transfer-leader node2           to node2; done at once if it leads already
  kvctl transfer-leader -o json | jq -r .id")]
pub(crate) struct TransferLeader {
    /// The node that is to lead, by its name; a voter. Without it: the most up-to-date one
    node: Option<String>,
}

impl TransferLeader {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        let leader = context.client.transfer_leader(self.node.as_deref())?;
        show(context, leader)
    }
}

fn show(mut context: Context, leader: LeaderReply) -> anyhow::Result<()> {
    if context.output.is_json() {
        return context.output.json(&leader);
    }
    let mut table = Table::new(&["NAME", "#TERM", "URL"]);
    table.push([leader.id, leader.term.to_string(), leader.url], None);
    context.output.table(&table)
}
