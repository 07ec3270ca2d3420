//! `kvctl import`: keys from lines of JSON, each written once.
//!
//! Lines are written in batches, each a transaction. Its first write is a *mark*: a key of kvctl's own that says how
//! many lines are done, compared with how many were done before. So a batch is applied once, whether it is repeated by
//! the client or by another run, and a run that was interrupted goes on where it ended. The mark has the hash of the
//! file in its name, and ends by itself after a day.

mod hash;
mod lines;
mod mark;

use super::input::Input;
use crate::context::Context;
use crate::exit::Failure;
use crate::{output, progress, units, values};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use indicatif::ProgressBar;
use kvclient::api::{Compare, Op, SetOp, TxnRequest};
use kvclient::{Client, Item, Key, api};
use lines::{Line, Lines, Survey};
use mark::{Done, Mark};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Begins the keys by which imports remember how far they have come.
pub(super) const MARKS: &[u8] = b"kvctl/import/";

/// Most keys of a batch.
const BATCH_KEYS_MAX: usize = 500;

/// Keys and values after which a batch ends, in bytes. One item may be larger.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// Import keys and values from lines of JSON
///
/// Each line is an object with `key` (or `key_base64`) and `value` (or `value_base64`), as `kvctl export` writes them;
/// other fields are ignored. Keys that exist are overwritten.
///
/// Each line is written once. If the command is interrupted, or fails, run it again with the same file: it goes on where
/// it ended. It remembers that in the store for a day, in a key below `kvctl/import/`. Standard input is not remembered:
/// there is nothing to go on with.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl import all.jsonl
  kvctl import all.jsonl --prefix app/     only some of it
  gunzip < app.jsonl.gz | kvctl import
  kvctl -e 10.0.0.1:8081 export | kvctl -e 10.1.0.1:8081 import
                                           from one cluster to another")]
pub(crate) struct Import {
    /// File with the lines; `-`, or nothing, reads standard input
    #[arg(default_value = "-", hide_default_value = true, value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Import only keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true, value_parser = values::prefix())]
    prefix: Key,
    /// Import a file again that has been imported within a day
    #[arg(long)]
    again: bool,
}

/// The outcome, for programs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Imported {
    /// Keys that this run wrote.
    keys: u64,
    /// Lines that an earlier run had done.
    lines_done_before: u64,
    /// Keys that were attached to a lease where they come from, and are not here.
    detached: u64,
    /// Revision of the last batch, absent if there was nothing to write.
    revision: Option<u64>,
}

/// Writes that are made together.
#[derive(Default)]
struct Batch {
    keys: BTreeSet<Key>,
    sets: Vec<Op>,
    bytes: usize,
    detached: u64,
}

impl Import {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        let input = Input::open(&self.file)?;
        let name = input.name.clone();
        // A file is read twice: what is wrong with it is told before anything is written.
        let survey = match input.is_file {
            true => Some(Survey::of(input.reader, &name)?),
            false => None,
        };
        let input = Input::open(&self.file)?;
        let mark = Mark::of(survey.as_ref().map(|survey| survey.hash), &self.prefix);
        let done = self.done_before(&context.client, &mark, &name)?;
        context.interrupt.notice();
        let bar = progress::line(survey.as_ref().map_or(0, |survey| survey.bytes), "importing");
        let lines = Lines::of(input.reader, &name);
        let mut run = Run { context: &context, mark, done, imported: Imported::default(), bar };
        let ended = run.all(lines, &self.prefix);
        run.bar.finish_and_clear();
        let imported = run.imported;
        let is_whole = ended.with_context(|| told_so_far(&imported, survey.is_some()))?;
        if !is_whole {
            output::warn(&format!("{name} has no last line that says how many keys there are: it may be cut short"));
        }
        if imported.detached > 0 {
            let (keys, detached) = (units::keys(imported.detached), imported.detached);
            output::warn(&match detached {
                1 => format!("{keys} was attached to a lease, and is imported without"),
                _ => format!("{keys} were attached to leases, and are imported without"),
            });
        }
        match context.output.is_json() {
            true => context.output.json(&imported),
            false => context.output.line(&line(&imported)),
        }
    }

    /// Returns how far an earlier run came.
    fn done_before(&self, client: &Client, mark: &Mark, name: &str) -> anyhow::Result<Done> {
        match mark.read(client)? {
            Done::All if self.again => {
                mark.remove(client)?;
                Ok(Done::Lines(0))
            }
            Done::All => {
                let sentence = format!("{name} has been imported already; with --again it is imported once more");
                Err(Failure::Other(sentence).into())
            }
            done => Ok(done),
        }
    }
}

