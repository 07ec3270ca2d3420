//! `kvctl set`, `kvctl get`: one key at a time.

use super::list::shown;
use crate::context::Context;
use crate::exit::Failure;
use crate::{units, values};
use anyhow::{Context as _, bail};
use clap::{Args, ValueHint};
use kvclient::Key;
use kvclient::api::{Condition, GetQuery, LeaseId, SetRequest};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// Maximum number of bytes that are read from a file or from standard input. The cluster has its own limit, usually
/// lower; this one ends `kvctl set key --file /dev/zero`.
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Message for when a signal ends a write that has not been answered yet.
pub(super) const INTERRUPTED_WRITE: &str = "interrupted; the write may have been applied: check with `kvctl get`";

/// Write one key
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl set color blue
  date | kvctl set today -             the value from standard input, to the last byte
  printf - | kvctl set dash -          the value `-` itself
  kvctl set logo --file logo.png
  kvctl set lock \"$HOSTNAME\" --if-absent
                                       exit code 4 if the key exists
  kvctl set color red --if-revision 7  only if it has not changed since
  kvctl set session/alice laptop --ttl 30s
                                       ends by itself, unless it is set again
  kvctl set services/web/1 10.0.0.1:80 --lease 00000000000004d2
                                       ends with the lease
  kvctl set flag -- --verbose          a value that looks like a flag")]
pub(crate) struct Set {
    /// The key, 1 to 4096 bytes
    #[arg(value_parser = values::key())]
    key: Key,
    /// The value; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file", allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Take the value from this file, byte by byte
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    #[command(flatten)]
    condition: SetCondition,
    #[command(flatten)]
    lifetime: Lifetime,
}

#[derive(Args)]
#[group(multiple = false)]
struct Lifetime {
    /// Let the key end by itself after this time: `30s`, `500ms`, or plain seconds. Each write with a TIME starts it
    /// anew
    #[arg(long, value_name = "TIME", value_parser = values::ttl)]
    ttl: Option<Duration>,
    /// Attach the key to this lease (`kvctl lease grant`): it is deleted when the lease ends
    #[arg(long, value_name = "ID")]
    lease: Option<LeaseId>,
    /// Keep the key attached to its present lease; without this, a key that is written again is detached
    #[arg(long)]
    keep_lease: bool,
}

#[derive(Args)]
#[group(multiple = false)]
struct SetCondition {
    /// Write only if there is no such key
    #[arg(long)]
    if_absent: bool,
    /// Write only if the key exists
    #[arg(long)]
    if_present: bool,
    /// Write only if the key was last changed at this revision (`mod_revision`)
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    /// Write only if the key has exactly this value
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    if_value: Option<OsString>,
}

impl Set {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let value = match (self.file, self.value) {
            (Some(path), _) => {
                let name = path.display();
                let file = File::open(&path).with_context(|| format!("cannot open {name}"))?;
                read_value(file).with_context(|| format!("cannot read {name}"))?
            }
            (None, Some(value)) if value == "-" => {
                read_value(io::stdin().lock()).context("cannot read standard input")?
            }
            (None, value) => value.unwrap_or_default().into_encoded_bytes(),
        };
        context.interrupt.remark(INTERRUPTED_WRITE);
        let Lifetime { ttl, lease, keep_lease } = self.lifetime;
        let reply = context.client.set_with(SetRequest {
            condition: self.condition.into_api(),
            lease,
            ttl_ms: ttl.map(units::ms),
            keep_lease,
            ..SetRequest::new(self.key, value)
        })?;
        if context.output.is_json() {
            return context.output.json(&reply);
        }
        let created = if reply.created { " (created)" } else { "" };
        let ends = ttl.map(|ttl| format!(", ends after {}", units::short(ttl))).unwrap_or_default();
        context.output.line(&format!("ok  revision {}{created}{ends}", reply.revision))
    }
}

impl SetCondition {
    fn into_api(self) -> Option<Condition> {
        if self.if_absent {
            return Some(Condition::Absent);
        }
        if self.if_present {
            return Some(Condition::Present);
        }
        unchanged(self.if_revision, self.if_value)
    }
}

/// Returns the condition that the key is at this revision, or has this value. Only one of the two flags can be given.
pub(super) fn unchanged(revision: Option<u64>, value: Option<OsString>) -> Option<Condition> {
    let revision = revision.map(Condition::ModRevision);
    revision.or_else(|| value.map(|value| Condition::Value(value.into_encoded_bytes())))
}

fn read_value(from: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    // One byte more than allowed distinguishes a value of maximum length from one that is too long.
    from.take(VALUE_BYTES_MAX + 1).read_to_end(&mut value)?;
    if value.len() as u64 > VALUE_BYTES_MAX {
        bail!("it is larger than {} MiB, too large for a value", VALUE_BYTES_MAX >> 20);
    }
    Ok(value)
}

/// Read one key
///
/// Prints the value and a newline. On a terminal, control characters in the value are shown as escapes.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl get color
  kvctl get color -o json              the value with its revisions
  kvctl get logo --raw > logo.png      the bytes as they are, without a newline
  kvctl get color --stale              from any node, even without a leader
  kvctl get color --stale --max-stale 500ms
                                       from a node at most this far behind
  kvctl get color --revision 7         as it was then (`kvctl history color`)
  kvctl get color || [ $? -eq 3 ]      a missing key is exit code 3")]
pub(crate) struct Get {
    /// The key
    #[arg(value_parser = values::key())]
    key: Key,
    /// Read from one node without asking the leader; the value may be out of date
    #[arg(long)]
    stale: bool,
    /// With --stale: only from a node that is at most this far behind
    #[arg(long, value_name = "TIME", requires = "stale", value_parser = values::time)]
    max_stale: Option<Duration>,
    /// Read the key as it was at this revision, which must be recent enough to be kept
    #[arg(long, value_name = "N", conflicts_with = "stale")]
    revision: Option<u64>,
    /// Print only the bytes of the value, unchanged; overrides `--output`
    #[arg(long)]
    raw: bool,
}

impl Get {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let client = &context.client;
        let item = match (self.stale, self.max_stale) {
            (false, _) => client.get_with(GetQuery { revision: self.revision, ..GetQuery::new(&self.key) })?,
            (true, None) => client.get_stale(&self.key)?,
            (true, Some(age_max)) => client.get_stale_within(&self.key, age_max)?,
        };
        let Some(item) = item else {
            let then = self.revision.map(|revision| format!(" at revision {revision}")).unwrap_or_default();
            return Err(Failure::KeyNotFound(format!("key `{}` not found{then}", shown(&self.key))).into());
        };
        match () {
            () if self.raw => context.output.raw(&item.value),
            () if context.output.is_json() => context.output.json(&item),
            () => context.output.value(&item.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_to_the_last_byte_up_to_a_limit() {
        assert_eq!(read_value(&b"blue\n\xff"[..]).ok(), Some(b"blue\n\xff".to_vec()));
        assert!(read_value(io::repeat(0).take(VALUE_BYTES_MAX)).is_ok());
        let error = read_value(io::repeat(0)).expect_err("endless");
        assert!(error.to_string().contains("larger than 64 MiB"), "{error}");
    }
}
