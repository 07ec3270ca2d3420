//! `kvctl snapshot save`, `kvctl snapshot info`: backups.
//!
//! [`kvclient::snapshot`] defines snapshots and checks whether bytes are a complete one; this file writes them to files
//! and reads them back.
//!
//! [`destination`] decides where a backup goes: to a regular file through [`super::unfinished`], or straight into a
//! [`device`].

mod destination;
mod device;

use super::unfinished::Unfinished;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Output, Table};
use crate::{progress, units};
use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueHint};
use destination::{Destination, STANDARD};
use device::Device;
use indicatif::ProgressBar;
use kvclient::api::hex_id;
use kvclient::snapshot::{Checker, FORMAT, SnapshotError, SnapshotInfo};
use kvclient::{Client, Error, SnapshotProgress};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes read from a file at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Back up the whole store, and check backups
///
/// A backup has every key at one revision, including every write acknowledged before the request. The cluster keeps
/// serving meanwhile. See `kvctl snapshot save --help` and `kvctl snapshot info --help`; `kvd restore` restores a
/// backup into a new cluster.
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
/// The backup comes from any node, preferably not the leader. It is written to a temporary file next to FILE, every
/// byte is checked, and it is renamed only once it is complete and durable: if FILE exists, it is good. Only its owner
/// can read it. --timeout limits the search for a node; the download may take longer.
///
/// Only a regular file is ever replaced. A device, a pipe or standard output (`-`) is written to directly: its reader
/// must check the data (`kvctl snapshot info -`) and the exit code, which is 0 for a complete backup.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl snapshot save kvd.snap
  kvctl snapshot save \"kvd-$(date +%F).snap\" -o json | jq .revision
  kvctl snapshot save - | ssh backups 'cat > kvd.snap'
  kvctl snapshot save rescued.snap --stale
                                       from a cluster without a quorum")]
pub(crate) struct Save {
    /// File for the backup; `-` writes it to standard output, and messages to standard error
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(short, long)]
    force: bool,
    /// Back up the most up-to-date node that answers, without asking the leader; recent writes may be missing
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
                        "a backup is binary data: redirect it to a pipe or a file, or give a FILE".into(),
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

    /// Saves the backup under a temporary name beside `path`, and renames it once it is complete.
    fn to_file(&self, context: &Context, path: PathBuf) -> anyhow::Result<SnapshotInfo> {
        let name = self.file.display();
        let mut unfinished = Unfinished::beside(&path, context.interrupt.clone());
        let saved = self.download(&context.client, &mut unfinished);
        if context.interrupt.noticed() {
            return Err(Failure::Interrupted(format!("interrupted; {name} was not written")).into());
        }
        let not_written = || format!("{name} was not written");
        let info = saved.with_context(not_written)?;
        // Another file may have the name by now.
        if Destination::of(&self.file, self.force).with_context(not_written)? != Destination::File(path) {
            return Err(
                Failure::Other(format!("{name} was not written: it was replaced by something else meanwhile")).into()
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
    format!("{name} did not receive a complete backup")
}

/// Returns the URL of the node that has applied the most, among those that answer.
fn furthest(client: &Client) -> Result<String, Error> {
    let nodes = client.status()?.into_iter().filter_map(|node| Some((node.health.ok()?.applied_index, node.endpoint?)));
    let detail = "none of its members answered".to_owned();
    let unreachable = Error::Unreachable { after: Default::default(), detail, write: false };
    nodes.max_by_key(|(applied_index, _)| *applied_index).map(|(_, url)| url).ok_or(unreachable)
}

/// Check a backup and show its contents
///
/// Reads the whole file and verifies every checksum, without a cluster. If the file is damaged or cut short, the error
/// says where.
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
        let (source, info) = match name == STANDARD {
            true => ("standard input", check(io::stdin().lock())),
            false => (name.as_str(), open(&self.file).and_then(check)),
        };
        let info = info.map_err(|error| match error.downcast_ref() {
            Some(SnapshotError::NotASnapshot) => anyhow!("{source} is not a kvd snapshot"),
            _ => error.context(format!("cannot read {source}")),
        })?;
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

/// Description of a backup. Figures about the data are missing if a newer version wrote it.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    /// Version of the format.
    format: u32,
    /// Formatted as in the nodes' logs.
    cluster_id: String,
    revision: Option<u64>,
    keys: Option<u64>,
    /// Number of client names whose last request is remembered.
    sessions: Option<u64>,
    bytes: u64,
    /// Last log entry in the backup.
    last_log_index: u64,
    /// Term of that entry.
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

    /// Returns the line to print once the backup has been saved.
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
