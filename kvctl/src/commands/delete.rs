//! `kvctl delete`: one key, or all with a prefix.

use super::keys::{INTERRUPTED_WRITE, unchanged};
use super::list::shown;
use crate::context::Context;
use crate::exit::Failure;
use crate::{output, units, values};
use anyhow::Context as _;
use clap::{ArgGroup, Args};
use kvclient::api::{COMMAND_KEYS_MAX, DeleteReply, DeleteRequest};
use kvclient::{Client, Error, Key, Range};
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

/// Keys in the first step of a deletion that is too large for one.
const STEP_KEYS: u64 = 10_000;

/// Delete one key, or all keys with a prefix
///
/// All keys with a prefix are deleted in one revision. If there are more than 100,000 of them, or more than 16 MiB,
/// they are deleted in several revisions. At a terminal you are asked first.
#[derive(Args)]
#[command(group = ArgGroup::new("keys").args(["key", "prefix"]).required(true))]
#[command(after_help = "\
Examples:
  kvctl delete color
  kvctl delete lock --if-value \"$HOSTNAME\"
                                       release a lock only if it is yours
  kvctl delete color || [ $? -eq 3 ]   a missing key is not an error
  kvctl delete --prefix logs/2023/     all below it, once you have confirmed it
  kvctl delete --prefix logs/2023/ --yes")]
pub(crate) struct Delete {
    /// The key
    #[arg(value_parser = values::key())]
    key: Option<Key>,
    /// Delete all keys that begin with this
    #[arg(long, value_parser = values::key(), conflicts_with_all = ["if_revision", "if_value"])]
    prefix: Option<Key>,
    /// Do not ask
    #[arg(short, long, requires = "prefix")]
    yes: bool,
    #[command(flatten)]
    condition: DeleteCondition,
}

#[derive(Args)]
#[group(multiple = false)]
struct DeleteCondition {
    /// Delete only if the key was last changed at this revision (`mod_revision`)
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    /// Delete only if the key has exactly this value
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    if_value: Option<OsString>,
}

impl Delete {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        match (self.key, self.prefix) {
            (_, Some(prefix)) => delete_all(context, &prefix, self.yes),
            (Some(key), None) => delete_one(context, &key, self.condition),
            (None, None) => Err(Failure::Other("name a key, or a prefix".into()).into()),
        }
    }
}

fn delete_one(mut context: Context, key: &Key, condition: DeleteCondition) -> anyhow::Result<()> {
    context.interrupt.remark(INTERRUPTED_WRITE);
    let DeleteCondition { if_revision, if_value } = condition;
    let reply = match unchanged(if_revision, if_value) {
        None => context.client.delete(key)?,
        Some(condition) => context.client.delete_if(key, condition)?,
    };
    if reply.deleted == 0 {
        return Err(Failure::KeyNotFound(format!("key `{}` not found, nothing deleted", shown(key))).into());
    }
    if context.output.is_json() {
        return context.output.json(&reply);
    }
    context.output.line(&format!("ok  revision {} (deleted)", reply.revision))
}

fn delete_all(mut context: Context, prefix: &Key, is_confirmed: bool) -> anyhow::Result<()> {
    let range = Range::prefix(prefix);
    if !is_confirmed && io::stdin().is_terminal() {
        let count = context.client.list(range.clone()).count()?;
        if count > 0 && !confirm(&format!("Delete {} with the prefix `{}`?", units::keys(count), shown(prefix)))? {
            return Err(Failure::Other("nothing was deleted".into()).into());
        }
    }
    context.interrupt.remark(INTERRUPTED_WRITE);
    let (reply, steps) = delete_range(&context.client, &range)?;
    if reply.deleted == 0 {
        return Err(Failure::KeyNotFound(format!("no key begins with `{}`, nothing deleted", shown(prefix))).into());
    }
    if context.output.is_json() {
        return context.output.json(&reply);
    }
    let in_steps = if steps > 1 { format!(", in {steps} revisions") } else { String::new() };
    context.output.line(&format!("ok  revision {} ({} deleted{in_steps})", reply.revision, units::keys(reply.deleted)))
}

/// Deletes a range, in steps if it is too large for one. Returns the reply for all steps, and their number.
fn delete_range(client: &Client, range: &Range) -> anyhow::Result<(DeleteReply, u64)> {
    match client.delete_range(range.clone()) {
        Err(Error::TooLarge { .. }) => {}
        reply => return Ok((reply?, 1)),
    }
    let (mut limit, mut whole, mut steps) = (STEP_KEYS.min(COMMAND_KEYS_MAX), DeleteReply::new(0, 0), 0);
    loop {
        let step = DeleteRequest { limit: Some(limit), ..DeleteRequest::new(range.clone()) };
        match client.delete_with(step) {
            // If values are large, fewer of them fit into a step.
            Err(Error::TooLarge { .. }) if limit > 1 => limit /= 2,
            Err(error) => {
                let before = format!("{} already deleted", units::keys(whole.deleted));
                return Err(error).context(before);
            }
            Ok(reply) => {
                whole.deleted += reply.deleted;
                whole.revision = reply.revision;
                steps += 1;
                if !reply.more {
                    return Ok((whole, steps));
                }
            }
        }
    }
}

/// Asks at the terminal. Any answer other than yes means no.
fn confirm(question: &str) -> anyhow::Result<bool> {
    let mut err = io::stderr().lock();
    write!(err, "{} [y/N] ", output::safe_line(question))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
