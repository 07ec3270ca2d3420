//! `kvctl member ...`: the members of the cluster, and changes of them.

use crate::context::Context;
use crate::exit::Failure;
use crate::output::Table;
use crate::values;
use clap::{Args, Subcommand};
use kvclient::api::{AddMemberRequest, Health, MembersReply, NodeState, UpdateMemberRequest};
use kvclient::{Client, Member, MemberGoal};

/// List, add, promote, remove, replace and update the members of the cluster
///
/// All changes go through the leader. When the command ends, the change is on the disks of a majority. Repeating a
/// command is safe.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvd --name node4 --listen 10.0.0.4:8081 --data-dir /var/lib/kvd --join http://10.0.0.1:8081
                                         add a node: it joins, catches up and votes by itself
  kvctl member list                      see it there
  kvctl member remove node2              remove a node; then stop it
  kvctl member replace node2 node4       replace node2 with the learner node4 in one step

A node that has lost its disk needs no command: start it as before, and it rejoins by itself.")]
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
    Update(Update),
}

impl MemberCommand {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        match self.action {
            Action::List(command) => command.run(context),
            Action::Add(command) => command.run(context),
            Action::Promote(command) => command.run(context),
            Action::Remove(command) => command.run(context),
            Action::Replace(command) => command.run(context),
            Action::Update(command) => command.run(context),
        }
    }
}

/// List the members of the cluster and where they listen
///
/// A learner has all data and does not vote. GOAL shows what it will become: `voter` once it has caught up, `replace`
/// for a node that lost its data and will replace its previous incarnation as a voter, `learner` for a replica that
/// stays a learner.
#[derive(Args)]
pub(crate) struct Members {}

impl Members {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.members()?;
        show(context, members)
    }
}

/// Add a node that is waiting to join; it starts as a learner
///
/// A node started with `kvd --join` asks for this by itself. Use this command when that node cannot reach the cluster.
/// kvctl asks the node for its name, id and URLs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl member add http://10.0.0.4:8081
  kvctl member add 10.0.0.5:8081 --learner     a replica for reads, which never votes")]
struct Add {
    /// URL of the node; `http://` may be left out
    #[arg(value_name = "URL", value_parser = values::endpoint)]
    url: String,
    /// Keep it a learner, a replica for reads. Without this it becomes a voter once it has caught up
    #[arg(long)]
    learner: bool,
}

impl Add {
    fn run(self, context: Context) -> anyhow::Result<()> {
        // With a client of its own: the node may belong to another cluster, and then knows other members.
        let health = Client::connect([&self.url])?.health(&self.url)?;
        let is_member = |member: &Member| !health.node.is_empty() && member.node == health.node;
        if !is_waiting(&health) && !context.client.members()?.iter().any(is_member) {
            return Err(Failure::Other(format!(
                "{} at {} is not waiting to join a cluster: it is already a {}. Start it with an empty data directory \
                 and --join",
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

/// Returns whether a node can be added: it waits to join, and reports its id.
fn is_waiting(health: &Health) -> bool {
    health.state == NodeState::Forming && !health.node.is_empty()
}

/// Promote a learner to voter
///
/// Refused until the learner has caught up: a voter that lacks much of the log could delay every write. A learner with
/// the goal `voter` is promoted by itself.
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
/// If it is the leader, another node takes over. The removed node no longer votes and serves only stale reads: stop it.
/// It can join again with an empty data directory.
///
/// The last voter cannot be removed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl member remove node2
  kvctl member remove node2 --force    even if writes stop afterwards")]
struct Remove {
    /// Name of the node
    #[arg(value_name = "NODE")]
    name: String,
    /// Remove even if too few of the remaining voters are reachable; writes stop until they return
    #[arg(long)]
    force: bool,
}

impl Remove {
    fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.remove_member(&self.name, self.force)?;
        show(context, members)
    }
}

/// Replace a voter with a learner in one step
///
/// The number of voters stays the same throughout, so fault tolerance is not reduced during the change. The learner
/// must have caught up. NEW must not be a voter already, or the cluster would have one voter fewer. If OLD is no longer
/// a member and NEW is a voter, there is nothing to do.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvd --name node4 ... --join http://10.0.0.1:8081 --learner
  kvctl member replace node2 node4")]
struct Replace {
    /// Name of the voter to remove
    #[arg(value_name = "OLD")]
    old: String,
    /// Name of the learner that replaces it
    #[arg(value_name = "NEW")]
    new: String,
}

impl Replace {
    fn run(self, context: Context) -> anyhow::Result<()> {
        let members = context.client.replace_member(&self.old, &self.new)?;
        show(context, members)
    }
}

/// Change the recorded URLs of a member before it moves to another address
///
/// Update the member, then restart it at the new address. A node announces its new URLs by itself when it restarts, so
/// this is needed only when several nodes move at the same time and have to find each other.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl member update node2 --peer-url http://10.0.0.9:8081
  kvctl member update node2 --peer-url 10.0.0.9:8081 --client-url 10.0.0.9:8081")]
struct Update {
    /// Name of the node
    #[arg(value_name = "NODE")]
    node: String,
    /// New URL for the other nodes; `http://` may be omitted
    #[arg(long, value_name = "URL", value_parser = values::endpoint, required_unless_present = "client_url")]
    peer_url: Option<String>,
    /// New URL for clients; `http://` may be omitted
    #[arg(long, value_name = "URL", value_parser = values::endpoint)]
    client_url: Option<String>,
}

impl Update {
    fn run(self, context: Context) -> anyhow::Result<()> {
        let Self { node, peer_url, client_url } = self;
        let members = context.client.update_member(UpdateMemberRequest { id: node, client_url, peer_url })?;
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

/// Returns a learner's goal in one word.
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
