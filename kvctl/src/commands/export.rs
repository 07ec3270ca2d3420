//! `kvctl export`: keys as lines of JSON.
//!
//! The lines are those of `GET /list` with `Accept: application/x-ndjson`: an item each, and a last one that says how
//! many there are, so that a file which was cut short is told from a whole one. A [part] that was left behind is gone on
//! with, at its revision.

mod part;

use super::import::MARKS;
use crate::context::Context;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::{output, progress, units, values};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use indicatif::ProgressBar;
use kvclient::api::ListLine;
use kvclient::{Client, Error, Key, List, Range};
use part::{About, Begun, Part};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Keys between two looks of the progress bar.
const STEP_KEYS: u64 = 256;

/// Export keys and values as lines of JSON
///
/// Each line is a key with its value, and the last one says how many there are. All are of one revision, however long it
/// takes and whatever is written meanwhile; if a node fails, another one goes on. A FILE gets its name only once it is
/// whole: until then it is FILE.part. If the command is interrupted, or fails, run it again: it goes on where it ended,
/// at the same revision if that is still kept.
///
/// `kvctl import` reads it back; what imports remember, in keys below `kvctl/import/`, is left out. For a backup of
/// everything, leases included, use `kvctl snapshot save`.
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

/// What is written, and how far it has come.
struct Run<'a> {
    /// The rest of the list.
    list: List,
    revision: u64,
    /// Number of lines so far.
    keys: u64,
    /// Number of keys of the whole list.
    total: u64,
    /// True if the keys of imports are left out.
    hides_marks: bool,
    interrupt: &'a Interrupt,
}

impl Export {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        if self.file == Path::new("-") {
            let begin = self.begin(&context.client)?;
            let exported =
                Run::of(&self, &context.client, &context.interrupt, &begin, None).write(&mut context.output.bytes())?;
            context.output.raw(b"")?;
            output::say(&line(&exported));
            return Ok(());
        }
        let name = self.file.display().to_string();
        if self.file.exists() && !self.force {
            return Err(Failure::Other(format!("{name} already exists: use another name, or --force")).into());
        }
        context.interrupt.notice();
        let exported = self.to_file(&context).map_err(|error| match context.interrupt.noticed() {
            true => Failure::Interrupted("interrupted".into()).into(),
            false => error,
        });
        let exported = exported.with_context(|| {
            format!(
                "{name} was not written: run the same command again, and what is in {name}.part need not come again"
            )
        })?;
        match context.output.is_json() {
            true => context.output.json(&exported),
            false => context.output.line(&line(&exported)),
        }
    }

    /// Writes the file, or the rest of it.
    fn to_file(&self, context: &Context) -> anyhow::Result<Exported> {
        let mut part = Part::beside(&self.file)?;
        loop {
            let left = part.left(|about| self.is_of(about, &context.client))?;
            let goes_on = left.is_some();
            let (about, begun) = match left {
                Some((about, begun)) => (about, Some(begun)),
                None => {
                    let about = self.begin(&context.client)?;
                    part.begin(&about)?;
                    (about, None)
                }
            };
            if let Some(Begun { keys, .. }) = &begun {
                output::say(&format!("going on behind {} of revision {}", units::keys(*keys), about.revision));
            }
            let mut run = Run::of(self, &context.client, &context.interrupt, &about, begun);
            match run.write(&mut part) {
                Ok(exported) => {
                    part.finish()?;
                    return Ok(exported);
                }
                Err(error) if goes_on && matches!(error.downcast_ref(), Some(Error::Compacted { .. })) => {
                    output::say("its revision is no longer kept: beginning anew");
                    part.clear()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn range(&self) -> Range {
        if self.prefix.as_bytes().is_empty() { Range::All } else { Range::prefix(&self.prefix) }
    }

    /// Asks for what there is, at the revision that is to be written.
    fn begin(&self, client: &Client) -> anyhow::Result<About> {
        let list = client.list(self.range()).keys_only().page_limit(1);
        let page = if let Some(revision) = self.revision { list.at(revision) } else { list }.page()?;
        let revision = self.revision.unwrap_or(page.revision);
        let cluster = client.cluster_id().unwrap_or_default().to_owned();
        Ok(About { cluster, prefix: self.prefix.as_bytes().to_vec(), revision, total: page.count.unwrap_or_default() })
    }

    /// Returns true if a part is one of this export.
    fn is_of(&self, about: &About, client: &Client) -> bool {
        about.prefix == self.prefix.as_bytes()
            && self.revision.is_none_or(|revision| revision == about.revision)
            && client.cluster_id().is_none_or(|cluster| cluster == about.cluster)
    }
}

impl<'a> Run<'a> {
    fn of(export: &Export, client: &Client, interrupt: &'a Interrupt, about: &About, begun: Option<Begun>) -> Self {
        let list = client.list(export.range()).at(about.revision);
        let hides_marks = !export.prefix.as_bytes().starts_with(MARKS);
        let &About { revision, total, .. } = about;
        let Some(Begun { keys, last }) = begun else {
            return Self { list, revision, keys: 0, total, hides_marks, interrupt };
        };
        Self { list: list.after(last), revision, keys, total, hides_marks, interrupt }
    }

    /// Writes all lines that are left.
    fn write(&mut self, to: &mut dyn Write) -> anyhow::Result<Exported> {
        let bar = progress::line(self.total, "exporting");
        let mut to = BufWriter::with_capacity(BUFFER_BYTES, to);
        let ended = self.lines(&mut to, &bar);
        // What has come need not come again.
        let flushed = to.flush();
        bar.finish_and_clear();
        let exported = ended?;
        flushed?;
        Ok(exported)
    }

    fn lines(&mut self, to: &mut impl Write, bar: &ProgressBar) -> anyhow::Result<Exported> {
        for entry in self.list.clone().stream() {
            let line = ListLine::from(entry?);
            if self.hides_marks && matches!(&line, ListLine::Item(item) if item.key.as_bytes().starts_with(MARKS)) {
                continue;
            }
            write_line(to, &line)?;
            self.keys += 1;
            if self.keys.is_multiple_of(STEP_KEYS) {
                if self.interrupt.noticed() {
                    anyhow::bail!("interrupted");
                }
                bar.set_position(self.keys);
                bar.set_message(format!("{} of {}", units::grouped(self.keys), units::keys(self.total)));
            }
        }
        let (revision, keys) = (self.revision, self.keys);
        write_line(to, &ListLine::End { revision, count: keys })?;
        Ok(Exported { keys, revision })
    }
}

fn write_line(to: &mut impl Write, line: &ListLine) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    Ok(to.write_all(b"\n")?)
}

fn line(exported: &Exported) -> String {
    format!("ok  {} of revision {}", units::keys(exported.keys), exported.revision)
}
