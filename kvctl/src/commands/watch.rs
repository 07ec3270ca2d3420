//! `kvctl watch`: changes as they happen.

mod handler;
mod line;

use super::list::{short, shown};
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Tone};
use crate::values;
use anyhow::Context as _;
use clap::Args;
use handler::Handler;
use kvclient::api::{Change, ChangeKind};
use kvclient::{Key, Range};
use line::Line;
use std::ffi::OsString;
use std::time::Duration;

/// Longest wait between two looks at whether an interrupt has arrived.
const TICK: Duration = Duration::from_millis(200);

/// Follow the changes of a key, or of all keys with a prefix
///
/// Prints a line for each change, or runs a command for each: one at a time, in order. If a node fails, the watch
/// continues at another one, and neither repeats nor skips a change. An interrupt (Ctrl-C) prints the revision from
/// which to continue (`--from`).
#[derive(Args)]
#[command(after_help = "\
The command of --exec finds the change in its environment, KVD_KEY, KVD_VALUE, KVD_REVISION and KVD_TYPE
(`put` or `delete`), and as a line of JSON on its standard input. A key or value that no environment can
hold, since it has a zero byte or is longer than 100 kB, is only in the JSON. If the command fails, the
watch ends, and says with which revision to go on.

Examples:
  kvctl watch color
  kvctl watch --prefix app/
  kvctl watch --prefix app/ --from 1200        what was changed since then, and go on
  kvctl watch --prefix app/ -o json | jq -r .key
  kvctl watch config --exec systemctl reload app")]
pub(crate) struct Watch {
    /// The key
    #[arg(value_parser = values::key(), required_unless_present = "prefix", conflicts_with = "prefix")]
    key: Option<Key>,
    /// All keys that begin with this; `--prefix ''` for the whole store
    #[arg(long, value_name = "P", value_parser = values::prefix())]
    prefix: Option<Key>,
    /// Begin with the changes of this revision instead of with the next one
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Show the value before each change as well
    #[arg(long)]
    prev: bool,
    /// Run this command for each change, instead of printing it. Everything after --exec is part of CMD
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
}

impl Watch {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let range = match (self.key, self.prefix) {
            (Some(key), _) => Range::from(key),
            (None, prefix) => Range::prefix(prefix.unwrap_or_default()),
        };
        let mut watch = context.client.watch(range);
        if let Some(revision) = self.from {
            watch = watch.from_revision(revision);
        }
        if self.prev {
            watch = watch.with_prev();
        }
        let handler = Handler::new(self.exec);
        if handler.is_none() {
            output::end_when_the_reader_is_gone().context("cannot start a thread")?;
        }
        context.interrupt.notice();
        // The revision from which the user can continue after an interrupt.
        let mut next = self.from;
        while !context.interrupt.noticed() {
            let Some(revised) = watch.next_timeout(TICK) else {
                next = watch.revision().map(|revision| revision + 1).or(next);
                continue;
            };
            let revised = revised?;
            for change in &revised.changes {
                match &handler {
                    Some(handler) => handler.run(&Line::of(revised.revision, change)).map_err(|failed| {
                        let key = shown(change.key());
                        let revision = revised.revision;
                        Failure::Other(format!(
                            "{failed}; it was to handle the change of `{key}` at revision {revision}: go on with \
                            --from {revision}"
                        ))
                    })?,
                    None => tell(&mut context, revised.revision, change)?,
                }
            }
            next = Some(revised.revision + 1);
        }
        let then = match next {
            Some(next) => format!("go on with --from {next}"),
            None => "no node had answered yet".into(),
        };
        Err(Failure::Interrupted(format!("interrupted; {then}")).into())
    }
}

fn tell(context: &mut Context, revision: u64, change: &Change) -> anyhow::Result<()> {
    if context.output.is_json() {
        return context.output.json(&Line::of(revision, change));
    }
    let tone = if change.kind() == ChangeKind::Put { Tone::Good } else { Tone::Doubtful };
    let kind = context.output.toned(&format!("{:<6}", change.kind().name()), tone);
    let line = format!("{revision}  {kind}  {}{}", shown(change.key()), values_of(change));
    context.output.line(&line)
}

/// Returns the new and the previous value, as far as there are any.
fn values_of(change: &Change) -> String {
    let (item, prev) = match change {
        Change::Put { item, prev } => (Some(item), prev.as_ref()),
        Change::Delete { prev, .. } => (None, prev.as_ref()),
    };
    let now = item.map(|item| format!("  {}", short(Some(&item.value)))).unwrap_or_default();
    let before = prev.map(|prev| format!("  (before: {})", short(Some(&prev.value)))).unwrap_or_default();
    now + &before
}
