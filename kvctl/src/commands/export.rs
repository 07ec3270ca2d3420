//! `kvctl export`: keys as lines of JSON.
//!
//! The lines are those of `GET /list` with `Accept: application/x-ndjson`: an item each, and a last one that says how
//! many there are, so that a file which was cut short is told from a whole one.

use super::unfinished::Unfinished;
use crate::context::Context;
use crate::exit::Failure;
use crate::{output, progress, units, values};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use kvclient::api::ListLine;
use kvclient::{Client, Key, Range};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Keys between two looks of the progress bar.
const STEP_KEYS: u64 = 256;

/// Export keys and values as lines of JSON
///
/// Each line is a key with its value, and the last one says how many there are. All are of one revision, however long it
/// takes and whatever is written meanwhile; if a node fails, another one goes on. A FILE gets its name only once it is
/// whole.
///
/// `kvctl import` reads it back. For a backup of everything, users and leases included, use `kvctl snapshot save`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl export all.jsonl
  kvctl export --prefix app/ | gzip > app.jsonl.gz
  kvctl export | jq -r .key")]
pub(crate) struct Export {
    /// File for the lines; `-`, or nothing, writes them to standard output
    #[arg(default_value = "-", hide_default_value = true, value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Export only keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true, value_parser = values::prefix())]
    prefix: Key,
    /// Export the keys as they were at this revision, which must be recent enough to be kept
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Replace FILE if it exists
    #[arg(short, long)]
    force: bool,
}

/// The outcome, for programs.
#[derive(Serialize)]
struct Exported {
    keys: u64,
    revision: u64,
}

impl Export {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        if self.file == std::path::Path::new("-") {
            let exported = self.write(&context.client, context.output.bytes())?;
            context.output.raw(b"")?;
            output::say(&line(&exported));
            return Ok(());
        }
        let name = self.file.display().to_string();
        if self.file.exists() && !self.force {
            return Err(Failure::Other(format!("{name} already exists: use another name, or --force")).into());
        }
        let mut file = Unfinished::beside(&self.file, context.interrupt.clone());
        let exported = self.write(&context.client, &mut file);
        if context.interrupt.noticed() {
            return Err(Failure::Interrupted(format!("interrupted; {name} was not written")).into());
        }
        let exported = exported.with_context(|| format!("{name} was not written"))?;
        file.finish().with_context(|| format!("{name} was not written"))?;
        match context.output.is_json() {
            true => context.output.json(&exported),
            false => context.output.line(&line(&exported)),
        }
    }

    /// Writes all lines.
    fn write(&self, client: &Client, to: &mut dyn Write) -> anyhow::Result<Exported> {
        let range = if self.prefix.as_bytes().is_empty() { Range::All } else { Range::prefix(&self.prefix) };
        let mut list = client.list(range);
        if let Some(revision) = self.revision {
            list = list.at(revision);
        }
        let total = list.count()?;
        let bar = progress::line(total, "exporting");
        let mut to = BufWriter::with_capacity(BUFFER_BYTES, to);
        let mut entries = list.stream();
        let mut write = |line: &ListLine| -> anyhow::Result<()> {
            serde_json::to_writer(&mut to, line)?;
            Ok(to.write_all(b"\n")?)
        };
        let mut keys = 0;
        for entry in entries.by_ref() {
            write(&entry?.into())?;
            keys += 1;
            if keys % STEP_KEYS == 0 {
                bar.set_position(keys);
                bar.set_message(format!("{} of {}", units::grouped(keys), units::keys(total)));
            }
        }
        let revision = entries.revision().unwrap_or_default();
        write(&ListLine::End { revision, count: keys })?;
        to.flush()?;
        bar.finish_and_clear();
        Ok(Exported { keys, revision })
    }
}

fn line(exported: &Exported) -> String {
    format!("ok  {} of revision {}", units::keys(exported.keys), exported.revision)
}