/// An import under way.
struct Run<'a> {
    context: &'a Context,
    mark: Mark,
    done: Done,
    imported: Imported,
    bar: ProgressBar,
}

impl Run<'_> {
    /// Writes all lines. Returns whether the last line was there.
    fn all(&mut self, mut lines: Lines, prefix: &Key) -> anyhow::Result<bool> {
        let before = self.done.lines();
        self.imported.lines_done_before = before;
        let (mut batch, mut count, mut is_whole) = (Batch::default(), 0, false);
        while let Some(line) = lines.next()? {
            let item = match line {
                Line::End => {
                    is_whole = true;
                    break;
                }
                Line::Item(item) => item,
            };
            let is_wanted = count >= before && item.key.as_bytes().starts_with(prefix.as_bytes());
            // A transaction writes a key once. The later line wins.
            if batch.is_full() || (is_wanted && batch.keys.contains(&item.key)) {
                self.write(std::mem::take(&mut batch), Done::Lines(count))?;
                self.bar.set_position(lines.bytes());
                self.bar.set_message(format!("{} written", units::keys(self.imported.keys)));
            }
            if is_wanted {
                batch.add(item);
            }
            count += 1;
        }
        if count < before {
            let name = lines.name();
            anyhow::bail!("{name} has {count} lines, but {before} were imported before: has it changed?");
        }
        if !batch.sets.is_empty() || self.imported.keys > 0 || before > 0 {
            self.write(batch, Done::All)?;
        }
        Ok(is_whole)
    }

    fn write(&mut self, batch: Batch, done: Done) -> anyhow::Result<()> {
        if self.context.interrupt.noticed() {
            return Err(Failure::Interrupted("interrupted".into()).into());
        }
        let Batch { sets, detached, .. } = batch;
        let keys = sets.len() as u64;
        let mut then = vec![self.mark.op(done)];
        then.extend(sets);
        let txn = api::Txn { compares: vec![self.compare()], then, otherwise: Vec::new() };
        let reply = self.context.client.commit_with(TxnRequest::new(txn))?;
        if !reply.succeeded {
            return Err(Failure::Other("another run imports the same file at the same time".into()).into());
        }
        self.done = done;
        self.imported.keys += keys;
        self.imported.detached += detached;
        self.imported.revision = Some(reply.revision);
        Ok(())
    }

    /// Returns what holds if nobody else has gone on meanwhile.
    fn compare(&self) -> Compare {
        self.mark.compare(self.done)
    }
}

impl Batch {
    fn add(&mut self, item: Item) {
        self.bytes += item.key.as_bytes().len() + item.value.len();
        self.detached += u64::from(item.lease.is_some());
        self.keys.insert(item.key.clone());
        self.sets.push(Op::Set(SetOp::new(item.key, item.value)));
    }

    fn is_full(&self) -> bool {
        self.sets.len() >= BATCH_KEYS_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

fn line(imported: &Imported) -> String {
    let before = match imported.lines_done_before {
        0 => String::new(),
        lines => format!(", after {} that were done before", units::keys(lines)),
    };
    let revision = imported.revision.map(|revision| format!("revision {revision}, ")).unwrap_or_default();
    format!("ok  {revision}{} imported{before}", units::keys(imported.keys))
}

/// Returns the words before an error.
fn told_so_far(imported: &Imported, is_remembered: bool) -> String {
    let what = format!("{} imported", units::keys(imported.keys));
    match is_remembered {
        true => format!("{what}; run the same command again to go on"),
        false => what,
    }
}
