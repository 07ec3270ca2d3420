//! The command line: its flags, its environment and its commands.

use crate::commands::{
    bench, completions, delete, export, history, import, keys, leader, leader_watch, leases, list, locks, members,
    snapshot, status, txn, watch,
};
use crate::output::Format;
use crate::{exit, values};
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

/// The endpoints on which `kvd dev` listens.
const ENDPOINTS_DEFAULT: &str = "http://127.0.0.1:8081,http://127.0.0.1:8082,http://127.0.0.1:8083";

const EXAMPLES: &str = "\
Examples:
  kvctl set color blue                    write a key
  kvctl get color                         read it back
  kvctl set lock me --if-absent           write only if the key does not exist
  kvctl list app/                         list the keys that begin with app/
  kvctl watch --prefix app/               follow their changes
  kvctl lock jobs/nightly -- ./nightly.sh run a command while holding a lock
  kvctl -e 10.0.0.1:8081,10.0.0.2:8081 status
                                          show the state of another cluster
  kvctl status -o json | jq .leader       the same for programs
  kvctl watch-leader                      follow elections as they happen
  kvctl snapshot save kvd.snap            back up the whole store";

/// Reads and writes a kvd cluster, shows its state and measures it.
///
/// kvctl finds the leader by itself: any endpoint of the cluster will do, and several keep it working
/// while a node is down.
#[derive(Parser)]
#[command(name = "kvctl", version, max_term_width = 100, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = after_help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

fn after_help() -> String {
    format!("{EXAMPLES}\n\n{}\n\nOutput to a terminal is coloured; set NO_COLOR to turn that off.", exit::HELP)
}

/// Flags that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Nodes of the cluster, comma-separated; kvctl learns of the others from them. `http://` may be omitted
    #[arg(short, long, global = true, value_name = "URL,...", env = "KVCTL_ENDPOINTS", value_delimiter = ',')]
    #[arg(default_value = ENDPOINTS_DEFAULT, hide_default_value = true, value_parser = values::endpoint)]
    #[arg(
        long_help = "Nodes of the cluster, comma-separated; kvctl learns of the others from them. `http://` may be \
        omitted. If the URLs that the nodes advertise cannot be reached, these are used for everything. Default: the three nodes of `kvd dev`, 127.0.0.1:8081 to 8083"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Id of the cluster, 16 hexadecimal digits: use only nodes of this cluster
    #[arg(long, global = true, value_name = "ID", env = "KVCTL_CLUSTER", value_parser = values::cluster_id)]
    #[arg(
        long_help = "Id of the cluster, 16 hexadecimal digits (`kvctl status -o json | jq -r .cluster`). A node of \
        another cluster is neither read from nor written to, even if it was set up again under a known address. \
        Without this flag, a command uses the cluster of the first endpoint that answers"
    )]
    pub(crate) cluster: Option<String>,
    /// Time limit of one operation, retries included: `5s`, `500ms`, or plain seconds. If no node can be connected to
    /// at all, the command ends within a second
    #[arg(short, long, global = true, value_name = "TIME", env = "KVCTL_TIMEOUT", default_value = "5s")]
    #[arg(value_parser = values::timeout)]
    pub(crate) timeout: Duration,
    /// Output for people (`table`) or programs (`json`), errors included
    #[arg(short, long, global = true, value_name = "FORMAT", env = "KVCTL_OUTPUT", default_value = "table")]
    pub(crate) output: Format,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Set(keys::Set),
    Get(keys::Get),
    Delete(delete::Delete),
    List(list::ListKeys),
    History(history::History),
    Txn(txn::Txn),
    Watch(watch::Watch),
    Lease(leases::LeaseCommand),
    Lock(locks::Lock),
    Elect(locks::Elect),
    Export(export::Export),
    Import(import::Import),
    Status(status::Status),
    Members(members::Members),
    Member(members::MemberCommand),
    Leader(leader::Leader),
    TransferLeader(leader::TransferLeader),
    WatchLeader(leader_watch::WatchLeader),
    Snapshot(snapshot::Snapshot),
    Compact(history::Compact),
    Bench(bench::Bench),
    Completions(completions::Completions),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_endpoints_are_accepted() {
        for endpoint in ENDPOINTS_DEFAULT.split(',') {
            assert_eq!(values::endpoint(endpoint).as_deref(), Ok(endpoint));
        }
    }
}
