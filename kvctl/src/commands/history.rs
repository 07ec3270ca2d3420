//! `kvctl history` and `kvctl compact`: the past of keys.

use super::list::{short, shown};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{Table, Tone};
use crate::values;
use clap::Args;
use kvclient::Key;
use kvclient::api::{HistoryChange, HistoryReply};

/// Show the recent changes of one key, newest first
///
/// The cluster keeps an hour of changes, up to 64 MiB, unless `--history-age` and `--history-bytes` of kvd say
/// otherwise.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl history color
  kvctl get color --revision 7         the value at one of the revisions
  kvctl history color -o json | jq -r '.changes[].item.value'")]
pub(crate) struct History {
    /// The key
    #[arg(value_parser = values::key())]
    key: Key,
}

impl History {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let history = context.client.history(&self.key)?;
        if history.changes.is_empty() {
            return Err(Failure::KeyNotFound(format!(
                "no change of `{}` is kept; the oldest revision that is kept is {}",
                shown(&self.key),
                history.oldest_revision
            ))
            .into());
        }
        if context.output.is_json() {
            return context.output.json(&history);
        }
        context.output.table(&table(&history))
    }
}

fn table(history: &HistoryReply) -> Table {
    let mut table = Table::new(&["#REVISION", "CHANGE", "#VERSION", "VALUE", "?LEASE"]);
    for change in &history.changes {
        let revision = change.revision().to_string();
        match change {
            HistoryChange::Put { item } => {
                let lease = item.lease.map(|lease| lease.to_string()).unwrap_or_default();
                let (version, value) = (item.version.to_string(), short(Some(&item.value)));
                table.push([revision, "put".into(), version, value, lease], None);
            }
            HistoryChange::Delete { .. } => {
                let nothing = String::new;
                table.push([revision, "delete".into(), nothing(), nothing(), nothing()], Some(Tone::Doubtful));
            }
        }
    }
    table
}

/// Forget the changes before a revision, on all nodes
///
/// Nodes forget old changes by themselves, by age and by size. Use this to free memory at once, or to forget data that
/// must no longer be readable. The present keys stay.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl compact 1200
  kvctl compact \"$(kvctl status -o json | jq '[.nodes[].health.revision] | max')\"
                                       all but what is there now")]
pub(crate) struct Compact {
    /// The oldest revision that stays readable
    revision: u64,
}

impl Compact {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let reply = context.client.compact(self.revision)?;
        if context.output.is_json() {
            return context.output.json(&reply);
        }
        context.output.line(&format!("ok  revision {} (readable from {} on)", reply.revision, self.revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvclient::Item;

    #[test]
    fn the_table_tells_writes_from_deletes() {
        let item = Item {
            key: "color".into(),
            value: b"blue".to_vec(),
            create_revision: 4,
            mod_revision: 7,
            version: 2,
            lease: None,
        };
        let changes = vec![HistoryChange::Delete { revision: 12 }, HistoryChange::Put { item }];
        let lines = "\
REVISION  CHANGE  VERSION  VALUE  LEASE
      12  delete        -  -      -
       7  put           2  blue   -";
        assert_eq!(table(&HistoryReply { changes, oldest_revision: 1 }).to_string(), lines);
    }
}
