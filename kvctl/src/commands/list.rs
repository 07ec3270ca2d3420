//! `kvctl list`: the keys of the store.

use crate::context::Context;
use crate::output::{self, Output, Table};
use crate::{units, values};
use clap::Args;
use kvclient::api::ListItem;
use kvclient::{Client, Error, Key, List, ListEntry, Range};
use serde::Serialize;

/// Rows after which a part of a table is printed, so that a list of any length needs only the memory of one part.
const ROWS_MAX: usize = 1000;

/// Characters of a value in a table.
pub(super) const VALUE_CHARACTERS: usize = 60;

/// List keys, in order
///
/// The list shows the keys at one revision, whatever is written meanwhile. Tables show the beginning of each value;
/// with `-o json` each key is one line, as in `kvctl export`.
#[derive(Args)]
#[command(visible_alias = "ls")]
#[command(after_help = "\
Examples:
  kvctl list                           all keys
  kvctl ls app/                        those that begin with app/
  kvctl ls app/ --delimiter /          the same like a folder: what is deeper is one line
  kvctl ls app/ -l                     with sizes, versions, revisions and leases
  kvctl ls logs/ --reverse --limit 10  the last ten
  kvctl ls --count                     only their number
  kvctl ls app/ --keys-only | wc -l
  kvctl ls app/ -o json | jq -r .value")]
pub(crate) struct ListKeys {
    /// List only keys that begin with this
    #[arg(default_value = "", hide_default_value = true, value_parser = values::prefix())]
    prefix: Key,
    /// Print only the keys, one per line
    #[arg(short, long)]
    keys_only: bool,
    /// Print only the number of keys
    #[arg(short, long, conflicts_with_all = ["keys_only", "long", "limit", "delimiter", "reverse"])]
    count: bool,
    /// Print sizes of values, versions, revisions and leases instead of the values
    #[arg(short, long, conflicts_with = "keys_only")]
    long: bool,
    /// Print at most this many lines
    #[arg(short = 'n', long, value_name = "N", value_parser = values::limit)]
    limit: Option<u64>,
    /// Print keys that have this text after the prefix as one line, cut off after it: `--delimiter /` lists like a
    /// folder
    #[arg(short, long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    delimiter: Option<String>,
    /// List the last key first
    #[arg(short, long)]
    reverse: bool,
    /// List the keys as they were at this revision, which must be recent enough to be kept
    #[arg(long, value_name = "N", conflicts_with = "stale")]
    revision: Option<u64>,
    /// List one node's keys without asking the leader; they may be out of date
    #[arg(long)]
    stale: bool,
}

impl ListKeys {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        let Context { client, mut output, .. } = context;
        let list = self.list(&client);
        if self.count {
            let count = list.count()?;
            return match output.is_json() {
                true => output.json(&Count { count }),
                false => output.line(&count.to_string()),
            };
        }
        let mut entries = entries(list, self.limit).peekable();
        if output.is_json() {
            return entries.try_for_each(|entry| print_json(&mut output, &entry?));
        }
        if self.keys_only {
            return entries.try_for_each(|entry| print_key(&mut output, entry?.key()));
        }
        if entries.peek().is_none() && output.is_terminal() {
            output::say(&match self.prefix.as_bytes() {
                [] => "the store has no keys".to_owned(),
                _ => format!("no key begins with `{}`", shown(&self.prefix)),
            });
        }
        let (mut table, mut is_first) = (self.table(), true);
        while let Some(entry) = entries.next() {
            table.push(self.row(&entry?), None);
            if table.len() == ROWS_MAX || entries.peek().is_none() {
                let part = std::mem::replace(&mut table, self.table());
                output.table(&if is_first { part } else { part.continued() })?;
                is_first = false;
            }
        }
        Ok(())
    }

    fn list(&self, client: &Client) -> List {
        let range = if self.prefix.as_bytes().is_empty() { Range::All } else { Range::prefix(&self.prefix) };
        let mut list = client.list(range);
        // Sizes need the values.
        if self.keys_only {
            list = list.keys_only();
        }
        if self.reverse {
            list = list.descending();
        }
        if self.stale {
            list = list.stale();
        }
        if let Some(delimiter) = &self.delimiter {
            list = list.delimiter(delimiter);
        }
        if let Some(revision) = self.revision {
            list = list.at(revision);
        }
        list
    }

    fn table(&self) -> Table {
        match self.long {
            true => Table::new(&["KEY", "#SIZE", "#VERSION", "#REVISION", "?LEASE"]),
            false => Table::new(&["KEY", "VALUE"]),
        }
    }

    fn row(&self, entry: &ListEntry) -> Vec<String> {
        let key = shown(entry.key());
        match (entry, self.long) {
            (ListEntry::Item(item), true) => long_row(key, item),
            (ListEntry::Item(item), false) => vec![key, short(item.value.as_deref())],
            (ListEntry::Prefix(_), true) => vec![key, String::new(), String::new(), String::new(), String::new()],
            (ListEntry::Prefix(_), false) => vec![key, String::new()],
        }
    }
}

fn long_row(key: String, item: &ListItem) -> Vec<String> {
    let size = item.value.as_ref().map(|value| units::bytes(value.len() as u64));
    let lease = item.lease.map(|lease| lease.to_string());
    vec![
        key,
        size.unwrap_or_default(),
        item.version.to_string(),
        item.mod_revision.to_string(),
        lease.unwrap_or_default(),
    ]
}

/// Returns the entries: in pages if few are wanted, otherwise in one stream.
pub(super) fn entries(list: List, limit: Option<u64>) -> Box<dyn Iterator<Item = Result<ListEntry, Error>>> {
    match limit {
        Some(limit) => Box::new(list.limit(limit).entries()),
        None => Box::new(list.stream()),
    }
}

/// Returns the beginning of a value for a table.
pub(super) fn short(value: Option<&[u8]>) -> String {
    value.map(|value| output::short_line(value, VALUE_CHARACTERS)).unwrap_or_default()
}

/// Returns a key for a table.
pub(super) fn shown(key: &Key) -> String {
    output::safe_line(&key.to_string())
}

/// Prints an entry as one line of JSON: an item, or `{"prefix":"..."}`.
pub(super) fn print_json(output: &mut Output, entry: &ListEntry) -> anyhow::Result<()> {
    output.json(&kvclient::api::ListLine::from(entry.clone()))
}

/// Prints a key on a line: to a terminal in a harmless form, otherwise byte by byte.
fn print_key(output: &mut Output, key: &Key) -> anyhow::Result<()> {
    output.value(key.as_bytes())
}

/// The number of keys, for programs.
#[derive(Serialize)]
struct Count {
    count: u64,
}
