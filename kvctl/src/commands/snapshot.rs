//! `kvctl snapshot save`, `kvctl snapshot info`: backups.
//!
//! What a snapshot is, and whether bytes are a whole one, [`kvclient::snapshot`] knows; here they go to and come from
//! files.
//!
//! [`destination`] decides where a backup goes: to a regular file it goes by way of [`unfinished`], into a [`device`]
//! as it comes.

mod destination;
mod device;
mod unfinished;

use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Output, Table};
use crate::{progress, units};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueHint};
use destination::{Destination, STANDARD};
use device::Device;
use indicatif::ProgressBar;
use kvclient::api::hex_id;
use kvclient::snapshot::{Checker, FORMAT, SnapshotInfo};
use kvclient::{Client, Error, SnapshotProgress};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use unfinished::Unfinished;

/// Bytes read from a file at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Back up the whole store, and look into backups
///
/// A backup has every key at one revision, and everything that was acknowledged before it was asked for. The cluster
/// goes on all the while. `kvctl snapshot save --help` and `kvctl snapshot info --help` tell more; `kvd restore` makes
/// a new cluster of a backup.
#[derive(Args)]
#[command(arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "\
Examples:
  kvctl snapshot save kvd.snap
  kvctl snapshot info kvd.snap")]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    Save(Save),
    Info(Info),
}

impl Snapshot {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        match self.command {
            Action::Save(command) => command.run(context),
            Action::Info(command) => command.run(context.output),
        }
    }
}

/// Save a backup of the whole store to a file
///
/// Any node gives it, by preference one that does not lead. It goes to a temporary file beside FILE, every byte is
/// checked, and only a whole and durable backup gets the name: a FILE that is there is good, and for its owner alone.
/// --timeout is for finding a node; the download may take longer.
///
/// Only a regular file is ever replaced. A device or a pipe is written into, as is standard output (`-`): its reader must
/// check what came (`kvctl snapshot info -`), and the exit code, 0 for a whole backup.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl snapshot save kvd.snap
  kvctl snapshot save \"kvd-$(date +%F).snap\" -o json | jq .revision
  kvctl snapshot save - | ssh backups 'cat > kvd.snap'
  kvctl snapshot save rescued.snap --stale
                                       from what is left of a cluster without a quorum")]
pub(crate) struct Save {
    /// Where the backup goes; `-` is standard output, and what there is to say goes to standard error then
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(short, long)]
    force: bool,
    /// Take what the furthest node that answers has, instead of asking a quorum for what is true now
    #[arg(long)]
    stale: bool,
}

impl Save {
    fn run(self, mut context: Context) -> anyhow::Result<()> {
        let name = self.file.display().to_string();
        let report = |info: &SnapshotInfo| Report::new(&name, info);
        match Destination::of(&self.file, self.force)? {
            Destination::File(path) => {
                let info = self.to_file(&context, path)?;
                if context.output.is_json() {
                    return context.output.json(&report(&info));
                }
                context.output.line(&report(&info).line())
            }
            Destination::Device(path) => {
                let mut device = Device::new(path, context.interrupt.clone());
                let info = self.download(&context.client, &mut device).with_context(|| not_whole(&name))?;
                device.finish().with_context(|| not_whole(&name))?;
                if context.output.is_json() {
                    return context.output.json(&report(&info));
                }
                context.output.line(&report(&info).line())
            }
            Destination::Stdout => {
                if context.output.is_terminal() {
                    return Err(Failure::Other(
                        "a backup is no text for a terminal: send it to a pipe or a file, or name a FILE".into(),
                    )
                    .into());
                }
                context.interrupt.remark(device::INTERRUPTED);
                let info = self.download(&context.client, context.output.bytes());
                let info = info.with_context(|| not_whole("standard output"))?;
                match context.output.is_json() {
                    true => output::say(&serde_json::to_string(&report(&info))?),
                    false => output::say(&report(&info).line()),
                }
                Ok(())
            }
        }
    }

    /// Saves the backup under a temporary name beside `path`, and gives it its own once it is whole.
    fn to_file(&self, context: &Context, path: PathBuf) -> anyhow::Result<SnapshotInfo> {
        let name = self.file.display();
        let mut unfinished = Unfinished::beside(&path, context.interrupt.clone());
        let saved = self.download(&context.client, &mut unfinished);
        if context.interrupt.noticed() {
            return Err(Failure::Interrupted(format!("interrupted; {name} was not written")).into());
        }
        let not_written = || format!("{name} was not written");
        let info = saved.with_context(not_written)?;
        // What has the name by now need not be what had it before.
        if Destination::of(&self.file, self.force).with_context(not_written)? != Destination::File(path) {
            return Err(
                Failure::Other(format!("{name} was not written: it has become something else meanwhile")).into()
            );
        }
        unfinished.finish().with_context(not_written)?;
        Ok(info)
    }

