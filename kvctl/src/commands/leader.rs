//! `kvctl leader`, `kvctl transfer-leader`: show the leader, and transfer leadership.

use crate::context::Context;
use crate::output::Table;
use clap::Args;
use kvclient::LeaderReply;

/// Show who leads
///
/// Exit code 5 if there is no leader.
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

/// Transfer leadership to another node
///
/// The leader brings the other node up to date, which then takes over without an election timeout; writes of kvctl and
/// kvclient wait for that moment. Use it before maintenance of the leader's machine, or to keep leadership on the
/// fastest machine.
///
/// If the node does not take over within an election timeout, the old leader stays, and the exit code is 1.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl transfer-leader                 to the most up-to-date voter
  kvctl transfer-leader node2           to node2; done at once if it leads already
  kvctl transfer-leader -o json | jq -r .id")]
pub(crate) struct TransferLeader {
    /// Name of the voter that is to lead. Default: the most up-to-date voter
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
