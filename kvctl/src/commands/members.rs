//! `kvctl member ...`: who belongs to the cluster, and how that changes.

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Table;
use crate::values;
use clap::{Args, Subcommand};
use kvclient::api::{AddMemberRequest, Health, MembersReply, NodeState};
use kvclient::{Client, Member, MemberGoal};

/// List, add, promote, remove and replace the members of the cluster
///
/// All changes go through the leader and are done when the command ends: on the disks of a majority. A command that is
/// given again does no harm.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvd --name node4 --listen 10.0.0.4:8081 --data-dir /var/lib/kvd --join http://10.0.0.1:8081
                                         add a node: it asks for it by itself, catches up, and votes
  kvctl member list                      see it there
  kvctl member remove node2              let one go; then stop it
  kvctl member replace node2 node4       node4, a learner, takes the place of node2, in one step

A node that has lost its disk needs no command: start it as before, and it takes its own place again.")]
pub(crate) struct MemberCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    List(Members),
    Add(Add),
    Promote(Promote),
    Remove(Remove),
    Replace(Replace),
}

impl MemberCommand {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        match self.action {
            Action::List(command) => command.run(context),
            Action::Add(command) => command.run(context),
            Action::Promote(command) => command.run(context),
            Action::Remove(command) => command.run(context),
            Action::Replace(command) => command.run(context),
        }
    }
}

/// List the members of the cluster and where they listen
///
/// A learner has all data and counts for no majority; GOAL says what it is to become: `voter` once it has caught up,
/// `replace` for a voter in the place of its earlier life, whose data is lost, `learner` for a replica that stays one.
#[derive(Args)]
pub(crate) struct Members {}

impl Members {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.members()?;
        show(context, members)
    }
}

/// Add a node that waits to join, as a learner at first
///
/// A node that is started with `kvd --join` asks for this by itself; it is of use where that node does not reach the
/// cluster yet. Its name, id and addresses are asked from the node itself.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl member add http://10.0.0.4:8081
  kvctl member add 10.0.0.5:8081 --learner     a replica for reads, which never votes")]
struct Add {
    /// URL of the node; `http://` may be left out
    #[arg(value_name = "URL", value_parser = values::endpoint)]
    url: String,
    /// Let it stay a learner: a replica for reads. Else it votes as soon as it has caught up
    #[arg(long)]
    learner: bool,
}

impl Add {
    fn run(self, context: Context) -> anyhow::Result<()> {
        // By a client of its own: the node may belong to another cluster, and knows other members then.
        let health = Client::connect([&self.url])?.health(&self.url)?;
        let is_member = |member: &Member| !health.node.is_empty() && member.node == health.node;
        if !is_waiting(&health) && !context.client.members()?.iter().any(is_member) {
            return Err(Failure::Other(format!(
                "{} at {} does not wait to join a cluster, it is a {} of one: start it with an empty data directory and --join",
                health.id, self.url, health.state
            ))
            .into());
        }
        let Health { id: name, node, client_url, peer_url, level_max, .. } = health;
        let request = AddMemberRequest { name, node, client_url, peer_url, learner: self.learner, returning: false };
        let members = context.client.add_member(request, level_max)?;
        show(context, members)
    }
}

/// Whether a node can be added: one that waits, and says who it is.
fn is_waiting(health: &Health) -> bool {
    health.state == NodeState::Forming && !health.node.is_empty()
}

/// Make a voter of a learner
///
/// Refused until it has caught up: a voter that lacks much of the log could hold up every write. A learner whose goal is
/// to vote is promoted by itself.
#[derive(Args)]
struct Promote {
    /// Name of the learner
    #[arg(value_name = "NODE")]
    name: String,
}

impl Promote {
    fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.promote_member(&self.name)?;
        show(context, members)
    }
}

/// Remove a member
///
/// If it is the leader another one takes over. The node itself learns of it, votes no more and serves nothing but stale
/// reads; stop it then. It cannot come back as it was: with an empty data directory it can join again.
///
/// The last voter cannot be removed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl member remove node2
  kvctl member remove node2 --force    though too few of the others are up to write anything afterwards")]
struct Remove {
    /// Name of the node
    #[arg(value_name = "NODE")]
    name: String,
    /// Go on though the leader hears no majority of the voters that would be left; nothing can be written then until
    /// enough of them are back
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.remove_member(&self.name, self.force)?;
        show(context, members)
    }
}

/// Let a learner take the place of another node, in one step
///
/// At no moment does the cluster have fewer voters than before, so it survives as much during the change as at any other
/// time. The learner must have caught up. A node that votes already is refused: the cluster would have one voter fewer.
/// Where OLD is no member any more and NEW votes, it is done already.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvd --name node4 ... --join http://10.0.0.1:8081 --learner
  kvctl member replace node2 node4")]
struct Replace {
    /// Name of the node that leaves
    #[arg(value_name = "OLD")]
    old: String,
    /// Name of the learner that votes in its place
    #[arg(value_name = "NEW")]
    new: String,
}

impl Replace {
    fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.replace_member(&self.old, &self.new)?;
        show(context, members)
    }
}

fn show(mut context: Context, members: Vec<Member>) -> anyhow::Result<()> {
    if context.output.is_json() {
        return context.output.json(&MembersReply { members, cluster: None });
    }
    context.output.table(&table(members))
}

fn table(members: Vec<Member>) -> Table {
    let mut table = Table::new(&["NAME", "ROLE", "?GOAL", "CLIENT URL", "PEER URL"]);
    for member in members {
        let role = if member.voter { "voter" } else { "learner" };
        let goal = member.goal.map(goal).unwrap_or_default();
        table.push([member.id, role.into(), goal.into(), member.client_url, member.peer_url], None);
    }
    table
}

/// What a learner is to become, in a word.
pub(crate) fn goal(goal: MemberGoal) -> &'static str {
    match goal {
        MemberGoal::Learner => "learner",
        MemberGoal::Voter => "voter",
        MemberGoal::Replace => "replace",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_votes_and_who_is_to() {
        let member = |name: &str, goal: Option<MemberGoal>| Member {
            id: name.into(),
            client_url: format!("http://{name}:8081"),
            peer_url: format!("http://{name}:8081"),
            voter: goal.is_none(),
            goal,
            node: String::new(),
        };
        let members = vec![member("node1", None), member("node4", Some(MemberGoal::Voter))];
        let lines = "\
NAME   ROLE     GOAL   CLIENT URL         PEER URL
node1  voter    -      http://node1:8081  http://node1:8081
node4  learner  voter  http://node4:8081  http://node4:8081";
        assert_eq!(table(members).to_string(), lines);
    }
}