    /// Downloads a backup under a progress bar.
    fn download(&self, client: &Client, to: &mut dyn Write) -> anyhow::Result<SnapshotInfo> {
        let mut bar: Option<ProgressBar> = None;
        let show = |SnapshotProgress { bytes, bytes_total }| {
            let bar = bar.get_or_insert_with(|| progress::line(bytes_total, "saving"));
            bar.set_position(bytes);
            bar.set_message(format!("{} of {}", units::bytes(bytes), units::bytes(bytes_total)));
        };
        let saved = match self.stale {
            true => client.save_snapshot_stale(&furthest(client)?, to, show),
            false => client.save_snapshot(to, show),
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(saved?)
    }
}

fn not_whole(name: &str) -> String {
    format!("{name} got no whole backup")
}

/// Where the node is reached that has applied the most, of those that answer.
fn furthest(client: &Client) -> Result<String, Error> {
    let nodes = client.status()?.into_iter().filter_map(|node| Some((node.health.ok()?.applied_index, node.endpoint?)));
    let detail = "none of its members answers".to_owned();
    let unreachable = Error::Unreachable { after: Default::default(), detail, write: false };
    nodes.max_by_key(|(applied_index, _)| *applied_index).map(|(_, url)| url).ok_or(unreachable)
}

/// Check a backup, and show what is in it
///
/// Reads all of it and compares every checksum; no cluster is asked. A file that is damaged or cut short is an error
/// that says where.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl snapshot info kvd.snap
  kvctl snapshot info kvd.snap -o json | jq .keys
  kvctl snapshot save - | tee kvd.snap | kvctl snapshot info -")]
pub(crate) struct Info {
    /// The backup; `-` reads it from standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

impl Info {
    fn run(self, mut output: Output) -> anyhow::Result<()> {
        let name = self.file.display().to_string();
        let info = match name == STANDARD {
            true => check(io::stdin().lock()).context("standard input cannot be used"),
            false => open(&self.file).and_then(check).with_context(|| format!("{name} cannot be used")),
        }?;
        let report = Report::new(&name, &info);
        if output.is_json() { output.json(&report) } else { output.table(&report.table()) }
    }
}

fn open(file: &Path) -> anyhow::Result<File> {
    Ok(File::open(file)?)
}

/// Reads a backup to its end.
fn check(mut file: impl Read) -> anyhow::Result<SnapshotInfo> {
    let (mut checker, mut piece) = (Checker::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(checker.finish()?),
            read => checker.feed(&piece[..read])?,
        }
    }
}

/// What there is to say of a backup. What the data comes to is missing where a newer version wrote it.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    /// Version of the format.
    format: u32,
    /// As nodes write it in their logs.
    cluster_id: String,
    revision: Option<u64>,
    keys: Option<u64>,
    /// Client names whose last request is remembered.
    sessions: Option<u64>,
    bytes: u64,
    /// The last entry of the log that is in it.
    last_log_index: u64,
    /// Of that entry.
    term: u64,
    /// Equal states have equal hashes.
    state_hash: Option<String>,
}

impl Report {
    fn new(file: &str, info: &SnapshotInfo) -> Self {
        let SnapshotInfo { head, summary, bytes } = info;
        Self {
            file: file.to_owned(),
            format: FORMAT,
            cluster_id: hex_id(head.cluster_id),
            revision: summary.map(|summary| summary.revision),
            keys: summary.map(|summary| summary.keys),
            sessions: summary.map(|summary| summary.sessions),
            bytes: *bytes,
            last_log_index: head.last_index,
            term: head.last_term,
            state_hash: summary.map(|summary| format!("{:032x}", summary.state_hash)),
        }
    }

    /// What there is to say once it has been saved.
    fn line(&self) -> String {
        let plural = |number| if number == 1 { "" } else { "s" };
        let keys = |keys| format!(", {} key{}", units::grouped(keys), plural(keys));
        let keys = self.keys.map(keys).unwrap_or_default();
        let revision = self.revision.map(|revision| revision.to_string()).unwrap_or_default();
        format!("ok  revision {revision}{keys}, {}", units::bytes(self.bytes))
    }

    fn table(&self) -> Table {
        let mut table =
            Table::new(&["#REVISION", "#KEYS", "#BYTES", "#INDEX", "#TERM", "CLUSTER", "?STATE HASH", "#FORMAT"]);
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let cells = [
            number(self.revision),
            number(self.keys),
            self.bytes.to_string(),
            self.last_log_index.to_string(),
            self.term.to_string(),
            self.cluster_id.clone(),
            self.state_hash.clone().unwrap_or_default(),
            self.format.to_string(),
        ];
        table.push(cells, None);
        table
    }
}
